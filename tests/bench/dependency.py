"""Measure what it takes to add a dependency, against `pip install -r` in a Containerfile."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ocicaliban.dependencies import host_settings
from tests.bench.measure import Measure, Sample
from tests.bench.workshop import IMAGE_TOOLS, SCRIPT, UV, Containerfile, Project, Workshop

STACK = ("scikit-learn", "pandas", "matplotlib")
SMALL = ("idna", "toolz", "humanize", "tabulate", "click", "pluggy", "colorama", "iniconfig", "certifi", "wrapt")
"""Small packages that the stack does not need; each run adds another one."""

# The base has no pip, so pip is copied in, to where an image of Python would have it.
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

# Some indexes forbid pip to cache downloads; a folder of wheels is as fast as the best cache.
_PIP_DOWNLOAD = "python -m pip download --quiet --dest /dev/bench-wheels -r requirements.txt"
_PIP_INSTALL = "python -m pip install --quiet --no-index --find-links /dev/bench-wheels -r requirements.txt"


def _pip_flags(folder: Path) -> list[str]:
    """Return the flags of buildah that give pip in a build its wheels, and the host's indexes and certificates."""
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


# Without the added package the run fails, and there is no sample.
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

    # Both sides fetch each package once. Then both have an image of the stack alone.
    mine = shop.project("dependency", files)
    mine.run()
    everything = mine.images()
    mine.write("requirements.txt", _requirements())
    mine.write("added", "")
    mine.run()
    shop.remove_images(set(everything) - set(mine.images()))
    warm_lock, warm = (mine.folder / "ocicaliban.lock").read_text(), set(mine.images())

    theirs = shop.project("dependency-plain", files)
    uv = (*UV, "pip", "install", "--quiet", "--python", sys.executable, "--target", str(theirs.folder / "pip"))
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


MEASURE: Measure[Workshop] = Measure(
    name="dependency",
    what="a small dependency added to scikit-learn, pandas and matplotlib: `run`, against `pip install -r`",
    limit=0.05,
    unit="times",
    runs=3,
    prepare=_dependency,
    needs=IMAGE_TOOLS,
)
