"""Which Python the bases have that ocicaliban may choose, by their names; read from the recipe's data."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from attrs import field, frozen

from ocicaliban.formats.toml import read_toml, structure
from ocicaliban.model.image import Base

IMAGES = "docker.io/library/python"
"""The repository of the default base images."""

_TAG = re.compile(rf"{re.escape(IMAGES)}:(3\.\d+)(?:\.(\d+))?(?:-[\w.-]+)?")

_LATER = 30
"""How many versions of a series may have been published since the table was written."""


@frozen(kw_only=True)
class Series:
    """A series of Python, for example 3.12.

    `newest` is the last number of its newest version. The others name a release of Debian each, and hold the first and
    the last version, if there will be no more, for which an image with this Debian exists.
    """

    newest: int
    bookworm: tuple[int, ...] = ()
    bullseye: tuple[int, ...] = ()
    buster: tuple[int, ...] = ()

    def debian(self, micro: int) -> str:
        """Return the newest Debian with an image of a version, "" if there is no image."""
        return next((name for name in ("bookworm", "bullseye", "buster") if _spans(getattr(self, name), micro)), "")


@frozen(kw_only=True)
class PythonTable:
    """The contents of the recipe's pythons.toml. `date` says when it was written."""

    date: str
    images: dict[str, Series] = field(factory=dict)
    suites: dict[str, str] = field(factory=dict)

    def python_of(self, base: Base) -> str:
        """Return the version of the Python that a base has by its name, "" if the name does not tell."""
        if base.kind == "bootstrap":
            return self.suites.get(base.reference.removeprefix("debian:"), "")
        match = _TAG.fullmatch(base.reference) if base.kind == "registry" and not base.digest else None
        if match is None or (not match[2] and match[1] not in self.images):
            return ""
        return f"{match[1]}.{match[2] or self.images[match[1]].newest}"

    def may_have(self, base: Base, fits: Callable[[str], bool]) -> bool:
        """Whether an image may have a Python that `fits`: its tag names a series, which has such a version."""
        match = _TAG.fullmatch(base.reference) if base.kind == "registry" else None
        if match is None or match[2] or match[1] not in self.images:
            return False
        return any(fits(f"{match[1]}.{micro}") for micro in range(self.images[match[1]].newest + _LATER))

    def image_tags(self) -> Iterator[tuple[str, str]]:
        """Yield the tags of the default images, and the Python in each, the newest Python first.

        The tag of a series has its newest version.
        """
        for name, series in self.images.items():
            yield f"{name}-slim-{series.debian(series.newest)}", f"{name}.{series.newest}"
            for micro in range(series.newest, -1, -1):
                if debian := series.debian(micro):
                    yield f"{name}.{micro}-slim-{debian}", f"{name}.{micro}"

    def newer_tags(self, versions: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Yield the tags of those versions that were published after the table was written."""
        for version in versions:
            name, _, micro = version.rpartition(".")
            series = self.images.get(name)
            if series and int(micro) > series.newest and (debian := series.debian(int(micro))):
                yield f"{version}-slim-{debian}", version


def load_table(path: Path) -> PythonTable:
    """Return the table in a file. Raises UsageError with file, line and key for a mistake in it."""
    text, raw = read_toml(path)
    table: PythonTable = structure(raw, PythonTable, path=path, text=text)
    return table


def _spans(span: tuple[int, ...], micro: int) -> bool:
    return bool(span) and span[0] <= micro <= (span[1] if span[1:] else micro)
