"""The measures: each says what it measures, its limit, and how to take a sample."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from ocicaliban.containers import cgroups
from ocicaliban.dependencies import host_settings
from tests.bench import cloud, dependency, local, slurm
from tests.bench.measure import Measure, Sample
from tests.bench.workshop import IMAGE_TOOLS, SCRIPT, UV, BenchError, Containerfile, Project, Workshop

Prepare = Callable[[Workshop], AbstractContextManager[Sequence[Sample]]]


# --- run ---


@contextmanager
def _unchanged(shop: Workshop) -> Iterator[Sequence[Sample]]:
    project = shop.project("unchanged", {SCRIPT: "print('trained')\n"})
    image = project.ocicaliban("build", SCRIPT).out
    project.run()
    podman = project.podman_run(image)
    shop.timed(podman)
    yield lambda: project.ocicaliban("run", SCRIPT).wall, lambda: shop.timed(podman).wall


# Without these options podman takes longer.
BARE = ("podman", "run", "--rm", "--init", "--pull=never", "--network", "host")


@contextmanager
def _shell(shop: Workshop) -> Iterator[Sequence[Sample]]:
    project = shop.project("shell", {SCRIPT: "print('trained')\n"})
    image = project.ocicaliban("build", "--mode", "shell").out
    shop.made(project.images("shell"))
    project.ocicaliban("shell", "--", "true")
    time.sleep(2.5)  # ocicaliban does not trust files that are younger than two seconds
    project.ocicaliban("shell", "--", "true")
    podman = cgroups.in_cgroup2((*BARE, image, "true"))
    shop.timed(podman)
    yield lambda: project.ocicaliban("shell", "--", "true").wall, lambda: shop.timed(podman).wall


def _edit(project: Project, number: int) -> None:
    project.write("model.py", f"RATE = {number}\n")


@contextmanager
def _edited(shop: Workshop) -> Iterator[Sequence[Sample]]:
    # A project of ordinary size: 200 files, 5.6 MB.
    files = {f"package/part{number:03}.py": b"#" * 28_000 + b"\n" for number in range(200)}
    script = "import model\nprint('trained', model.RATE)\n"
    numbers = iter(range(1, sys.maxsize))

    def edited(project: Project, run: Callable[[], float]) -> float:
        _edit(project, next(numbers))
        return run()

    mine = shop.project("edited", {**files, SCRIPT: script, "model.py": "RATE = 0\n"})
    mine.run()
    theirs = shop.project("edited-plain", {**files, SCRIPT: script, "model.py": "RATE = 0\n"})
    plain = Containerfile(theirs, theirs.containerfile())
    plain.run()
    yield partial(edited, mine, mine.run), partial(edited, theirs, plain.run)


# --- many jobs ---

JOBS = 200


@contextmanager
def _sweep(shop: Workshop) -> Iterator[Sequence[Sample]]:
    cores = str(len(os.sched_getaffinity(0)))
    files = {SCRIPT: "", "nothing": "#!/bin/sh\n", "sweep.json": json.dumps({"number": [*range(JOBS)]})}
    project = shop.project("sweep", files)
    (project.folder / "nothing").chmod(0o755)
    project.run()
    image = project.ocicaliban("build", "--mode", "run", SCRIPT).out
    ours = ("run", "--experiment-config", "sweep.json", "--jobs", cores, "--group", "bench", "nothing")
    # One namespace for all of them, as podman's service has.
    podmans = f"seq 0 {JOBS - 1} | xargs -P {cores} -I @ {shlex.join((*BARE, image, './nothing', '--number', '@'))}"
    plain = cgroups.in_cgroup2(("sh", "-c", podmans))
    yield lambda: project.ocicaliban(*ours).wall, lambda: shop.timed(plain).wall


# --- notebooks ---


def _answers(port: int, path: str) -> bool:
    """Return whether a server answers; if none does, wait a moment first."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        time.sleep(0.02)
        return False
    finally:
        connection.close()


@contextmanager
def _notebook(shop: Workshop) -> Iterator[Sequence[Sample]]:
    project = shop.project("notebook", {SCRIPT: ""})
    image = project.ocicaliban("build", "--mode", "notebook").out
    shop.made(project.images("notebook"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mine = (*shop.command, "notebook", "--nogpu", "--bare", "--port", str(port))
    jupyter = ("jupyter-lab", "--allow-root", "--no-browser", f"--port={port}", "--IdentityProvider.token=bench")
    podman = ("podman", "run", "--rm", "--init", "--network", "host", "--volume", f"{project.folder}:/usr/app")
    theirs = cgroups.in_cgroup2((*podman, image, *jupyter))

    def ours() -> float:
        return shop.until(mine, lambda child: bool(child.stdout and child.stdout.readline()), project.folder)

    def plain() -> float:
        return shop.until(theirs, lambda _: _answers(port, "/api/status?token=bench"), project.folder)

    ours(), plain()
    yield ours, plain


# --- starting up ---

COMPLETION = {"_OCICALIBAN_COMPLETE": "complete_bash", "COMP_WORDS": "ocicaliban pl", "COMP_CWORD": "1"}


def _vertex(shop: Workshop) -> tuple[str, ...]:
    """Install ocicaliban beside google-cloud-aiplatform (200 MB), in the user's cache, and return its command."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    where = hashlib.sha256(bytes(shop.checkout)).hexdigest()[:12]
    folder = cache / "ocicaliban-bench" / f"vertex-{version}-{where}"
    env = host_settings.read_host_settings().uv_environ()
    python = folder / "bin" / "python"
    install = (*UV, "pip", "install", "--quiet", "--python", str(python))
    if not python.exists():
        shop.timed((*UV, "venv", "--quiet", "--python", sys.executable, str(folder)))
    shop.timed((*install, "google-cloud-aiplatform"), env=env)
    shop.timed((*install, "--reinstall-package", "ocicaliban", str(shop.checkout)), env=env)
    return (str(folder / "bin" / "ocicaliban"),)


def _starting(arguments: tuple[str, ...], env: dict[str, str], expected: str, vertex: bool) -> Prepare:
    @contextmanager
    def prepare(shop: Workshop) -> Iterator[Sequence[Sample]]:
        argv = (*(_vertex(shop) if vertex else shop.command), *arguments)

        def sample() -> float:
            took = shop.timed(argv, env=env)
            if expected not in took.out:
                raise BenchError(f"{' '.join(argv)} printed {took.out!r} instead of '{expected}'")
            return took.cpu

        sample()  # writes the byte code
        yield (sample,)

    return prepare


# --- planning ---


@contextmanager
def _planning(shop: Workshop) -> Iterator[Sequence[Sample]]:
    project = shop.project("planning", {SCRIPT: "print('trained')\n"})
    local.large_source(project)

    def sample() -> float:
        return project.ocicaliban("plan", "run", SCRIPT).wall

    sample()
    time.sleep(2.5)  # ocicaliban does not remember the digests of files younger than two seconds
    sample()
    yield (sample,)


def _start_measures() -> Iterator[Measure[Workshop]]:
    for vertex in (False, True):
        suffix, with_vertex = ("-vertex", ", with google-cloud-aiplatform installed") if vertex else ("", "")
        for name, what, arguments, env, expected in (
            ("version", "`ocicaliban --version`", ("--version",), {}, "ocicaliban "),
            ("completion", "completing `ocicaliban pl` in the shell", (), COMPLETION, "plan"),
        ):
            yield Measure(
                name=name + suffix,
                what=what + with_vertex,
                limit=0.25,
                unit="s CPU",
                runs=11,
                prepare=_starting(arguments, env, expected, vertex),
            )


# The obvious loop; Caliban's own does the same, but keeps all combinations in a list.
_LOOP = """\
import itertools, json
sweep = json.load(open("sweep.json"))
between = "["
for values in itertools.product(*sweep.values()):
    print(between, json.dumps(dict(zip(sweep, values))), sep="", end="")
    between = ", "
print("]")
"""


@contextmanager
def _expand(shop: Workshop) -> Iterator[Sequence[Sample]]:
    folder = shop.folder / "expand"
    folder.mkdir()
    sweep = {key: [*range(10)] for key in ("epochs", "batch_size", "depth", "width", "seed")}
    (folder / "sweep.json").write_text(json.dumps(sweep))
    (folder / "loop.py").write_text(_LOOP)
    ours, theirs = (*shop.command, "expand", "sweep.json"), (sys.executable, "loop.py")
    if shop.timed(ours, folder).out != shop.timed(theirs, folder).out:
        raise BenchError("`expand` and the loop print different jobs")
    yield lambda: shop.timed(ours, folder).wall, lambda: shop.timed(theirs, folder).wall


MEASURES: tuple[Measure[Workshop], ...] = (
    Measure(
        name="unchanged",
        what="nothing changed: `run`, against a bare `podman run`",
        limit=1.35,
        unit="times",
        runs=21,
        prepare=_unchanged,
        needs=IMAGE_TOOLS,
    ),
    Measure(
        name="shell",
        what="nothing changed: `shell -- true`, against a bare `podman run`",
        limit=2.5,
        unit="times",
        runs=21,
        prepare=_shell,
        needs=IMAGE_TOOLS,
    ),
    Measure(
        name="edited",
        what="one file edited: `run`, against `buildah build --layers` and `podman run`",
        limit=0.45,
        unit="times",
        runs=11,
        prepare=_edited,
        needs=IMAGE_TOOLS,
    ),
    Measure(
        name="sweep",
        what="a sweep of 200 jobs that do nothing: `run`, against `xargs -P` with a bare `podman run`, one per core",
        limit=1.1,
        unit="times",
        runs=5,
        prepare=_sweep,
        needs=IMAGE_TOOLS,
    ),
    dependency.MEASURE,
    *local.MEASURES,
    Measure(
        name="notebook",
        what="`notebook` until it serves, against `jupyter lab` in the same image by `podman run`",
        limit=1.2,
        unit="times",
        runs=11,
        prepare=_notebook,
        needs=IMAGE_TOOLS,
    ),
    *_start_measures(),
    Measure(
        name="expand",
        what="100,000 combinations: `expand`, against a loop over itertools.product and json.dumps",
        limit=1,
        unit="times",
        runs=11,
        prepare=_expand,
    ),
    Measure(
        name="planning",
        what="`plan` of 20,000 files (1 GB) that did not change",
        limit=0.5,
        unit="s",
        runs=7,
        prepare=_planning,
        needs=IMAGE_TOOLS,
    ),
    *cloud.MEASURES,
    *slurm.MEASURES,
)
