"""A project's own recipes and modes, an ejected recipe, and the recipe apt, built and run with the real tools."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
BASE = '[layers.base]\nbootstrap = "debian:bookworm"\n'
Done = subprocess.CompletedProcess[str]


def _call(folder: Path, *args: str, nogpu: bool = True) -> Done:
    argv = [sys.executable, "-m", "ocicaliban", args[0], *(["--nogpu"] if nogpu else []), *args[1:]]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        argv, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=280
    )


def _ok(folder: Path, *args: str, nogpu: bool = True) -> Done:
    done = _call(folder, *args, nogpu=nogpu)
    assert done.returncode == 0, done.stderr
    return done


Make = Callable[[dict[str, str]], Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def project(files: dict[str, str]) -> Path:
        folder = tmp_path / "project"
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return folder

    return project


GREETING = """
summary = "A greeting that the container speaks"
after = ["base"]
provides = "greeting"
[params.word]
required = true
help = "what to say"
[params.names]
type = "list"
sort = true
[params.times]
type = "int"
default = 2
[params.loud]
type = "bool"
default = false
[[steps]]
do = "run"
script = "make.sh"
env = { WORD = "${word}", NAMES = "${names}", TIMES = "${times}" }
files = { "note.txt" = "said to ${names}" }
[[steps]]
do = "run"
when = "loud"
script = "louder.sh"
[[steps]]
do = "configure"
env = { GREETING = "/opt/greeting.txt" }
path = ["/opt/bin"]
ports = ["8080/tcp"]
[launch]
env = { SPOKEN_BY = "${word}" }
mounts = ["${project}/out:/out"]
ports = ["127.0.0.1::8080"]
"""
CONFIG = (
    BASE
    + """
[layers.greeting]
word = "hello; touch /opt/$(id -u)"
names = ["you", "me"]
times = 3
loud = true
[modes]
greet = ["base", "greeting", "source-copy", "entrypoint"]
"""
)
FILES = {
    "ocicaliban.toml": CONFIG,
    "layers/greeting/layer.toml": GREETING,
    "layers/greeting/make.sh": (
        'set -eu\nfor i in $(seq $TIMES); do echo "$WORD, $NAMES"; done > /opt/greeting.txt\n'
        "cat /dev/oc/note.txt >> /opt/greeting.txt\n"
        "mkdir -p /opt/bin\nprintf '#!/bin/sh\\ncat $GREETING\\n' > /opt/bin/greet\nchmod 755 /opt/bin/greet\n"
    ),
    "layers/greeting/louder.sh": "sed -i 's/hello/HELLO/' /opt/greeting.txt\n",
    "say.py": (
        "import os, subprocess\n"
        "print(subprocess.run(['greet'], capture_output=True, text=True).stdout)\n"
        "print(sorted(os.listdir('/opt')), os.environ['SPOKEN_BY'])\n"
        "open('/out/said', 'w').write('done')\n"
    ),
    "out/.keep": "",
}


def test_a_mode_and_a_recipe_of_the_projects_own_are_planned_built_and_run(make: Make) -> None:
    folder = make(FILES)
    done = _ok(folder, "run", "--mode", "greet", "say.py")
    line = "HELLO; touch /opt/$(id -u), me you\n"
    shown = "['bin', 'greeting.txt'] hello; touch /opt/$(id -u)\n"
    assert done.stdout == f"{line * 3}said to me you\n{shown}"
    # What the container wrote to the mount belongs to the user.
    assert (folder / "out" / "said").read_text() == "done"
    assert (folder / "out" / "said").stat().st_uid == os.getuid()
    plan = json.loads(_ok(folder, "plan", "greet", "say.py", "--json").stdout)
    assert plan["mode"] == "greet"
    names = [layer["name"] for layer in plan["layers"]]
    assert names == ["greeting", "source-copy", "entrypoint"]
    assert plan["layers"][0]["present"]
    built = _ok(folder, "build", "--mode", "greet", "say.py").stdout.strip()
    config = json.loads(_podman("image", "inspect", built))[0]["Config"]
    assert config["ExposedPorts"] == {"8080/tcp": {}}
    assert "SPOKEN_BY" not in json.dumps(config), "what belongs to the launch is in the image"
    (folder / "ocicaliban.toml").write_text(CONFIG.replace("loud = true", "loud = false").replace("times = 3", ""))
    said = _ok(folder, "run", "--mode", "greet", "say.py").stdout
    assert said == f"{line.replace('HELLO', 'hello') * 2}said to me you\n{shown}"


def _podman(*args: str) -> str:
    return subprocess.run(["podman", *args], capture_output=True, text=True, check=True).stdout


def test_an_unknown_mode_is_told_with_the_nearest(make: Make) -> None:
    done = _call(make(FILES), "build", "--mode", "gret")
    assert done.returncode == 2
    assert "there is no mode 'gret'\n hint: did you mean 'greet'?" in done.stderr


def test_an_ejected_recipe_wins_over_the_built_in_one(make: Make) -> None:
    mark = uuid.uuid4().hex
    config = BASE + '[layers.apt]\npackages = ["hello"]\n'
    folder = make({"ocicaliban.toml": config, "look.py": "print(open('/opt/m').read())"})
    _ok(folder, "layers", "eject", "apt", nogpu=False)
    (folder / "layers" / "apt" / "install.sh").write_text(f'printf "%s {mark}" "$PACKAGES" > /opt/m\n')
    assert _ok(folder, "run", "look.py").stdout == f"hello {mark}\n"
    listed = _ok(folder, "layers", "list", nogpu=False).stdout
    assert any(line.split()[:2] == ["apt", "project"] for line in listed.splitlines())
    again = _call(folder, "layers", "eject", "apt", nogpu=False)
    assert again.returncode == 1
    assert "exists already" in again.stderr


# --- apt ---

PROBE = "import subprocess; print(subprocess.run(['dpkg-query', '-W', 'hello'], capture_output=True, text=True).stdout)"


def test_apt_takes_a_versions_beginning_and_gives_the_same_bytes_every_time(make: Make) -> None:
    config = BASE + '[layers.apt]\npackages = ["python3-pkg-resources", "hello=2.1*"]\n'
    config += '[modes]\nsmall = ["base", "apt"]\n'
    folder = make({"ocicaliban.toml": config, "look.py": PROBE})
    first = json.loads(_ok(folder, "build", "--mode", "small", "--json", "--no-cache").stdout)
    second = json.loads(_ok(folder, "build", "--mode", "small", "--json", "--no-cache").stdout)
    assert first == second
    assert _ok(folder, "run", "look.py").stdout.startswith("hello\t2.1")


@pytest.mark.parametrize("name", ["$(touch owned); id", "--simulate"])
def test_an_odd_name_of_a_package_is_a_name_and_nothing_else(name: str, make: Make) -> None:
    folder = make({"ocicaliban.toml": BASE + f"[layers.apt]\npackages = [{json.dumps(name)}]\n"})
    done = _call(folder, "build")
    assert done.returncode == 1
    assert "the Debian packages cannot be resolved" in done.stderr
    assert "nable to locate package" in done.stderr


PATHS = """
summary = "Two configure steps, of which each puts a folder before PATH"
after = ["base"]
[[steps]]
do = "run"
script = "run.sh"
[[steps]]
do = "configure"
path = ["/one"]
[[steps]]
do = "configure"
path = ["/two"]
"""


@pytest.mark.parametrize("runs", [True, False])
def test_every_configure_step_puts_its_folders_before_path(make: Make, base_lock: str, runs: bool) -> None:
    recipe = PATHS if runs else PATHS.replace('[[steps]]\ndo = "run"\nscript = "run.sh"\n', "")
    folder = make(
        {
            "ocicaliban.toml": BASE + '[modes]\npaths = ["base", "paths"]\n',
            "ocicaliban.lock": base_lock,
            "layers/paths/layer.toml": recipe,
            "layers/paths/run.sh": f": {uuid.uuid4().hex}\n",
        }
    )
    image = _ok(folder, "build", "--mode", "paths").stdout.strip()
    out = subprocess.run(["podman", "image", "inspect", image], capture_output=True, text=True, check=True).stdout
    path = next(word for word in json.loads(out)[0]["Config"]["Env"] if word.startswith("PATH="))
    assert path.startswith("PATH=/two:/one:/usr/local/sbin:")


def test_what_a_recipe_mounts_from_outside_is_allowed_once(make: Make, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "note").write_text("seen")
    launch = f'mounts = ["{tmp_path}/outside:/x:ro", "${{project}}/layers:/y"]\ncapabilities = ["CHOWN"]\n'
    code = "import os; os.chown('/tmp', 1, 1); print(open('/x/note').read(), *os.listdir('/y'))\n"
    status = "import re; print(*re.findall('(?:CapEff|NoNewPrivs):\\\\s(.*)', open('/proc/self/status').read()))\n"
    modes = '[modes]\nrun = ["base", "look", "source-copy", "command"]\n'
    recipe = f'summary = "s"\n[launch]\n{launch}'
    project = make({"ocicaliban.toml": BASE + modes, "layers/look/layer.toml": recipe, "a.py": code, "b.py": status})
    for args in (["run", "a.py"], ["run", "a.py"]):
        refused = _call(project, *args)
        assert refused.returncode == 2 and f"mounts {tmp_path}/outside:/x:ro" in refused.stderr, refused.stderr
        assert "hint: read these files; `ocicaliban allow`" in refused.stderr and not refused.stdout
    assert "not allowed yet" in _ok(project, "plan", "run").stdout
    assert "allowed: capability CHOWN" in _ok(project, "allow", nogpu=False).stdout
    assert _ok(project, "run", "a.py").stdout == "seen look\n"
    assert _ok(project, "run", "b.py").stdout.split() == ["0000000000000001", "1"]
    (project / "ocicaliban.toml").write_text(BASE)
    assert _ok(project, "run", "b.py").stdout.split() == ["0000000000000000", "1"]
    assert _ok(project, "run", "b.py").stdout.split() == ["0000000000000000", "1"]  # as a replay
    _ok(project, "shell", "--bare", "--", "chown", "1:1", "/tmp")
    sweep = ("run", "--experiment-config", "sweep.json", "--group", "caps", "b.py")
    (project / "sweep.json").write_text('{"--n": [1]}')
    for more in ((), ("--podman-args", "--cap-add=SETUID")):  # podman's service, and its command line
        _ok(project, *sweep, *more)
    jobs = json.loads(_ok(project, "status", "--group", "caps", "--json", nogpu=False).stdout)
    logs = [word for job in jobs for word in _ok(project, "logs", str(job["id"]), nogpu=False).stdout.split()]
    assert {"0000000000000000", "0000000000000080"} < {*logs} and "0" not in logs, logs
