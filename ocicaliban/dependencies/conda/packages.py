"""Locked conda packages: how `ocicaliban.lock` holds them, and how they are divided into layers; pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from ocicaliban.dependencies.locked_requirements import normalized
from ocicaliban.dependencies.size_tiers import TIERS
from ocicaliban.errors import UsageError

PYTHON = "python"
"""The package that brings Python."""

RUNTIME = "python"
"""The label of the layer with Python and what it needs to start."""

_ARCHIVE = re.compile(r"(?P<name>[^/]+)-(?P<version>[^-/]+)-(?P<build>[^-/]+?)(?:\.conda|\.tar\.bz2)")
_MODULE_BUILD = re.compile(r"(?:^|_)py(?:hd?\w*|\d*)(?:_|$)|^py\d+")

_ON_PYPI = {
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
    "py-opencv": "opencv-python",
    "py-xgboost": "xgboost",
    "pytables": "tables",
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "pytorch-gpu": "torch",
    "tensorflow-base": "tensorflow",
}
"""The names on PyPI of packages that have another one with conda."""


@frozen(kw_only=True)
class CondaPackage:
    """A package that is locked.

    `size` is the bytes of its archive. `module` says that it holds Python modules, and `runtime` that Python needs it
    to start. `md5` is only known of packages whose sha256 is not.
    """

    url: str
    sha256: str = ""
    md5: str = ""
    size: int = 0
    module: bool = False
    runtime: bool = False

    @property
    def _parts(self) -> Mapping[str, str]:
        match = _ARCHIVE.fullmatch(posixpath.basename(self.url))
        if match is None:
            raise UsageError(f"{self.url} is not the address of a conda package", "it ends in NAME-VERSION-BUILD.conda")
        return match.groupdict()

    @property
    def name(self) -> str:
        """The package's name."""
        return self._parts["name"]

    @property
    def build(self) -> str:
        """The package's build."""
        return self._parts["build"]

    @property
    def version(self) -> str:
        """The package's version."""
        return self._parts["version"]

    @property
    def subdir(self) -> str:
        """The platform that it is for, or "noarch"."""
        return posixpath.basename(posixpath.dirname(self.url))

    @property
    def file_stem(self) -> str:
        """Its file's name without the suffix, which its record in conda-meta has too."""
        return posixpath.basename(self.url).removesuffix(".conda").removesuffix(".tar.bz2")

    @property
    def looks_like_module(self) -> bool:
        """Whether its file's name says that it holds Python modules, where nothing else tells."""
        return bool(_MODULE_BUILD.search(self._parts["build"]))


def with_runtime(packages: Iterable[CondaPackage], depends: Mapping[str, Sequence[str]]) -> tuple[CondaPackage, ...]:
    """Return the packages, with those marked that Python needs to start; `depends` are the names that each needs."""
    from attrs import evolve

    needed: set[str] = set()
    waiting = [PYTHON]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += depends.get(name, ())
    found = sorted(packages, key=lambda package: package.name)
    if not any(package.name == PYTHON for package in found):
        return tuple(found)
    return tuple(evolve(package, runtime=package.name in needed) for package in found)


def python_version(packages: Iterable[CondaPackage]) -> str:
    """Return the version of the Python among packages, "" if there is none."""
    return next((package.version for package in packages if package.name == PYTHON), "")


def provided_modules(packages: Iterable[CondaPackage]) -> tuple[str, ...]:
    """Return what pip would call the packages with Python modules, as NAME==VERSION."""
    return tuple(
        f"{normalized(_ON_PYPI.get(package.name, package.name))}=={package.version}"
        for package in packages
        if package.module and package.name != PYTHON
    )


# --- the text in the lock ---


def to_text(packages: Iterable[CondaPackage]) -> str:
    """Return packages as a lock holds them: two lines for each, its address and what is known of it."""
    lines: list[str] = []
    for package in packages:
        marks = [mark for mark, has in (("module", package.module), ("runtime", package.runtime)) if has]
        lines += [package.url, " ".join([f"    sha256:{package.sha256}", str(package.size), *marks])]
    return "".join(f"{line}\n" for line in lines)


def from_text(text: str) -> tuple[CondaPackage, ...]:
    """Return the packages in a lock's text. Raises UsageError if the text is damaged."""
    lines = text.splitlines()
    packages: list[CondaPackage] = []
    for url, about in zip(lines[::2], lines[1::2], strict=False):
        match = re.fullmatch(r"\s+sha256:([0-9a-f]{64}) (\d+)((?: \w+)*)", about)
        if match is None:
            raise UsageError(
                f"ocicaliban.lock: '{about.strip()}' does not describe the package {url}",
                "remove [conda] from the lock",
            )
        marks = match[3].split()
        packages.append(
            CondaPackage(
                url=url, sha256=match[1], size=int(match[2]), module="module" in marks, runtime="runtime" in marks
            )
        )
    return tuple(packages)


# --- layers ---


def divided(packages: Iterable[CondaPackage]) -> tuple[tuple[str, tuple[CondaPackage, ...]], ...]:
    """Return packages as groups (label, packages): Python and what it needs, then the others, the heaviest first.

    Python comes first, because it compiles the modules of the others. Empty groups are left out.
    """
    groups: dict[str, list[CondaPackage]] = {}
    for package in packages:
        tier = next(label for label, least in TIERS if package.size >= least)
        groups.setdefault(RUNTIME if package.runtime else tier, []).append(package)
    labels = (RUNTIME, *(label for label, _ in TIERS))
    return tuple((label, tuple(groups[label])) for label in labels if label in groups)
