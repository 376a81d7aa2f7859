"""`run` at a terminal: what a script sees of it, and what Ctrl-C does."""

import json
import shlex
import uuid
from pathlib import Path

import pexpect
import pytest

from tests.folders import write
from tests.integration.program import CONFIG, command, environment, ok

SIZE = """
import os, signal, sys
def show(*_):
    print("terminal", sys.stdin.isatty(), sys.stdout.isatty(), *os.get_terminal_size(), flush=True)
signal.signal(signal.SIGWINCH, show)
show()
print("TERM", os.environ["TERM"], flush=True)
input()
sys.exit(5)
"""
BACK = "import sys\nprint('terminal', sys.stdin.isatty(), 'done')\nsys.exit(4)\n"
INTERRUPTED = """
import sys, time
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("saving", flush=True)
    sys.exit(7)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("terminal")
    write(folder, {"ocicaliban.toml": CONFIG, "size.py": SIZE, "interrupted.py": INTERRUPTED, "background.py": BACK})
    for script in ("size.py", "interrupted.py", "background.py"):
        ok(folder, "build", script)
    return folder


def _working_containers() -> set[str]:
    return set(pexpect.run("buildah containers --format {{.ContainerName}}", encoding="utf-8").split())


def _at_a_terminal(folder: Path, *args: str) -> "pexpect.spawn[str]":
    argv = command(*args)
    env = environment({"TERM": "xterm-256color"})
    return pexpect.spawn(
        argv[0], argv[1:], cwd=str(folder), env=env, dimensions=(33, 101), timeout=60, encoding="utf-8"
    )


def test_the_script_has_our_terminal_its_size_and_its_kind(project: Path) -> None:
    child = _at_a_terminal(project, "run", "size.py")
    child.expect("terminal True True 101 33")
    child.expect("TERM xterm-256color")
    child.setwinsize(20, 60)
    child.expect("terminal True True 60 20")
    child.sendline("")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 5


def test_ctrl_c_reaches_the_script_and_its_exit_code_comes_back(project: Path) -> None:
    child = _at_a_terminal(project, "run", "interrupted.py")
    child.expect("ready")
    child.sendintr()
    child.expect("saving")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 7


def test_in_the_background_a_script_runs_to_its_end(project: Path) -> None:
    argv = shlex.join([*command("run", "background.py"), "--podman-args", "--env A=1"])
    env = environment({"PS1": "", "HISTFILE": ""})
    child = pexpect.spawn(
        "bash", ["--norc", "-i"], cwd=str(project), env=env, dimensions=(33, 200), timeout=60, encoding="utf-8"
    )
    child.sendline(f"{argv} >log 2>&1 & wait $!; echo ended: $?; cat log")
    child.expect(r"ended: (\d+)\r\n(.*)done")
    assert child.match[1] == "4"
    child.close()


def test_ctrl_c_in_a_build_ends_it_and_leaves_nothing(project: Path, tmp_path: Path) -> None:
    recipe = 'summary = "slow"\nafter = ["base"]\n[[steps]]\ndo = "run"\nscript = "slow.sh"\n'
    write(tmp_path, {"layers/slow/layer.toml": recipe, "layers/slow/slow.sh": "echo begun >&2\nsleep 60\n", "a.py": ""})
    write(tmp_path, {"ocicaliban.toml": CONFIG + '[modes]\nslow = ["base", "slow"]\n'})
    (tmp_path / "ocicaliban.lock").write_text((project / "ocicaliban.lock").read_text())
    before = _working_containers()
    child = _at_a_terminal(tmp_path, "build", "--mode", "slow")
    child.expect("slow: building")
    child.expect("0:00:01")  # it moves
    child.sendintr()
    child.expect_exact("\x1b[?25h")  # the cursor is back
    child.expect("slow: interrupted; the layers that are finished are kept\r\n")
    child.expect(pexpect.EOF)
    assert "interrupted" not in (child.before or "")
    child.close()
    assert child.exitstatus == 130
    assert _working_containers() == before


def test_a_build_shows_what_it_makes_and_then_what_that_took(project: Path, tmp_path: Path) -> None:
    write(tmp_path, {"ocicaliban.toml": CONFIG, "a.txt": uuid.uuid4().hex})
    (tmp_path / "ocicaliban.lock").write_text((project / "ocicaliban.lock").read_text())
    child = _at_a_terminal(tmp_path, "build")
    child.expect("source-copy: building, [0-9]+ B")
    child.expect("source-copy: built in [0-9.]+ s, [0-9.]+ kB\r\n[0-9a-f]{64}\r\n")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


EVIL = "a\x1b]0;title\x07b\x1b[35mc\x9b35md\u202ee\u2066f\u200fg\x08h\ri"
CONTROLS = ("\x1b]", "\x1b[35m", "\x9b", "\u202e", "\u2066", "\u200f", "\x07", "\x08")
HOSTILE = f"""
summary = {json.dumps(EVIL)}
[launch]
mounts = [{json.dumps(f"/etc/{EVIL}:/x")}]
[params.word]
help = {json.dumps(EVIL)}
[[steps]]
do = "run"
script = "go.sh"
"""


def _said(child: "pexpect.spawn[str]") -> str:
    child.expect(pexpect.EOF)
    child.close()
    return str(child.before)


def test_a_cloned_project_neither_controls_the_terminal_nor_mounts_what_it_wants_unasked(tmp_path: Path) -> None:
    modes = '[modes]\nrun = ["base", "own", "command"]\n'
    write(
        tmp_path,
        {
            "ocicaliban.toml": modes + CONFIG,
            "layers/own/layer.toml": HOSTILE,
            "layers/own/go.sh": f"echo '{EVIL}'\n",
            "train.py": "",
            f"{EVIL.replace('/', '')}.env": "DB_PASSWORD=Xk93mQvw7T\n",
            "sweep.json": json.dumps({"--n": [EVIL]}),
        },
    )
    told = [
        _said(_at_a_terminal(tmp_path, *args))
        for args in (
            ("layers", "show", "own"),
            ("plan", "run"),
            ("plan", "build"),
            ("run", "--experiment-config", "sweep.json", "--dry-run", "train.py"),
            ("run", f"{EVIL}.py"),
        )
    ]
    child = _at_a_terminal(tmp_path, "run", "train.py")
    child.expect_exact("Do you allow this? [y/N] ")
    told.append(str(child.before))
    child.sendline("n")
    told.append(_said(child))
    assert child.exitstatus == 2 and "`ocicaliban allow`" in told[-1]
    assert "wants what lies outside of it" in told[-2]
    for text in told:
        assert not [sign for sign in CONTROLS if sign in text], text
        assert "\\x1b]0;title" in text or text is told[-1], text
    # Once allowed, nobody asks.
    ok(tmp_path, "allow")
    assert "not allowed yet" not in ok(tmp_path, "plan", "run").stdout
