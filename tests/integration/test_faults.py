"""What bad input gets: one error with a hint, exit 1 or 2, no traceback, and nothing left behind."""

import contextlib
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from ocicaliban.containers import oci_layout
from ocicaliban.project.source_tree import read_tree
from tests.folders import write
from tests.integration.program import CONFIG, Done, environment


class Project:
    """A project upon the shared base, with a cache and a folder for temporary files of its own."""

    def __init__(self, folder: Path, lock: str) -> None:
        self.root = folder / "project"
        self.cache, self.tmp = folder / "cache", folder / "tmp"
        for made in (self.root, self.cache, self.tmp):
            made.mkdir(parents=True)
        # A file of its own: nothing of it is in the store yet.
        self.write({"ocicaliban.toml": CONFIG, "ocicaliban.lock": lock, "t.py": f"print('{uuid.uuid4().hex}')\n"})
        self.env = {"XDG_CACHE_HOME": str(self.cache), "TMPDIR": str(self.tmp)}

    def write(self, files: dict[str, str]) -> None:
        write(self.root, files)

    def call(self, *args: str, inside: tuple[str, ...] = ()) -> Done:
        """Run ocicaliban with `args`; `inside` is a command that sets the scene for it."""
        return subprocess.run(
            [*inside, sys.executable, "-m", "ocicaliban", *args], cwd=self.root, env=environment(self.env),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="backslashreplace", timeout=240,
        )  # fmt: skip

    def shell(self, line: str) -> Done:
        """Run a line of bash, in which "$@" is ocicaliban."""
        return self.call(inside=("bash", "-c", line, "_"))

    def files(self) -> set[bytes]:
        return set(map(bytes, self.root.rglob("*")))

    def fails(self, *args: str, code: int, inside: tuple[str, ...] = ()) -> tuple[str, str]:
        """Run ocicaliban, which must fail as it should; returns what the error says, and its hint."""
        files, containers = self.files(), _working_containers()
        done = self.call(*args, inside=inside)
        assert done.returncode == code, done.stderr
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        assert done.stderr.count("error: ") == 1
        said, _, hint = done.stderr.partition("error: ")[2].partition("\n hint: ")
        assert hint
        assert self.files() == files
        assert _working_containers() <= containers
        assert list(self.cache.glob("ocicaliban/work/build-*")) == []
        assert list(self.tmp.iterdir()) == []
        return said, hint.strip()


def _working_containers() -> set[str]:
    argv = ["buildah", "containers", "--format", "{{.ContainerName}}"]
    names = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    return {name for name in names if name.startswith("ocicaliban-")}


@pytest.fixture
def project(tmp_path: Path, base_lock: str) -> Project:
    return Project(tmp_path, base_lock)


# --- what people write ---

RECIPE = 'summary = "s"\n'
OWN = f'{CONFIG}[modes]\nbuild = ["base", "own", "other"]\n'
OTHER = {"ocicaliban.toml": OWN, "layers/other/layer.toml": f'{RECIPE}after = ["own"]\n'}


@pytest.mark.parametrize(
    ("files", "message", "hint"),
    [
        ({"ocicaliban.toml": "\nextra = []\n"}, "ocicaliban.toml:2: unknown key 'extra'", "'extras'"),
        ({"ocicaliban.toml": "extras = 3\n"}, "ocicaliban.toml:1: expected a list, got a whole number", "docs"),
        ({"ocicaliban.toml": "[layers\n"}, "ocicaliban.toml:1: not valid TOML", "correct"),
        ({"ocicaliban.toml": "[layers.apt]\npackages = 3\n"}, "ocicaliban.toml:2: layers.apt.packages: expected", "["),
        ({"ocicaliban.toml": "[layers.atp]\n"}, "ocicaliban.toml:1: [layers.atp]: there is no such recipe", "'apt'"),
        ({"ocicaliban.toml": "[modes]\nbuild = ['bsae']\n"}, "ocicaliban.toml:2: the mode 'build'", "'base'"),
        ({"ocicaliban.lock": "version = 2\n"}, "ocicaliban.lock: a newer ocicaliban wrote this file", "upgrade"),
        ({**OTHER, "layers/own/layer.toml": f"{RECIPE}bogus = 1\n"}, "layer.toml:2: unknown key 'bogus'", "summary"),
        (
            {**OTHER, "layers/own/layer.toml": f"{RECIPE}after = ['other']\n"},
            "a cycle in 'after': other -> own -> other",
            "remove one",
        ),
        (
            {**OTHER, "layers/own/layer.toml": f"{RECIPE}[params.level]\nrequired = true\n"},
            "layers.own.level is missing",
            "[layers.own]",
        ),
    ],
)
def test_a_file_that_says_what_cannot_be(project: Project, files: dict[str, str], message: str, hint: str) -> None:
    project.write(files)
    said, told = project.fails("build", "t.py", code=2)
    assert message in said.replace(" own -> other -> own", " other -> own -> other")
    assert hint in told


@pytest.mark.parametrize(
    ("args", "message", "hint"),
    [
        (("plan", "buid"), "there is no mode 'buid'", "'build'"),
        (("layers", "show", "pyton"), "there is no recipe 'pyton'", "'python'"),
        (("build", "tt.py"), "no module or file 'tt.py'", "'t.py'"),
        (("build", "../t.py"), "'../t.py' is outside the project", "copy it"),
        (
            ("build", "-d", "../elsewhere", "t.py"),
            "'../elsewhere' is outside the project",
            "mount it instead",
        ),
        (("run", "--podman-args", "-v '", "t.py"), "--podman-args: no closing quotation", "quote"),
    ],
)
def test_a_command_that_asks_for_what_is_not_there(
    project: Project, args: tuple[str, ...], message: str, hint: str
) -> None:
    said, told = project.fails(*args, code=2)
    assert message in said
    assert hint in told


# --- what lies in the project ---


def _link(root: Path) -> None:
    (root / "l").symlink_to("/etc/passwd")


def _name(root: Path) -> None:
    Path(os.fsdecode(bytes(root) + b"/\xff")).touch()


def _socket(root: Path) -> None:
    with contextlib.chdir(root), socket.socket(socket.AF_UNIX) as server:
        server.bind("s")


def _unreadable(root: Path) -> None:
    (root / "secret").touch(mode=0)


def _whiteout(root: Path) -> None:
    (root / ".wh.t.py").touch()


@pytest.mark.parametrize(
    ("lay", "message"),
    [
        (_link, "l: links out of the project, to /etc/passwd"),
        (_name, "\\xff: has a name that is not UTF-8"),
        (_socket, "s: is a socket, FIFO or device"),
        (_unreadable, "secret: cannot be read: Permission denied"),
        (_whiteout, ".wh.t.py: has a name that marks a removed file"),
    ],
)
def test_a_file_that_no_image_can_hold(project: Project, lay: Callable[[Path], None], message: str) -> None:
    lay(project.root)
    said, told = project.fails("build", "t.py", code=1)
    assert said.startswith(message)
    assert "to .gitignore, or " in told


def test_a_device_in_the_project(project: Project) -> None:
    # The user's own root may not make a device, but can let one be seen under another name.
    project.write({"zero": ""})
    scene = ("unshare", "-rm", "sh", "-c", 'mount --bind /dev/zero zero && exec "$@"', "_")
    said, _ = project.fails("build", "t.py", code=1, inside=scene)
    assert said.startswith("zero: is a socket, FIFO or device")


NAMES = ("a\nb", "-rf", "n" * 255, " sp ace ", "\t", "'\"", "$HOME", "back\\slash", "*", "..dots", "é", "e\u0301", "😀")
LIST = """
import json, os
found = [os.path.join(top, name)[2:] for top, folders, names in os.walk(".") for name in folders + names]
print(json.dumps(sorted(found)))
"""


def test_odd_names_and_empty_folders_come_as_they_are(project: Project) -> None:
    project.write({**{name: "" for name in NAMES}, "ls.py": LIST})
    (project.root / "empty" / ("f" * 255)).mkdir(parents=True)
    done = project.call("run", "--nogpu", "ls.py")
    assert done.returncode == 0, done.stderr
    here = {str(path.relative_to(project.root)) for path in project.root.rglob("*")}
    assert set(json.loads(done.stdout)) == here - {"ocicaliban.lock"}


@pytest.mark.parametrize("args", [(), ("--mount",)])
def test_a_project_in_a_folder_with_an_odd_name(tmp_path: Path, base_lock: str, args: tuple[str, ...]) -> None:
    project = Project(tmp_path / "a: b" / "..x\ny é'\"$(z)%41", base_lock)
    project.env = {}  # only the project is in it
    done = project.call("run", "--nogpu", *args, "t.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (project.root / "t.py").read_text()[7:-3] + "\n"


def test_an_empty_project(project: Project) -> None:
    (project.root / "t.py").unlink()
    assert project.call("build").returncode == 0
    (project.root / "ocicaliban.lock").unlink()
    (project.root / "ocicaliban.toml").unlink()
    said, told = project.fails("build", "t.py", code=2)
    assert "no module or file 't.py'" in said
    assert told == "run the command in the project's folder"


# --- what the machine lacks ---


def test_a_current_folder_that_was_removed(project: Project) -> None:
    scene = ("sh", "-c", 'mkdir ../gone && cd ../gone && rmdir ../gone && exec "$@"', "_")
    said, _ = project.fails("build", "t.py", code=1, inside=scene)
    assert said == "the current folder no longer exists"


@pytest.mark.parametrize("size", ["size=4k,nr_inodes=1", "size=1m"])
def test_a_full_disk(project: Project, size: str) -> None:
    (project.root / "big").write_bytes(os.urandom(2_000_000))
    # In the user's own mount namespace; what is left is looked for before that goes.
    script = f'mount -t tmpfs -o {size} none "$XDG_CACHE_HOME"; "$@"; c=$?; find "$XDG_CACHE_HOME" -path "*work/*" >&2'
    done = project.call("build", "t.py", inside=("buildah", "unshare", "sh", "-c", f"{script}; exit $c", "_"))
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert f"{project.cache}/ocicaliban" in done.stderr.partition("error: ")[2]
    told = done.stderr.partition("No space left on device (")[2]
    assert re.search(r"^[^\n]*( free of 1.0 MB|files is left on that disk)\)\n hint: free disk space", told), told
    assert "/work/build-" not in done.stderr.partition(" hint: ")[2]
    assert "Traceback" not in done.stderr
    assert list(project.tmp.iterdir()) == []


def test_a_full_image_store(project: Project, tmp_path: Path) -> None:
    # A base of a layer that is bigger than what the store may hold.
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "big").write_bytes(os.urandom(6_000_000))
    blob = oci_layout.write_layer(read_tree(tmp_path / "tree"), "/", tmp_path / "layer")
    oci_layout.adopt_layer(tmp_path / "layout", tmp_path / "layer", blob)
    config = {"os": "linux", "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, "")}
    oci_layout.write_layout(tmp_path / "layout", oci_layout.with_layer(config, blob.digest, ""), [blob])
    project.write({"ocicaliban.toml": f'[layers.base]\nimage = "oci:{tmp_path}/layout"\n'})
    (project.root / "ocicaliban.lock").unlink()
    project.env["XDG_DATA_HOME"] = str(tmp_path / "data")
    (tmp_path / "data").mkdir()
    script = 'mount -t tmpfs -o size=4m none "$XDG_DATA_HOME" && exec "$@"'
    said, told = project.fails("build", "t.py", code=1, inside=("buildah", "unshare", "sh", "-c", script, "_"))
    assert "no space left on device" in said
    assert "free of 4.2 MB" in said and "free disk space" in told


def _path_without(folder: Path, *missing: str) -> str:
    """A PATH that has every tool but those."""
    folder.mkdir()
    for place in os.environ["PATH"].split(":"):
        for tool in Path(place).iterdir() if Path(place).is_dir() else ():
            if tool.name not in missing and not (folder / tool.name).is_symlink():
                (folder / tool.name).symlink_to(tool)
    return str(folder)


@pytest.mark.parametrize(("tool", "command"), [("buildah", "build"), ("podman", "run"), ("podman", "build")])
def test_a_tool_that_is_not_installed(project: Project, tmp_path: Path, tool: str, command: str) -> None:
    project.env["PATH"] = _path_without(tmp_path / "bin", tool)
    said, told = project.fails(command, "--nogpu", "t.py", code=1)
    assert said == f"{tool} is not installed"
    assert f"apt install {tool}" in told


def test_a_user_without_sub_uids_and_without_a_disk_for_images(project: Project, tmp_path: Path) -> None:
    # /etc/subuid and /etc/subgid look empty in a mount namespace of the user's own, in which it is itself again.
    (tmp_path / "empty").touch()
    over = " && ".join(f"mount --bind {tmp_path}/empty /etc/{name}" for name in ("subuid", "subgid"))
    back = f"exec unshare --user --map-user={os.getuid()} --map-group={os.getgid()}"
    (tmp_path / "run").mkdir(mode=0o700)
    # The store's files belong to sub-uids, and a process of podman's in the runtime folder keeps their namespace.
    project.env |= {"XDG_DATA_HOME": str(tmp_path / "data"), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    (project.root / "ocicaliban.lock").unlink()
    try:
        scene = ("unshare", "-rm", "sh", "-c", f'{over} && {back} "$@"', "_")
        _, told = project.fails("build", "t.py", code=1, inside=scene)
        assert "export OCICALIBAN_STORE=FOLDER" in told  # all folders of the test container are on an overlay
    finally:
        for pause in (tmp_path / "run").rglob("pause.pid"):
            os.kill(int(pause.read_text()), signal.SIGKILL)


class _Refusing(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(403, "not for you")

    def log_message(self, *_: object) -> None:
        pass


def test_packages_of_debian_that_cannot_be_fetched(project: Project) -> None:
    project.write({"ocicaliban.toml": f'{CONFIG}[layers.apt]\npackages = ["sl"]\n'})
    # A proxy that refuses: where nobody answers, apt tries again for some seconds.
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
        address = f"http_proxy=http://127.0.0.1:{proxy.server_port}"
        said, hint = project.fails("build", "--nogpu", "t.py", code=1, inside=("env", address))
        proxy.shutdown()
    assert "not for you" in said
    assert "Unable to locate" not in said
    assert "http_proxy" in hint


@pytest.mark.parametrize("folder", ["/nowhere/1000", "/usr"])
def test_a_runtime_folder_that_is_not_ours_is_left_out(project: Project, folder: str) -> None:
    done = project.call("run", "--nogpu", "t.py", inside=("env", f"XDG_RUNTIME_DIR={folder}"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(f"note: XDG_RUNTIME_DIR is {folder}") == 1


# --- being ended ---


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_build_that_is_ended_leaves_nothing(project: Project, number: signal.Signals, code: int) -> None:
    recipe = f'{RECIPE}after = ["base"]\n[[steps]]\ndo = "run"\nscript = "slow.sh"\n'
    project.write(
        {
            "ocicaliban.toml": f'{CONFIG}[modes]\nslow = ["base", "slow"]\n',
            "layers/slow/layer.toml": recipe + 'cache = ["/mark"]\n',
            "layers/slow/slow.sh": "touch /mark/begun\nsleep 60\n",
        }
    )
    before = _working_containers()
    child = subprocess.Popen(
        [sys.executable, "-m", "ocicaliban", "build", "--nogpu", "--mode", "slow"], cwd=project.root,
        env=environment(project.env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    mark = project.cache / "ocicaliban" / "mounts" / "mark" / "begun"
    while not mark.exists() and child.poll() is None:
        time.sleep(0.05)
    # `timeout` sends its signal twice, to its child and to the group.
    child.send_signal(number)
    child.send_signal(number)
    _, err = child.communicate(timeout=60)
    assert child.returncode == code, err
    assert _working_containers() == before
    assert list(project.cache.glob("ocicaliban/work/build-*")) == []


# --- what becomes of the output ---


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&-"])
def test_a_closed_stdin_or_stdout_is_no_fault(project: Project, closed: str) -> None:
    done = project.shell(f'"$@" run --nogpu t.py {closed}')
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ('"$@" layers list >/dev/full', 1, "error: /dev/full: No space left on device\n hint: free disk space"),
        ('"$@" --version >/dev/full', 1, "error: /dev/full: No space left on device\n hint: free disk space"),
        ('{ sleep 0.5; "$@" layers list; } | :; exit ${PIPESTATUS[0]}', 141, ""),
    ],
)
def test_an_output_that_cannot_be_written(project: Project, line: str, code: int, said: str) -> None:
    done = project.shell(line)
    assert (done.returncode, done.stderr.count("error: ")) == (code, 1 if said else 0), done.stderr
    assert done.stderr.startswith(said)
    assert "ignored" not in done.stderr
