"""Every command of the README and of the tutorial is run, as it stands there."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.program import REPOSITORY, write

BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.M | re.S)
TRAIN = "import sys\nprint(*sys.argv[1:])\n"


def _blocks(document: Path) -> list[str]:
    return BLOCK.findall(document.read_text())


def _bash(script: str, folder: Path, path: Path | None = None) -> "subprocess.CompletedProcess[str]":
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    if path is not None:
        env["PATH"] = f"{path}:{env['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkout") / "ocicaliban"
    rest = shutil.ignore_patterns(".git", ".venv", ".hypothesis", "__pycache__", ".*_cache")
    shutil.copytree(REPOSITORY, folder, symlinks=True, ignore=rest)
    return folder


@pytest.fixture(scope="module")
def installed(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the program, installed by the README's own words (into another folder than the home)."""
    place = tmp_path_factory.mktemp("installed")
    install = next(block for block in _blocks(REPOSITORY / "README.md") if "pip install" in block)
    assert "~/.local/share/ocicaliban" in install
    _bash(install.replace("~/.local/share/ocicaliban", str(place)), checkout)
    return place / "venv" / "bin"


def test_the_demo_trains_and_says_how_well(checkout: Path) -> None:
    demo, test = _blocks(REPOSITORY / "README.md")[0].splitlines()
    done = _bash(demo, checkout)
    assert re.findall(r"^accuracy (0\.9\d+)$", done.stdout, re.M) == ["0.990", "0.990"]
    second = done.stderr.rsplit("running on", 2)[1]
    assert "building" not in second
    # The other command is what runs this test.
    assert test.split()[:2] == ["./bootstrap", "test"]
    assert "./bootstrap test" in (REPOSITORY / ".ci" / "run").read_text()


def test_the_commands_of_the_readme(installed: Path, tmp_path: Path) -> None:
    write(tmp_path, {"train.py": TRAIN, "ocicaliban.toml": '[layers.base]\nbootstrap = "debian:bookworm"\n'})
    (block,) = (block for block in _blocks(REPOSITORY / "README.md") if "ocicaliban run" in block)
    done = _bash(block, tmp_path, installed)
    assert done.stdout.splitlines()[0] == "--lr 0.1"
    assert "source-copy" in done.stdout


def test_the_tutorial(installed: Path, tmp_path: Path) -> None:
    document = REPOSITORY / "docs" / "tutorial" / "digits" / "README.md"
    digits = tmp_path / "digits"
    shutil.copytree(document.parent, digits, ignore=shutil.ignore_patterns("ocicaliban.lock"))
    printed = [_bash(block, digits, installed) for block in _blocks(document)]
    assert printed[0].stdout == printed[1].stdout == "accuracy 0.990\n"
    assert "building" not in printed[1].stderr
    assert "python 5MB+" in printed[2].stdout
    assert printed[3].stdout.startswith("accuracy 0.") and printed[3].stdout != printed[0].stdout
    assert "to be built: changed: train.py" in printed[4].stdout
    assert re.findall("^(.+): building", printed[5].stderr, re.M)[0] == "python"
    assert printed[6].stdout.startswith("accuracy 0.")
    assert (tmp_path / "Containerfile").read_text().count("FROM ") == 1
