"""The whole path with the real tools: projects are built by buildah and run by podman, as a user would do it."""

import contextlib
import os
import shlex
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ocicaliban.containers import cgroups
from ocicaliban.system import process
from tests.folders import write
from tests.integration.program import CONFIG, Done, built, call, command, environment, ok


def _working_containers() -> set[str]:
    argv = ["buildah", "containers", "--format", "{{.ContainerName}}"]
    names = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    return {name for name in names if name.startswith("ocicaliban-")}


def _images() -> set[str]:
    argv = ["buildah", "images", "-a", "-q", "--no-trunc"]
    return set(subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split())


Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path, base_lock: str) -> Make:
    """Makes project folders upon the base; a file of its own sees to it that their layers are not there yet."""
    mark = uuid.uuid4().hex

    def project(files: dict[str, str], name: str = "project") -> Path:
        folder = tmp_path / name
        write(folder, {"ocicaliban.toml": CONFIG, "ocicaliban.lock": base_lock, "mark.txt": mark, **files})
        return folder

    return project


# --- run ---


def test_run_prints_only_the_scripts_stdout(make: Make) -> None:
    folder = make({"hello.py": "import sys\nprint('hello', *sys.argv[1:])\nprint('aside', file=sys.stderr)\n"})
    done = ok(folder, "run", "hello.py", "--", "--lr", "0.1")
    assert done.stdout == "hello --lr 0.1\n"
    assert "aside" in done.stderr


def test_the_scripts_exit_code_is_ours(make: Make) -> None:
    assert call(make({"seven.py": "raise SystemExit(7)\n"}), "run", "seven.py").returncode == 7


TRAPS = """
import signal, sys, time
def stop(number, _):
    print("got", signal.Signals(number).name)
    sys.exit(3)
for name in ("HUP", "INT", "TERM", "USR1", "USR2"):
    signal.signal(getattr(signal, "SIG" + name), stop)
print("ready")
time.sleep(60)
print("never told")
"""
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready')\nwhile True: signal.pause()\n"
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(make: Make) -> Iterator[Start]:
    """Starts a script, in a process group of its own; `set_up` is done in our process before it becomes ocicaliban."""
    started: list[subprocess.Popen[str]] = []

    def start(script: str, *args: str, set_up: Callable[[], object] | None = None) -> "subprocess.Popen[str]":
        child = subprocess.Popen(
            command("run", *args, "waits.py"), cwd=make({"waits.py": script}), env=environment(),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True, preexec_fn=set_up,
        )  # fmt: skip
        started.append(child)
        return child

    yield start
    for child in started:
        if child.poll() is None:
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(10)
        child.kill()
        child.communicate()


def _ready(child: "subprocess.Popen[str]") -> None:
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_reaches_the_script_and_its_code_is_ours(start: Start, number: signal.Signals) -> None:
    child = start(TRAPS)
    _ready(child)
    child.send_signal(number)
    out, err = child.communicate(timeout=30)
    assert (out, child.returncode) == (f"got {number.name}\n", 3), err


def test_a_signal_to_the_whole_group_reaches_the_script_once(start: Start) -> None:
    child = start(TRAPS, "--podman-args", f"--name oc-{uuid.uuid4().hex}")
    _ready(child)
    os.killpg(child.pid, signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert (out, child.returncode) == ("got SIGINT\n", 3), err


def test_sigterm_before_the_container_is_there_is_not_lost(start: Start) -> None:
    child = start("import time\ntime.sleep(60)\n")
    assert child.stderr is not None
    while "running on" not in child.stderr.readline():
        pass
    # podman has been started, and takes a tenth of a second to make the container.
    assert _within(10, Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text)
    child.terminate()
    child.communicate(timeout=30)
    assert child.returncode == 143


def test_a_second_sigterm_kills(start: Start) -> None:
    child = start(STUBBORN)
    _ready(child)

    def ended() -> bool:
        child.terminate()
        return child.poll() is not None

    assert _within(30, ended)
    # Ours is the container's 137, unless one more SIGTERM came while we were ending.
    assert child.returncode in (137, 143, -signal.SIGTERM)


def test_what_we_were_started_to_ignore_stays_ignored(start: Start) -> None:
    child = start(TRAPS, set_up=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))  # as nohup does
    _ready(child)
    child.send_signal(signal.SIGHUP)
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=30)
    assert (out, child.returncode) == ("got SIGTERM\n", 3), err


def test_mount_sees_an_edit_without_a_build(make: Make) -> None:
    folder = make({"say.py": "print('before')\n"})
    assert ok(folder, "run", "--mount", "say.py").stdout == "before\n"
    (folder / "say.py").write_text("print('after')\n")
    done = ok(folder, "run", "--mount", "say.py")
    assert done.stdout == "after\n"
    assert built(done) == []


def test_dry_run_builds_nothing(make: Make) -> None:
    folder = make({"say.py": "print('ran')\n"})
    before = _images()
    done = ok(folder, "run", "--dry-run", "say.py")
    assert "podman run" in done.stdout
    assert "source-copy" in done.stdout
    assert built(done) == []
    assert _images() == before


def test_the_script_of_a_dry_run_does_the_same_and_ends_where_the_build_fails(make: Make) -> None:
    folder = make({"say.py": "import sys\nprint('ran', *sys.argv[1:])\n"})
    script = ok(folder, "run", "--dry-run", "say.py", "--", "$HOME", "it's").stdout
    name = f'ocicaliban() {{ {shlex.join(command("")[:3])} "$@"; }}\n'

    def sh(text: str) -> Done:
        return subprocess.run(
            ["sh", "-c", name + text], cwd=folder, env=environment(), capture_output=True, text=True, check=False
        )

    assert sh(script).stdout == "ran $HOME it's\n"
    (folder / "ocicaliban.toml").write_text("[")
    done = sh(script)
    assert (done.returncode, done.stdout) == (2, "")
    assert "podman" not in done.stderr


@pytest.mark.parametrize(("args", "hint"), [(["cloud"], "MODULE"), (["plain", "say.py"], '"command"')])
def test_a_mode_in_which_nothing_starts_is_refused(make: Make, args: list[str], hint: str) -> None:
    folder = make({"say.py": "", "ocicaliban.toml": CONFIG + '[modes]\nplain = ["base", "source-copy"]\n'})
    done = call(folder, "run", "--mode", *args)
    assert done.returncode == 2
    assert f"the mode '{args[0]}' starts nothing" in done.stderr
    assert hint in done.stderr
    assert built(done) == []


def test_image_id_runs_that_image(make: Make) -> None:
    folder = make({"say.py": "import sys\nprint('first', *sys.argv[1:])\n"})
    first = ok(folder, "build", "say.py").stdout.strip()
    (folder / "say.py").write_text("print('second')\n")
    os.mkfifo(folder / "fifo")  # a project that could not be read
    done = ok(folder, "run", "--image-id", first, "say.py")
    assert done.stdout == "first\n"
    assert built(done) == []
    assert ok(folder, "run", "--image-id", first, "--", "--lr", "0.1").stdout == "first --lr 0.1\n"


# --- build ---


def test_build_prints_the_id_alone_and_a_second_build_makes_nothing(make: Make) -> None:
    folder = make({"say.py": "print('ran')\n"})
    first = ok(folder, "build", "say.py")
    assert first.stdout.strip() in {name.removeprefix("sha256:") for name in _images()}
    assert first.stdout.count("\n") == 1
    assert "source-copy" in built(first)
    second = ok(folder, "build", "say.py")
    assert second.stdout == first.stdout
    assert "building" not in second.stderr


def test_an_edit_builds_the_source_and_the_layers_above_it_again(make: Make) -> None:
    folder = make({"say.py": "print('before')\n", "requirements.txt": "six==1.16.0\n", "data/x.txt": uuid.uuid4().hex})
    before = built(ok(folder, "build", "-d", "data", "say.py"))
    assert "data data" in before
    (folder / "say.py").write_text("print('after')\n")
    after = built(ok(folder, "build", "-d", "data", "say.py"))
    assert after == before[before.index("source-copy") :]
    assert after == ["source-copy", "entrypoint"]


def test_an_edit_beside_a_heavy_folder_does_not_store_it_again(make: Make) -> None:
    script = "import os\nprint(os.path.getsize('big/x'), sorted(os.listdir()))\n"
    folder = make({"say.py": script, "big/x": uuid.uuid4().hex * 40_000})
    first = ok(folder, "build", "--mode", "run", "say.py")
    assert built(first) == ["source-copy big", "source-copy"]
    (folder / "say.py").write_text(script + "\n")
    second = ok(folder, "build", "--mode", "run", "say.py")
    assert built(second) == ["source-copy"]
    mounted = ok(folder, "run", "say.py")
    assert mounted.stdout.startswith("1280000 ['big', ")
    assert ok(folder, "run", "--image-id", second.stdout.strip(), "say.py").stdout == mounted.stdout
    (folder / "big/y").touch()
    assert built(ok(folder, "build", "--mode", "run", "say.py")) == built(first)


def test_ignored_files_stay_out_and_data_folders_come_in(make: Make) -> None:
    folder = make(
        {
            "ls.py": "import os\nfor f, _, n in os.walk('.'):\n    for x in n: print(os.path.normpath(f'{f}/{x}'))\n",
            ".containerignore": "secret.txt\nbig\nkept\n",
            ".env": "PASSWORD=x\n",
            "secret.txt": "",
            "sub/.env": "",
            "big/file": "",
            "kept/data.bin": "",
        }
    )
    seen = set(ok(folder, "run", "-d", "kept", "ls.py").stdout.split())
    assert seen == {"ls.py", ".containerignore", "mark.txt", "ocicaliban.toml", "kept/data.bin"}


# --- errors ---


def _assert_failed(done: Done, before: set[str]) -> None:
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert "\nerror: " in "\n" + done.stderr
    assert "\n hint: " in done.stderr
    assert "Traceback" not in done.stderr
    assert _working_containers() <= before


def test_a_missing_module_is_told_with_what_there_is(make: Make) -> None:
    before = _working_containers()
    done = call(make({"train.py": ""}), "run", "trian.py")
    _assert_failed(done, before)
    assert "trian.py" in done.stderr
    assert "train.py" in done.stderr


def test_an_unresolvable_requirement_is_told_in_uvs_words(make: Make) -> None:
    before = _working_containers()
    done = call(make({"train.py": "", "requirements.txt": "six==1.16.0\nsix==1.15.0\n"}), "build", "train.py")
    _assert_failed(done, before)
    assert "requirements are unsatisfiable" in done.stderr


def test_an_apt_package_that_does_not_exist_is_told(make: Make) -> None:
    before = _working_containers()
    folder = make({"train.py": "", "ocicaliban.toml": CONFIG + '[layers.apt]\npackages = ["no-such-package-oc"]\n'})
    done = call(folder, "build", "train.py")
    _assert_failed(done, before)
    assert "no-such-package-oc" in done.stderr


def test_a_base_out_of_reach_is_told_with_the_way_round(make: Make) -> None:
    before = _working_containers()
    done = call(make({"train.py": "", "ocicaliban.toml": '[layers.base]\nimage = "127.0.0.1:1/none:1"\n'}), "build")
    _assert_failed(done, before)
    assert "bootstrap" in done.stderr.partition(" hint: ")[2]


# --- a killed build ---


def _running(argument: str) -> bool:
    """Whether a process that has `argument` as a word of its command line lives (in a container too)."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if argument.encode() in path.read_bytes().split(b"\0"):
                return True
    return False


def _within(seconds: float, condition: Callable[[], object]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def test_after_a_killed_build_the_next_one_cleans_up_and_succeeds(make: Make, tmp_path: Path) -> None:
    config = CONFIG + '[modes]\nbuild = ["base", "slow", "source-copy"]\n'
    layer = 'summary = "slow"\nafter = ["base"]\n[[steps]]\ndo = "run"\nscript = "install.sh"\n'
    nap = f"30.{uuid.uuid4().int % 10**12:012}"
    folder = make(
        {"ocicaliban.toml": config, "layers/slow/layer.toml": layer, "layers/slow/install.sh": f"sleep {nap}\n:\n"}
    )
    # A cache of its own, so that nothing but this build is seen in its work folder.
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    work = tmp_path / "cache" / "ocicaliban" / "work"
    before = _working_containers()
    child = subprocess.Popen(
        command("build"), cwd=folder, env=environment(env), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert _within(30, lambda: _running(nap))
    finally:
        child.kill()
        child.wait()
    left = {note.name.removeprefix("container-") for note in work.glob("build-*/container-*")}
    assert len(left) == 1
    assert left <= _working_containers() - before
    (folder / "layers" / "slow" / "install.sh").write_text(f": {nap}\n")
    done = ok(folder, "build", env=env)
    assert done.stdout.strip()
    assert not _working_containers() & left
    assert list(work.glob("build-*")) == []
    assert _within(5, lambda: not _running(nap)), "the killed build's step goes on"


def test_a_config_folder_that_is_named_and_the_usual_one_makes_no_difference(make: Make) -> None:
    folder = make({"say.py": "print('said')\n", "mark.txt": uuid.uuid4().hex})
    usual = str(Path.home() / ".config") + "/"
    assert ok(folder, "run", "--no-cache", "say.py", env={"XDG_CONFIG_HOME": usual}).stdout == "said\n"


def test_a_tool_on_hybrid_cgroups_sees_the_config_folder_that_we_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # buildah 1.28 stops at a storage.conf without a runroot when `podman unshare` names the usual folder.
    monkeypatch.setattr(cgroups, "hybrid", lambda: True)
    # What mounts cgroups shows them here already, when this is hybrid and the tests run in a container on it.
    (tmp_path / "mount").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    asked = ("sh", "-c", "echo ${XDG_CONFIG_HOME-none}; buildah images -q >&2")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert process.run(cgroups.in_cgroup2(asked)) == "none"
    monkeypatch.setenv("XDG_CONFIG_HOME", "/elsewhere")
    assert process.run(cgroups.in_cgroup2(("sh", "-c", "echo $XDG_CONFIG_HOME"))) == "/elsewhere"
