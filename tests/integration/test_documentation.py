"""Every command of the README and of the tutorial is run, as it stands there."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.program import CONFIG, REPOSITORY, write

BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.M | re.S)
TRAIN = "import sys\nprint(*sys.argv[1:])\n"


HOME = "~/.local/share/ocicaliban"


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
    assert HOME in install
    _bash(install.replace(HOME, str(place)), checkout)
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


@pytest.fixture
def own_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A history in which the first job has the number 1."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_the_commands_of_the_readme(installed: Path, tmp_path: Path, own_history: None) -> None:
    folder = tmp_path / "project"
    write(folder, {"train.py": TRAIN, "ocicaliban.toml": CONFIG})
    first, sweep = (block for block in _blocks(REPOSITORY / "README.md") if "ocicaliban run" in block)
    done = _bash(first, folder, installed)
    assert done.stdout.splitlines()[0] == "--lr 0.1"
    assert "source-copy" in done.stdout
    [example] = re.findall(r"^```json\n(.*?)^```$", (REPOSITORY / "README.md").read_text(), re.M | re.S)
    write(folder, {"sweep.json": example})
    done = _bash(sweep, folder, installed)
    assert "6 succeeded" in done.stderr
    assert "--lr 0.01 --layers 2" in done.stdout


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


def test_the_tutorial_on_sweeps(installed: Path, tmp_path: Path, own_history: None) -> None:
    document = REPOSITORY / "docs" / "tutorial" / "sweep" / "README.md"
    folder = tmp_path / "sweep"
    shutil.copytree(document.parent, folder, ignore=shutil.ignore_patterns("ocicaliban.lock"))
    assert (folder / "sweep.json").read_text() in document.read_text()
    place = str(installed.parent.parent)
    blocks = [block.replace(HOME, place) for block in _blocks(document)]
    expanded, ran, resumed, looked, report, less, page, more = (_bash(block, folder, installed) for block in blocks)
    assert expanded.stdout.startswith("--rate 0.0003 --hidden 8 --seed 0\n") and len(expanded.stdout.splitlines()) == 30
    assert "digits: 30 jobs, 2 at a time" in ran.stderr and "digits: 30 succeeded" in ran.stderr
    assert sorted(path.name for path in (tmp_path / "results/digits/30").iterdir()) == ["metrics.json", "metrics.jsonl"]
    assert "nothing is left" in resumed.stderr
    assert "digits: 30 succeeded" in looked.stdout and "epoch 20: loss" in looked.stdout
    best = float(re.findall(r"highest accuracy: ([0-9.]+)", report.stdout)[0])
    assert 0.95 < best < 1  # the digits after that depend on the processor
    assert "  id   rate  seed  accuracy\n" in less.stdout
    assert len((tmp_path / "digits.csv").read_text().splitlines()) == 31
    assert "<html" in (tmp_path / "digits.html").read_text()[:200] and page.returncode == 0
    assert len(re.findall(r"^[ *]+\d+ +succeeded", more.stdout, re.M)) == 5


def test_the_commands_for_experiments(installed: Path, tmp_path: Path, own_history: None) -> None:
    document = REPOSITORY / "docs" / "experiments.md"
    folder = tmp_path / "project"
    [example, *_] = re.findall(r"^```json\n(.*?)^```$", document.read_text(), re.M | re.S)
    write(folder, {"train.py": TRAIN, "ocicaliban.toml": CONFIG, "sweep.json": example})
    ran, resumed, looked, again = (_bash(block, folder, installed) for block in _blocks(document))
    assert "digits: 8 succeeded" in ran.stderr
    assert "nothing is left" in resumed.stderr
    assert "--verbose --epochs 2 --batch_size 64 --name digits\n" in looked.stdout
    assert "none of them runs or waits" in again.stderr and "nothing has failed" in again.stderr
