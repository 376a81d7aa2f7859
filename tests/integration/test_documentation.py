"""Every command of the README and of the tutorial is run, as it stands there."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ocicaliban.system import process
from tests.folders import write
from tests.integration.program import CONFIG, REPOSITORY
from tests.integration.registries import free_port
from tests.integration.slurm_cluster import until

BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.M | re.S)
TRAIN = "import sys\nprint(*sys.argv[1:])\n"


def _without_others(block: str) -> str:
    """Return a tutorial's last block without the command that removes all images: other tests need theirs."""
    assert "ocicaliban clean --all\n" in block
    return block.replace("ocicaliban clean --all\n", "ocicaliban clean --all --dry-run > /dev/null\n")


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
    # Not the lock of a demo in this checkout: Debian's packages may have moved on since.
    rest = shutil.ignore_patterns(".git", ".venv", ".hypothesis", "__pycache__", ".*_cache", "ocicaliban.lock")
    shutil.copytree(REPOSITORY, folder, symlinks=True, ignore=rest)
    return folder


@pytest.fixture(scope="module")
def installed(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the program, installed by the README's own words (into another folder than the home)."""
    place = tmp_path_factory.mktemp("installed")
    install = next(block for block in _blocks(REPOSITORY / "README.md") if "uv tool install" in block)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UV_TOOL_DIR", str(place / "tools"))
        patch.setenv("UV_TOOL_BIN_DIR", str(place / "bin"))
        # Where uv is, beside our own Python, there is an `ocicaliban` of the checkout as well.
        (place / "bin").mkdir()
        (place / "bin" / "uv").symlink_to(process.tool("uv"))
        done = _bash(install, checkout, place / "bin")
        assert "ready: " in done.stdout
        yield place / "bin"


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
    *blocks, clean = _blocks(document)
    printed = [_bash(block, digits, installed) for block in blocks]
    assert (tmp_path / "Containerfile").read_text().count("FROM ") == 1
    _bash(_without_others(clean), digits, installed)
    assert printed[0].stdout == printed[1].stdout == "accuracy 0.990\n"
    assert "building" not in printed[1].stderr
    assert "python 5MB+" in printed[2].stdout
    assert printed[3].stdout.startswith("accuracy 0.") and printed[3].stdout != printed[0].stdout
    assert "to be built: changed: train.py" in printed[4].stdout
    assert re.findall("^(.+): building", printed[5].stderr, re.M)[0] == "python"
    assert printed[6].stdout.startswith("accuracy 0.")
    assert not (tmp_path / "Containerfile").exists() and not (digits / "ocicaliban.lock").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["digits"], "the tutorial leaves something behind"


def test_the_tutorial_on_sweeps(installed: Path, tmp_path: Path, own_history: None) -> None:
    document = REPOSITORY / "docs" / "tutorial" / "sweep" / "README.md"
    folder = tmp_path / "sweep"
    shutil.copytree(document.parent, folder, ignore=shutil.ignore_patterns("ocicaliban.lock"))
    assert (folder / "sweep.json").read_text() in document.read_text()
    *blocks, clean = _blocks(document)
    expanded, ran, resumed, looked, report, less, page, more = (_bash(block, folder, installed) for block in blocks)
    assert expanded.stdout.startswith("--rate 0.0003 --hidden 8 --seed 0\n") and len(expanded.stdout.splitlines()) == 30
    assert "digits: 30 jobs, 2 at a time" in ran.stderr and "digits: 30 succeeded" in ran.stderr
    assert sorted(path.name for path in (tmp_path / "results/digits/30").iterdir()) == ["metrics.json", "metrics.jsonl"]
    assert "all jobs have ended" in resumed.stderr
    assert "digits: 30 succeeded" in looked.stdout and "epoch 20: loss" in looked.stdout
    best = float(re.findall(r"highest accuracy: ([0-9.]+)", report.stdout)[0])
    assert 0.95 < best < 1  # the digits after that depend on the processor
    assert "  id   rate  seed  accuracy\n" in less.stdout
    assert len((tmp_path / "digits.csv").read_text().splitlines()) == 31
    assert "<html" in (tmp_path / "digits.html").read_text()[:200] and page.returncode == 0
    assert len(re.findall(r"^[ *]+\d+ +succeeded", more.stdout, re.M)) == 5
    _bash(_without_others(clean), folder, installed)
    left = {path.name for path in tmp_path.iterdir()} - {"state"}
    assert left == {"sweep"} and not (folder / "ocicaliban.lock").exists()


def test_the_tutorial_on_slurm(
    installed: Path, tmp_path: Path, own_history: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = REPOSITORY / "docs" / "tutorial" / "slurm" / "README.md"
    folder = tmp_path / "slurm"
    shutil.copytree(document.parent, folder, ignore=shutil.ignore_patterns("ocicaliban.lock"))
    cluster = str(tmp_path / "cluster")
    start, run, logs, look, shell, stop = (block.replace("/tmp/cluster", cluster) for block in _blocks(document))
    monkeypatch.setenv("SLURM_CONF", f"{cluster}/slurm.conf")  # each block is a bash of its own
    started = _bash(start, folder)
    try:
        assert "n[1-2]" in started.stdout
        assert _bash(run, folder, installed).stdout == "line\n"
        assert re.match(r"task 5: y = \d", _bash(logs, folder, installed).stdout)
        until(lambda: "line: 6 succeeded" in _bash("ocicaliban status line", folder, installed).stdout)
        looked = _bash(look, folder, installed).stdout
        assert "loss" in looked and re.search(r"lowest loss: 0\.0", looked), looked
        assert _bash(shell, folder, installed).stdout.startswith("task -: y = ")
    finally:
        _bash(stop, folder)


def test_the_commands_for_experiments(installed: Path, tmp_path: Path, own_history: None) -> None:
    document = REPOSITORY / "docs" / "experiments.md"
    folder = tmp_path / "project"
    examples = re.findall(r"^```json\n(.*?)^```$", document.read_text(), re.M | re.S)
    space = next(each for each in examples if '"log"' in each)
    write(folder, {"train.py": TRAIN, "ocicaliban.toml": CONFIG, "sweep.json": examples[0], "space.json": space})
    blocks = _blocks(document)
    [search] = (block for block in blocks if "--search" in block)
    ran, resumed, looked, again = (_bash(block, folder, installed) for block in blocks if block != search)
    at_random, optuna = search.splitlines()
    assert "search: 2 succeeded" in _bash(at_random.replace("40", "2"), folder, installed).stderr
    assert "--search optuna " in optuna  # tests/integration/test_search.py runs it, with the extra
    assert "digits: 8 succeeded" in ran.stderr
    assert "all jobs have ended" in resumed.stderr
    assert "--verbose --epochs 2 --batch_size 64 --name digits\n" in looked.stdout
    assert "all of these jobs have ended already" in again.stderr and "no job has failed" in again.stderr


def _serve(script: str, folder: Path, path: Path, ready: Callable[[], object]) -> "subprocess.Popen[str]":
    """Start what runs until Ctrl-C in a terminal of its own, and wait until it is `ready`."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    # A variable such as REGISTRY_AUTH_FILE, which is podman's, would be a setting of the registry's.
    env = {name: value for name, value in env.items() if not name.startswith("REGISTRY_")}
    child = subprocess.Popen(
        ["bash", "-c", f"exec {script}"], cwd=folder, env={**env, "PATH": f"{path}:{env['PATH']}"},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    for _ in range(600):
        if ready():
            return child
        assert child.poll() is None, script
        time.sleep(0.1)
    raise AssertionError(f"{script} does not become ready")


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_the_tutorial_on_the_cloud(checkout: Path, installed: Path, tmp_path: Path, own_history: None) -> None:
    document = REPOSITORY / "docs" / "tutorial" / "cloud" / "README.md"
    for name in ("cloud", "sweep"):
        ignored = shutil.ignore_patterns("ocicaliban.lock")
        shutil.copytree(REPOSITORY / "docs" / "tutorial" / name, tmp_path / name, ignore=ignored)
    folder, port = tmp_path / "sweep", free_port()
    settings = tmp_path / "cloud" / "registry.yml"
    settings.write_text(settings.read_text().replace("5055", str(port)))

    def here(text: str) -> str:
        text = text.replace("../../..[", f"{checkout}[")
        return text.replace("localhost:5055", f"localhost:{port}")

    library, registry, emulator, variables, dry, sweep, status, report, resume, edited, clean = map(
        here, _blocks(document)
    )
    assert variables == ". ../vertex.env\n"
    _bash(library, folder, installed)
    started = []
    try:
        started.append(_serve(registry, folder, installed, lambda: _listens(port)))
        told = tmp_path / "vertex.env"
        started.append(_serve(emulator, folder, installed, told.exists))
        _bash(dry, folder, installed)
        assert (tmp_path / "jobs.txt").read_text().count('"--rate"') == 30
        ran = _bash(variables + sweep, folder, installed)
        assert "rehearsal: submitted 30 of 30" in ran.stderr and ran.stdout == "rehearsal\n"
        while "30 succeeded" not in (shown := _bash(variables + status, folder, installed).stdout):
            assert "failed" not in shown
            time.sleep(2)
        best = re.findall(r"^\* (\d+) .* (0\.\d+) +9610 ", _bash(variables + report, folder, installed).stdout, re.M)
        assert len(best) == 1 and float(best[0][1]) > 0.95
        assert "all jobs have ended" in _bash(variables + resume, folder, installed).stderr
        longer = _bash(variables + edited, folder, installed)
        assert re.search(r"sent [0-9.]+ kB, [0-9.]+ MB were there", longer.stderr)
        assert "longer: 1 job to us-central1" in longer.stderr
        *_, project, real = re.findall(r"^```text\n(.*?)^```$", document.read_text(), re.M | re.S)
        assert project.startswith("export GOOGLE_CLOUD_PROJECT=")
        # Whether Google would take them cannot be tried; that they are the same jobs can.
        again = _bash(project + real.replace(" train.py", " --dry-run train.py"), folder, installed).stdout
        assert again.count('"gs://my-bucket/results/real/') == 30
    finally:
        for child in reversed(started):
            child.terminate()
            child.wait(30)
    assert not told.exists()
    _bash(_without_others(clean), folder, installed)
    assert {path.name for path in tmp_path.iterdir()} - {"state"} == {"cloud", "sweep"}


def test_the_site_has_no_link_that_leads_nowhere(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ocicaliban" in (tmp_path / "site" / "index.html").read_text()
    assert (tmp_path / "site" / "tutorial" / "sweep" / "index.html").is_file()
