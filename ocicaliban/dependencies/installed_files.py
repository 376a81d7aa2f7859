"""Tell which files of an environment belong to which of the packages that were installed into it (PyPA: RECORD)."""

from __future__ import annotations

import csv
import hashlib
import os
import posixpath
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from attrs import frozen

from ocicaliban.dependencies.locked_requirements import normalized

_RECORD = ".dist-info/RECORD"
_CACHE = "__pycache__"


@frozen(kw_only=True)
class InstalledFiles:
    """The files of packages, by the normalized name of each, relative to the environment; links are among them.

    `rest` are the files of no package. In place of a file of those `replaced`, there is one of another package.
    """

    packages: Mapping[str, tuple[str, ...]]
    rest: tuple[str, ...]
    replaced: frozenset[str]


def of_packages(root: Path, sites: Iterable[str]) -> InstalledFiles:
    """Return what belongs to whom in the folder `root`, where an installer has just put packages.

    `sites` are the folders for modules, relative to it. Byte code belongs to the package of its source.
    """
    there = frozenset(files_below(str(root)))
    recorded = {
        package: tuple(_recorded(root, path, site))
        for site in sites
        for path in sorted(there)
        if path.endswith(_RECORD) and posixpath.dirname(posixpath.dirname(path)) == site
        for package in [_package(path)]
    }
    owners = Counter(path for files in recorded.values() for path, _ in files)
    replaced = {
        package
        for package, files in recorded.items()
        for path, digest in files
        if owners[path] > 1 and path in there and digest != _digest(root / path)
    }
    packages = {package: {path for path, _ in files} & there for package, files in recorded.items()}
    compiled: dict[str, list[str]] = {}
    for path in there:
        if source := _source(path):
            compiled.setdefault(source, []).append(path)
    for files in packages.values():
        files |= {code for source in compiled.keys() & files for code in compiled[source]}
    return InstalledFiles(
        packages={package: tuple(sorted(files)) for package, files in packages.items()},
        rest=tuple(sorted(there.difference(*packages.values()))),
        replaced=frozenset(replaced),
    )


def files_below(root: str, place: str = "") -> Iterator[str]:
    """Yield the path of each file and link in a folder, relative to `root`; `place` is where to begin."""
    for item in os.scandir(os.path.join(root, place)):
        path = os.path.join(place, item.name)
        if item.is_dir(follow_symlinks=False):
            yield from files_below(root, path)
        else:
            yield path


def _package(record: str) -> str:
    """Return the name of the package whose RECORD this is."""
    return normalized(posixpath.basename(record.removesuffix(_RECORD)).rpartition("-")[0])


def _recorded(root: Path, record: str, site: str) -> Iterator[tuple[str, str]]:
    """Yield the path of each file in a RECORD, relative to the environment, and its digest there ("" without one)."""
    with (root / record).open(newline="") as file:
        for row in csv.reader(file):
            if row:
                yield posixpath.normpath(posixpath.join(site, row[0])), row[1] if len(row) > 1 else ""


def _digest(path: Path) -> str:
    """Return the digest of a file as a RECORD has it."""
    digest = hashlib.sha256(path.read_bytes()).digest()
    return f"sha256={urlsafe_b64encode(digest).decode().rstrip('=')}"


def _source(path: str) -> str:
    """Return the module whose byte code a file is, "" if it is none: `b.py` for `__pycache__/b.cpython-311.pyc`."""
    folder, name = posixpath.split(path)
    if posixpath.basename(folder) != _CACHE or not name.endswith(".pyc"):
        return ""
    return posixpath.join(posixpath.dirname(folder), f"{name.removesuffix('.pyc').rpartition('.')[0]}.py")
