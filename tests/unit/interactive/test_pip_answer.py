"""What `pip install` answers in a shell and in a notebook."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ocicaliban.interactive import pip_answer

FILES = Path(__file__).parents[3] / "layers" / "shell" / "rc"


def pip(*words: str, path: Path | None = None, add: str = "uv add PACKAGE") -> tuple[int, str, str]:
    folders = os.pathsep.join(map(str, [FILES / "python", *([path] if path else [])]))
    done = subprocess.run(
        [sys.executable, "-S", "-m", "pip", *words],
        env={"PYTHONPATH": folders, "OCICALIBAN_ADD": add, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("words", "add", "told"),
    [
        ("install six", "uv add PACKAGE", "outside of the container: uv add six; then start the shell"),
        ("install -q six attrs", "poetry add PACKAGE", "poetry add six attrs; "),
        ("install six", "add it to requirements.txt", "add it to requirements.txt; "),
        ("uninstall six", "uv add PACKAGE", "python -m pip list shows what it has"),
    ],
)
def test_an_installation_is_answered(words: str, add: str, told: str) -> None:
    code, out, err = pip(*words.split(), add=add)
    assert code == 1 and out == "" and err.startswith("error: this environment is made from the project's files")
    assert told in err


def test_an_environment_with_a_pip_keeps_it(tmp_path: Path) -> None:
    own = tmp_path / "pip"
    own.mkdir()
    (own / "__init__.py").write_text("__version__ = '99'\n")
    (own / "__main__.py").write_text("import pip, sys\nprint(pip.__version__, pip.__file__, sys.argv[1:])\n")
    code, out, _ = pip("install", "six", path=tmp_path)
    assert code == 0 and out == f"99 {own}/__init__.py ['install', 'six']\n"


def test_a_command_called_pip_is_there_and_leaves_the_environments_own_alone(tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "VIRTUAL_ENV": str(tmp_path)}
    for name in ("pip", "pip3"):
        own = tmp_path / "bin" / name
        own.parent.mkdir(exist_ok=True)
        own.write_text("#!/bin/sh\necho own $@\n")
        own.chmod(0o755)
        done = subprocess.run([FILES / "bin" / name, "list"], env=environ, capture_output=True, text=True, check=True)
        assert done.stdout == "own list\n"
        assert shutil.which(name, path=str(FILES / "bin"))


def test_the_container_knows_what_to_answer() -> None:
    assert pip_answer.variable(None) == ("--env", "OCICALIBAN_ADD=add it to requirements.txt")
    assert pip_answer.mount(Path("/f")) == ("-v", "/f:/run/ocicaliban:ro")
