"""The measures of work on this machine: packages and source that are mounted, the disk, the first line of a sweep."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ocicaliban.dependencies import host_settings
from tests.bench.dependency import SMALL, STACK
from tests.bench.measure import Measure, Sample
from tests.bench.workshop import CONFIG, IMAGE_TOOLS, SCRIPT, UV, Project, Workshop

HEAVY = ("tensorflow-cpu", "scikit-learn", "pyarrow", "pandas")
"""Packages of about the size of torch's CPU build, which not every machine can reach."""

FILES = 20_000


def lines(*words: str) -> str:
    """Return the words, each on a line."""
    return "".join(f"{word}\n" for word in words)


def large_source(project: Project) -> None:
    """Write 20,000 files of together 1 GB into a project."""
    block = os.urandom(1 << 20)
    for number in range(FILES - 20):
        project.write(f"data/{number // 200:03}/{number:05}", b"%05d" % number + block[:8_000])
    for number in range(20):
        with (project.folder / f"data/big{number:02}").open("wb") as big:
            for part in range(42):
                big.write(b"%08d" % (number * 100 + part) + block[8:])


# --- edits ---


@contextmanager
def _edited_large(shop: Workshop) -> Iterator[Sequence[Sample]]:
    files = {SCRIPT: "import model\nprint(model.RATE)\n", "model.py": "RATE = 0\n"}
    project, numbers = shop.project("edited-large", files), itertools.count(1)
    large_source(project)
    project.run()

    def edited() -> float:
        project.write("model.py", f"RATE = {next(numbers)}\n")
        return project.run()

    def unchanged() -> float:
        project.run()
        return project.run()

    edited(), unchanged()
    yield edited, unchanged


# --- packages ---


def _uv(shop: Workshop, environment: Path, *arguments: str) -> float:
    """Install into an environment of this machine with uv, and return the seconds that it took."""
    if not (environment / "bin" / "python").exists():
        shop.timed((*UV, "venv", "--quiet", "--python", sys.executable, str(environment)))
    argv = (*UV, "pip", "install", "--quiet", "--python", str(environment / "bin" / "python"), *arguments)
    return shop.timed(argv, env=host_settings.read_host_settings().uv_environ()).wall


@contextmanager
def _added(shop: Workshop) -> Iterator[Sequence[Sample]]:
    project = shop.project("added", {SCRIPT: "print('trained')\n", "requirements.txt": lines(*STACK, *SMALL)})
    project.run()
    project.write("requirements.txt", lines(*STACK))
    project.run()
    before = (project.folder / "ocicaliban.lock").read_text()
    podman = project.podman_run(project.ocicaliban("build", "--mode", "run", SCRIPT).out)
    shop.made(project.images())
    environment = shop.folder / "environment"
    _uv(shop, environment, *STACK, *SMALL)
    numbers = [0, 0]

    def ours() -> float:
        numbers[0] += 1
        for kept in ("packages", "folders"):  # nothing of an earlier run
            folder = Path(shop.environ["XDG_CACHE_HOME"]) / "ocicaliban" / "mounted" / kept
            for path in folder.iterdir():
                if path.name not in there[kept]:
                    shutil.rmtree(path)
        project.write("ocicaliban.lock", before)
        project.write("requirements.txt", lines(*STACK, SMALL[numbers[0] % len(SMALL)]))
        return project.run()

    def theirs() -> float:
        numbers[1] += 1
        small = SMALL[numbers[1] % len(SMALL)]
        shop.timed((*UV, "pip", "uninstall", "--quiet", "--python", str(environment / "bin" / "python"), small))
        return _uv(shop, environment, small) + shop.timed(podman).wall

    there: dict[str, set[str]] = {"packages": set(), "folders": set()}
    mounted = Path(shop.environ["XDG_CACHE_HOME"]) / "ocicaliban" / "mounted"
    shutil.rmtree(mounted)
    project.run()
    for kept, names in there.items():
        names.update(os.listdir(mounted / kept))
    yield ours, theirs


@contextmanager
def _first(shop: Workshop) -> Iterator[Sequence[Sample]]:
    project = shop.project("first", {SCRIPT: "print('trained')\n", "requirements.txt": lines(*HEAVY)})
    environment = shop.folder / "first-environment"
    _uv(shop, environment, *HEAVY)
    project.run()
    plain = shop.project("first-plain", {SCRIPT: "print('trained')\n"})
    podman = plain.podman_run(plain.ocicaliban("build", "--mode", "run", SCRIPT).out)
    shop.made(plain.images())

    def ours() -> float:
        shutil.rmtree(Path(shop.environ["XDG_CACHE_HOME"]) / "ocicaliban" / "mounted")
        project.write("ocicaliban.lock", shop.lock)
        os.sync()  # what is written now belongs to this run
        return project.run()

    def theirs() -> float:
        shutil.rmtree(environment)
        os.sync()
        return _uv(shop, environment, "--compile-bytecode", *HEAVY) + shop.timed(podman).wall

    yield ours, theirs


_IMPORT = "import time\nbegan = time.perf_counter()\nimport sklearn.svm\nprint(time.perf_counter() - began)\n"


@contextmanager
def _imported(shop: Workshop) -> Iterator[Sequence[Sample]]:
    project = shop.project("imported", {SCRIPT: _IMPORT, "requirements.txt": "scikit-learn\n"})
    podman = project.podman_run(project.ocicaliban("build", "--mode", "run", SCRIPT).out)
    shop.made(project.images())
    project.run()
    shop.timed(podman)
    yield (
        lambda: float(project.ocicaliban("run", SCRIPT).out.splitlines()[-1]),
        lambda: float(shop.timed(podman).out.splitlines()[-1]),
    )


# --- a sweep's first line ---

JOBS = 200


@contextmanager
def _first_line(shop: Workshop) -> Iterator[Sequence[Sample]]:
    script = "import model, pathlib\npathlib.Path('/out/began').touch()\n"
    files = {SCRIPT: script, "model.py": "RATE = 0\n", "sweep.json": json.dumps({"number": [*range(JOBS)]})}
    project, numbers = shop.project("first-line", files), itertools.count(1)
    project.run()
    results = shop.folder / "first-line-results"

    def edit() -> str:
        number = next(numbers)
        project.write("model.py", f"RATE = {number}\n")
        return f"bench-{number}"

    def sweep() -> float:
        group = edit()
        options = ("--nogpu", "--jobs", "2", "--group", group, "--out", str(results))
        argv = (*shop.command, "run", *options, "--experiment-config", "sweep.json", SCRIPT)

        def ready(_: subprocess.Popen[str]) -> bool:
            return any(results.glob(f"{group}/*/began"))

        seconds = shop.until(argv, ready, project.folder)
        project.workshop.timed((*shop.command, "stop", "--group", group), project.folder)
        return seconds

    def single() -> float:
        group = edit()
        return project.ocicaliban("run", "--group", group, "--out", str(results), SCRIPT).wall

    yield sweep, single


# --- the disk ---


def used(*places: Path) -> int:
    """Return the bytes on the disk of all files in some folders, each file once."""
    found: dict[tuple[int, int], int] = {}
    for place in places:
        for folder, _, names in os.walk(place):
            for path in (folder, *(os.path.join(folder, name) for name in names)):
                status = os.lstat(path)
                found[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(found.values())


@contextmanager
def _disk(shop: Workshop) -> Iterator[Sequence[Sample]]:
    files = {SCRIPT: "print('trained')\n", "requirements.txt": lines(*STACK)}
    cache, state = (Path(shop.environ[f"XDG_{name}_HOME"]) / "ocicaliban" for name in ("CACHE", "STATE"))
    project = shop.project("disk", files)
    large_source(project)
    before = used(cache, state)
    for number in range(len(SMALL)):
        project.write(SCRIPT, f"print({number})\n")
        project.run()
        project.write("requirements.txt", lines(*STACK, *SMALL[: number + 1]))
        project.run()
    environment = shop.folder / "disk-environment"
    _uv(shop, environment, "--compile-bytecode", "--link-mode", "copy", *STACK, *SMALL)
    yield lambda: float(used(cache, state) - before), lambda: float(used(project.folder, environment))


# --- the base ---


@contextmanager
def _base(shop: Workshop) -> Iterator[Sequence[Sample]]:
    shop.lock  # noqa: B018  (the base is there, and Debian's servers were asked once)
    numbers = itertools.count()
    tar = shop.folder / "root.tar"

    def ours() -> float:
        folder = shop.folder / f"base-{next(numbers)}"
        folder.mkdir()
        (folder / "ocicaliban.toml").write_text(f'{CONFIG}[modes]\nbase = ["base"]\n')
        return shop.timed((*shop.command, "build", "--nogpu", "--mode", "base", "--no-cache"), folder).wall

    def theirs() -> float:
        packages = "--include=python3,python-is-python3,ca-certificates"
        return shop.timed(("mmdebstrap", "--variant=minbase", packages, "bookworm", str(tar))).wall

    yield ours, theirs


MEASURES: tuple[Measure[Workshop], ...] = (
    Measure(
        name="edited-large",
        what="one file edited in a source of 20,000 files, 1 GB: `run`, against the same with nothing changed",
        limit=2.0,
        unit="times",
        runs=5,
        prepare=_edited_large,
        needs=IMAGE_TOOLS,
    ),
    Measure(
        name="added",
        what="a small dependency added to scikit-learn, pandas and matplotlib: `run`, against `uv pip install` of it "
        "on the host, into the same environment, and `podman run`",
        limit=2.0,
        unit="times",
        runs=5,
        prepare=_added,
        needs=IMAGE_TOOLS,
    ),
    Measure(
        name="first",
        what=f"first run with {', '.join(HEAVY)}, in uv's cache: `run`, against "
        "`uv pip install --compile-bytecode` on the host, and `podman run`",
        limit=1.5,
        unit="times",
        runs=3,
        prepare=_first,
        needs=IMAGE_TOOLS,
    ),
    Measure(
        name="imported",
        what="`import sklearn.svm` in a mounted environment, against an image, second run",
        limit=1.05,
        unit="times",
        runs=7,
        prepare=_imported,
        needs=IMAGE_TOOLS,
    ),
    Measure(
        name="first-line",
        what=f"a sweep of {JOBS} after an edit, until the first job writes, against a single run after an edit",
        limit=1.5,
        unit="times",
        runs=5,
        prepare=_first_line,
        needs=IMAGE_TOOLS,
    ),
    Measure(
        name="disk",
        what="disk used after ten edits of a source of 1 GB and ten added packages, against the files themselves",
        limit=1.3,
        unit="times",
        of="bytes",
        runs=1,
        prepare=_disk,
        needs=IMAGE_TOOLS,
    ),
    Measure(
        name="base",
        what="a base from Debian's packages, against `mmdebstrap` alone",
        limit=0.6,
        unit="times",
        runs=3,
        prepare=_base,
        needs=IMAGE_TOOLS,
    ),
)
