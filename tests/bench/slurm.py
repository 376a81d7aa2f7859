"""The measures of jobs at Slurm: an array at the tutorial's cluster, and what a node does, without a cluster."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ocicaliban.containers import cgroups, image_file
from ocicaliban.containers.image_file import FileForm, ImageFile
from ocicaliban.model.image import Image, Launch
from ocicaliban.targets.slurm import arrays
from ocicaliban.targets.slurm.arrays import Array, Task
from ocicaliban.targets.slurm.options import Options
from tests.bench.measure import Measure, Sample
from tests.bench.workshop import REPOSITORY, SCRIPT, Project, Workshop

CLUSTER = REPOSITORY / "docs" / "tutorial" / "slurm" / "cluster"
SLURM = ("sbatch", "slurmctld", "slurmd", "munged", "mksquashfs")
NODE = ("podman", "mksquashfs", "squashfuse")
JOBS = 500
ALLOWED = 0.5  # seconds that we may take beside 1.5 times a bare sbatch
TIMED = "import time; print(time.time(), flush=True)\n"


# --- an array of hundreds ---


@contextmanager
def _array(shop: Workshop) -> Iterator[Sequence[Sample]]:
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir=shop.folder))
    subprocess.run([CLUSTER, "start", folder / "cluster"], check=True, stdout=subprocess.DEVNULL)
    env = {"SLURM_CONF": str(folder / "cluster" / "slurm.conf"), "XDG_STATE_HOME": str(folder / "state")}
    try:
        project = shop.project("slurm-array", {SCRIPT: "print(1)\n", "sweep.json": json.dumps({"n": [*range(JOBS)]})})
        options = ("--target", "slurm", "--slurm-args", "--hold", "--experiment-config", "sweep.json", SCRIPT)
        argv = (*shop.command, "run", "--nogpu", *options)
        shop.timed(argv, project.folder, env)  # the image and its file
        shop.made(project.images())
        script = next((folder / "state").glob("ocicaliban/slurm/*/arrays/*/script"))

        def ours() -> float:
            took = shop.timed(argv, project.folder, env).wall - ALLOWED
            _cancel(shop, env)
            return max(took, 0.0)

        def theirs() -> float:
            took = shop.timed(("sbatch", "--parsable", str(script)), folder, env).wall
            _cancel(shop, env)
            return took

        yield ours, theirs
    finally:
        subprocess.run([CLUSTER, "stop", folder / "cluster"], check=True)


def _cancel(shop: Workshop, env: Mapping[str, str]) -> None:
    shop.timed(("scancel", f"--user={os.geteuid()}"), env=env)


# --- the first line of a task ---


def _image(shop: Workshop, name: str) -> tuple[Project, str, ImageFile]:
    """Return a project that prints the time, its image and the file of it."""
    project = shop.project(name, {SCRIPT: TIMED})
    image = project.ocicaliban("build", "--mode", "run", SCRIPT).out
    shop.made(project.images())
    made = image_file.make(shop.folder / "images", Image(id=image, digest="", key=""), FileForm())
    return project, image, made


def _task(folder: Path, made: ImageFile, runtime: str) -> Sample:
    """Return a sample: a task of an array as its node runs it, from its start to the first line of its job."""
    numbers = itertools.count(1)

    def sample() -> float:
        place = folder / f"task-{next(numbers)}"
        array = Array(
            key="", name="bench", options=Options(runtime=runtime, local=str(folder)), image=made,
            launch=Launch(command=("python3", "-c", TIMED)), marks=str(place / "marks"), log="",
        )  # fmt: skip
        task = Task(key="ab", attempt=1, args=(), out=str(place / "out"), folder=str(place))
        script = arrays.script(array, [task])
        ids = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_ARRAY_JOB_ID": "1", "SLURM_ARRAY_TASK_ID": "0"}
        began = time.time()
        subprocess.run(["bash", "-c", script], env={**os.environ, **ids}, check=True)
        # podman's log has the time and the stream before each line
        return float((place / "attempt-1.log").read_text().split()[-1]) - began

    return sample


def _printed(argv: Sequence[str]) -> float:
    began = time.time()
    return float(subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()[-1]) - began


@contextmanager
def _by_podman(shop: Workshop) -> Iterator[Sequence[Sample]]:
    _, image, made = _image(shop, "slurm-podman")
    folder = Path(tempfile.mkdtemp(prefix="node-", dir=shop.folder))
    plain = ("podman", "run", "--rm", "--init", "--pull=never", "--network", "host", image, "python3", "-c", TIMED)
    ours = _task(folder, made, "podman")
    ours()
    yield ours, lambda: _printed(cgroups.in_cgroup2(plain))


@contextmanager
def _by_charliecloud(shop: Workshop) -> Iterator[Sequence[Sample]]:
    _, _, made = _image(shop, "slurm-charliecloud")
    folder = Path(tempfile.mkdtemp(prefix="node-", dir=shop.folder))
    ours = _task(folder, made, "charliecloud")
    bare = ("ch-run", made.path, "--", "python3", "-c", TIMED)
    ours()
    yield (lambda: ours() - _printed(bare),)


# --- the image file ---


@contextmanager
def _squashed(shop: Workshop) -> Iterator[Sequence[Sample]]:
    digits = REPOSITORY / "docs" / "tutorial" / "digits"
    project = shop.project("slurm-digits", {path.name: path.read_text() for path in digits.glob("*.t*")})
    project.write(SCRIPT, (digits / "train.py").read_text())
    image = project.ocicaliban("build", "--mode", "run", SCRIPT).out
    shop.made(project.images())
    numbers = itertools.count(1)

    def in_folder(do: Callable[[Path], object]) -> Sample:
        def sample() -> float:
            folder = shop.folder / f"squashed-{next(numbers)}"
            folder.mkdir()
            began = time.perf_counter()
            do(folder)
            took = time.perf_counter() - began
            shutil.rmtree(folder)
            return took

        return sample

    bare = 'mksquashfs "$(podman image mount "$0")" "$1" -comp lz4 -noappend -no-progress -quiet'

    def by_mksquashfs(folder: Path) -> None:
        argv = ["podman", "unshare", "sh", "-c", bare, image, str(folder / "image.sqfs")]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)

    made = Image(id=image, digest="", key="")
    yield in_folder(lambda folder: image_file.make(folder, made, FileForm())), in_folder(by_mksquashfs)


MEASURES: tuple[Measure[Workshop], ...] = (
    Measure(
        name="slurm-array",
        what=f"{JOBS} jobs to Slurm as one array, less {ALLOWED} s, against a bare `sbatch` of that array",
        limit=1.5,
        unit="times",
        runs=5,
        prepare=_array,
        needs=SLURM,
    ),
    Measure(
        name="slurm-podman",
        what="the first line of a task on a node, from the image file, against a bare `podman run`",
        limit=1.3,
        unit="times",
        runs=9,
        prepare=_by_podman,
        needs=NODE,
    ),
    Measure(
        name="slurm-charliecloud",
        what="the first line of a task on a node, by charliecloud, less a bare `ch-run`",
        limit=0.1,
        unit="s",
        runs=9,
        prepare=_by_charliecloud,
        needs=(*NODE, "ch-run"),
    ),
    Measure(
        name="slurm-image",
        what="the image file of the tutorial's project, against `mksquashfs` alone",
        limit=1.3,
        unit="times",
        runs=3,
        prepare=_squashed,
        needs=NODE,
    ),
)
