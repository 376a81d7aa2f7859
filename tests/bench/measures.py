"""What is measured: each measure says what, how much it may be, and how a sample of it is taken."""

from __future__ import annotations

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

from ocicaliban.dependencies import host_settings
from ocicaliban.system import process
from tests.bench import cloud
from tests.bench.measure import Measure, Sample
from tests.bench.workshop import REPOSITORY, SCRIPT, BenchError, Containerfile, Project, Workshop

Prepare = Callable[[Workshop], AbstractContextManager[Sequence[Sample]]]
IMAGE_TOOLS = ("podman", "buildah", "mmdebstrap")


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
    time.sleep(2.5)  # until then what was read is too young to be trusted
    project.ocicaliban("shell", "--", "true")
    podman = process.in_cgroup2((*BARE, image, "true"))
    shop.timed(podman)
    yield lambda: project.ocicaliban("shell", "--", "true").wall, lambda: shop.timed(podman).wall


def _edit(project: Project, number: int) -> None:
    project.write("model.py", f"RATE = {number}\n")


@contextmanager
def _edited(shop: Workshop) -> Iterator[Sequence[Sample]]:
    # What a project may hold: 200 files, 5.6 MB.
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
    # In one namespace for all, as podman's service is.
    podmans = f"seq 0 {JOBS - 1} | xargs -P {cores} -I @ {shlex.join((*BARE, image, './nothing', '--number', '@'))}"
    plain = process.in_cgroup2(("sh", "-c", podmans))
    yield lambda: project.ocicaliban(*ours).wall, lambda: shop.timed(plain).wall


# --- dependencies ---

STACK = ("scikit-learn", "pandas", "matplotlib")
SMALL = ("idna", "toolz", "humanize", "tabulate", "click", "pluggy", "colorama", "iniconfig", "certifi", "wrapt")
"""Small packages that the stack does not bring by itself; each run adds another one."""

# The base has no pip; it comes in as files, as it would be there in an image of Python's.
_PIP_CONTAINERFILE = f"""\
{{base}}
COPY pip /opt/pip
RUN python3 -m venv --without-pip /opt/venv && cp -r /opt/pip/. /opt/venv/lib/python3*/site-packages
ENV PATH="/opt/venv/bin:$PATH" PYTHONPATH=/usr/app PIP_CONFIG_FILE=/dev/bench/pip.conf
WORKDIR /usr/app
COPY requirements.txt .
RUN {{install}}
COPY . .
ENTRYPOINT ["python3", "{SCRIPT}"]
"""

# Some indexes forbid pip to cache what it downloads; a folder of the wheels is as warm as a cache can be.
_PIP_DOWNLOAD = "python -m pip download --quiet --dest /dev/bench-wheels -r requirements.txt"
_PIP_INSTALL = "python -m pip install --quiet --no-index --find-links /dev/bench-wheels -r requirements.txt"


def _pip_flags(folder: Path) -> list[str]:
    """buildah's flags that give pip in a build its wheels, and the host's indexes and certificates."""
    inside = folder / "settings"
    wheels = folder / "wheels"
    for made in (inside, wheels):
        made.mkdir(parents=True)
    settings = host_settings.read_host_settings()
    flags = ["--volume", f"{inside}:/dev/bench:ro", "--volume", f"{wheels}:/dev/bench-wheels"]
    lines = ["[global]", "disable-pip-version-check = true", "root-user-action = ignore"]
    if settings.ca_bundle:
        (inside / "ca.crt").write_bytes(settings.ca_bundle.read_bytes())
        lines.append("cert = /dev/bench/ca.crt")
    within, places = settings.in_container()
    for local, place in places.items():
        flags += ["--volume", f"{local}:{place}:ro"]
    for key, urls in (
        ("index-url", (within.index_url,)),
        ("extra-index-url", [url.rpartition("=")[2] for url in within.extra_index_urls]),
        ("find-links", within.find_links),
    ):
        if found := [f"file://{url}" if url.startswith("/") else url for url in urls if url]:
            lines.append(f"{key} = {' '.join(found)}")
    (inside / "pip.conf").write_text("\n".join(lines) + "\n")
    return flags


# A run fails, and is no sample, where what was added is not there.
_ADDED_SCRIPT = """\
from importlib.metadata import version
from pathlib import Path
import matplotlib, pandas, sklearn
print([version(name) for name in Path("added").read_text().split()])
"""


def _requirements(*more: str) -> str:
    return "\n".join((*STACK, *more)) + "\n"


@contextmanager
def _dependency(shop: Workshop) -> Iterator[Sequence[Sample]]:
    files = {SCRIPT: _ADDED_SCRIPT, "requirements.txt": _requirements(*SMALL), "added": " ".join(SMALL)}

    # Both sides fetch every package once, then both have the warm stack, and that alone, as an image.
    mine = shop.project("dependency", files)
    mine.run()
    everything = mine.images()
    mine.write("requirements.txt", _requirements())
    mine.write("added", "")
    mine.run()
    shop.remove_images(set(everything) - set(mine.images()))
    warm_lock, warm = (mine.folder / "ocicaliban.lock").read_text(), set(mine.images())

    theirs = shop.project("dependency-plain", files)
    uv = (*_uv(), "pip", "install", "--quiet", "--python", sys.executable, "--target", str(theirs.folder / "pip"))
    shop.timed((*uv, "pip"), env=host_settings.read_host_settings().uv_environ())
    base = next(line for line in theirs.containerfile().splitlines() if line.startswith("FROM "))
    flags = _pip_flags(shop.folder / "pip")
    warming = _PIP_CONTAINERFILE.format(base=base, install=f"{_PIP_DOWNLOAD} && {_PIP_INSTALL}")
    first = Containerfile(theirs, warming, flags, containers=True)
    first.run()
    shop.remove_images([first.tag])
    theirs.write("requirements.txt", _requirements())
    theirs.write("added", "")
    installing = _PIP_CONTAINERFILE.format(base=base, install=_PIP_INSTALL)
    plain = Containerfile(theirs, installing, flags, containers=True)
    plain.run()

    counts = [0, 0]

    def added(side: int, project: Project) -> None:
        small = SMALL[counts[side] % len(SMALL)]
        counts[side] += 1
        project.write("requirements.txt", _requirements(small))
        project.write("added", small)

    def ours() -> float:
        mine.write("ocicaliban.lock", warm_lock)
        added(0, mine)
        seconds = mine.run()
        shop.remove_images(set(mine.images()) - warm)
        return seconds

    def other() -> float:
        added(1, theirs)
        seconds = plain.run()
        shop.remove_images([plain.tag])
        return seconds

    yield ours, other


# --- notebooks ---


def _answers(port: int, path: str) -> bool:
    """Whether a server answers there; where none does, after a short while."""
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
    theirs = process.in_cgroup2((*podman, image, *jupyter))

    def ours() -> float:
        return shop.until(mine, lambda child: bool(child.stdout and child.stdout.readline()), project.folder)

    def plain() -> float:
        return shop.until(theirs, lambda _: _answers(port, "/api/status?token=bench"), project.folder)

    ours(), plain()
    yield ours, plain


# --- starting up ---

COMPLETION = {"_OCICALIBAN_COMPLETE": "complete_bash", "COMP_WORDS": "ocicaliban pl", "COMP_CWORD": "1"}


def _uv() -> tuple[str, ...]:
    return (sys.executable, "-m", "uv")


def _vertex(shop: Workshop) -> tuple[str, ...]:
    """ocicaliban in an environment with google-cloud-aiplatform (200 MB), which is kept in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "ocicaliban-bench" / f"vertex-{sys.version_info.major}.{sys.version_info.minor}"
    env = host_settings.read_host_settings().uv_environ()
    python = folder / "bin" / "python"
    install = (*_uv(), "pip", "install", "--quiet", "--python", str(python))
    if not python.exists():
        shop.timed((*_uv(), "venv", "--quiet", "--python", sys.executable, str(folder)))
    shop.timed((*install, "google-cloud-aiplatform"), env=env)
    shop.timed((*install, "--reinstall-package", "ocicaliban", str(REPOSITORY)), env=env)
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

        sample()  # writes byte code
        yield (sample,)

    return prepare


# --- planning ---


@contextmanager
def _planning(shop: Workshop) -> Iterator[Sequence[Sample]]:
    project = shop.project("planning", {SCRIPT: "print('trained')\n"})
    block = os.urandom(1 << 20)
    for number in range(19_980):
        project.write(f"data/{number // 200:03}/{number:05}", b"%05d" % number + block[:8_000])
    for number in range(20):
        with (project.folder / f"data/big{number:02}").open("wb") as big:
            for part in range(42):
                big.write(b"%08d" % (number * 100 + part) + block[8:])

    def sample() -> float:
        return project.ocicaliban("plan", "run", SCRIPT).wall

    sample()
    time.sleep(2.5)  # until then the files are too young for their digests to be remembered
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


# What anybody would write, and what Caliban's own does but for keeping all of them in a list.
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
        limit=2.5,
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
        limit=0.6,
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
    Measure(
        name="dependency",
        what="a small dependency added to scikit-learn, pandas and matplotlib: `run`, against `pip install -r`",
        limit=0.5,
        unit="times",
        runs=3,
        prepare=_dependency,
        needs=IMAGE_TOOLS,
    ),
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
)
