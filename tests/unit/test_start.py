"""Starting imports no more modules than it did before the package was divided; each costs every call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
COUNT = """\
import sys
before = {*sys.modules}
from ocicaliban.__main__ import main
code = main(sys.argv[1:])
made = sorted({*sys.modules} - before)
print("modules:", *made, file=sys.stderr)
sys.exit(code)
"""
RECORD = """\
import json, sys
from pathlib import Path
from ocicaliban import replay
from ocicaliban.containers import usual_store
from ocicaliban.system import files
usual_store.remember(Path(sys.argv[1]).parent)
used, place, index = files.used("1d"), Path(replay._place(["run", "train.py"])), Path(sys.argv[1])
for path in (used, place):
    path.parent.mkdir(parents=True)
used.touch()
index.write_text('[{"id":"1d"}]')
stamps = {"read": {}, "entries": {}, "asked": {}, "links": {}}
job = {"submission": {"project": str(index.parent), "mode": "run", "group": "p-runs"}}
known = {"index": str(index), "image": "1d", "said": "replayed", "argv": ["true"], "key": "k", "job": job}
place.write_text(json.dumps({**stamps, **known}))
"""
VERSION, COMPLETION, REPLAY = 30, 131, 64
"""The modules that each imported in the commit before the packages were made, ours and Python's, with Python 3.11."""
NEWER = 0 if sys.version_info < (3, 12) else 10
"""Later versions of Python divide some of their modules."""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    # The real podman would leave a process that keeps its namespace, in each folder of a test.
    podman = tmp_path / "bin/podman"
    podman.parent.mkdir()
    podman.write_text("#!/bin/sh\n")
    podman.chmod(0o755)
    home = str(tmp_path)
    path = f"{podman.parent}:{os.environ['PATH']}"
    return {"PATH": path, "HOME": home, "XDG_RUNTIME_DIR": home, "PYTHONPATH": str(REPOSITORY)}


def _python(code: str, *args: str, env: Mapping[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", code, *args]
    return subprocess.run(argv, env=env, cwd=cwd, capture_output=True, text=True, timeout=60, check=True)


def _modules(stderr: str) -> list[str]:
    (line,) = (line for line in stderr.splitlines() if line.startswith("modules: "))
    return line.removeprefix("modules: ").split()


def test_the_version_is_told_without_any_library(environment: dict[str, str], tmp_path: Path) -> None:
    done = _python(COUNT, "--version", env=environment, cwd=tmp_path)
    assert done.stdout.startswith("ocicaliban ")
    made = _modules(done.stderr)
    assert len(made) <= VERSION + NEWER, made
    assert {name for name in made if name.startswith("ocicaliban")} == {
        "ocicaliban", "ocicaliban.__main__", "ocicaliban.errors",
    }  # fmt: skip


def test_a_completion_imports_little(environment: dict[str, str], tmp_path: Path) -> None:
    words = {"_OCICALIBAN_COMPLETE": "complete_bash", "COMP_WORDS": "ocicaliban pl", "COMP_CWORD": "1"}
    done = _python(COUNT, env={**environment, **words}, cwd=tmp_path)
    assert done.stdout.split() == ["plan"]
    made = _modules(done.stderr)
    assert not {"attrs", "cattrs", "rich.progress", "peewee", "podman", "requests", "ocicaliban.replay"}.intersection(
        made
    )
    assert len(made) <= COMPLETION + NEWER, made


@pytest.mark.skipif(os.geteuid() == 0, reason="root's runs are not replayed")
def test_a_replay_imports_little(environment: dict[str, str], tmp_path: Path) -> None:
    _python(RECORD, str(tmp_path / "images.json"), env=environment, cwd=tmp_path)
    done = _python(COUNT, "run", "train.py", env=environment, cwd=tmp_path)
    assert done.stderr.startswith("replayed\n")
    made = _modules(done.stderr)
    slow = {"typer", "attrs", "cattrs", "shutil", "rich", "ocicaliban.containers.own_store"}
    assert not slow.intersection(made)
    assert len(made) <= REPLAY + NEWER, made
    (journal,) = (tmp_path / ".local/state/ocicaliban").rglob("*.json")
    assert json.loads(journal.read_text())


@pytest.mark.parametrize(("words", "options", "shown"), [([], [], False), (["--debug"], [], True), ([], ["-Wd"], True)])
def test_warnings_of_libraries_are_not_for_users(
    environment: dict[str, str], tmp_path: Path, words: list[str], options: list[str], shown: bool
) -> None:
    (tmp_path / "ocicaliban.toml").write_text('[layers.base]\nimage = "example.org/base:1"\n')
    (tmp_path / ".gitignore").write_text("[[a]x\n")  # re warns of "[["
    (tmp_path / "x.py").touch()
    argv = [sys.executable, *options, "-m", "ocicaliban", "plan", "run", "--nogpu", *words]
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ("FutureWarning" in done.stderr) == shown, done.stderr
