"""Make the files of locked conda packages, the same on every machine, as a tree that becomes a layer."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from ocicaliban.dependencies.conda import calls
from ocicaliban.dependencies.conda.packages import CondaPackage
from ocicaliban.model.image import Tree, TreeEntry
from ocicaliban.project import tree_entries

PREFIX = "/opt/conda"
"""The folder of the environment in an image."""

_FORMAT = "conda-1"
"""Part of every tree's digest: raise it when the same packages would give other files."""

_KEPT = (
    *("arch", "build", "build_number", "constrains", "depends", "fn", "license", "name", "noarch", "platform", "size"),
    *("subdir", "timestamp", "version"),
)
"""What a package's record says of the package, and not of this machine, of the project or of rattler's version."""

_ACTIVATION = re.compile(r"etc/conda/activate\.d/[^/]+\.sh")
_EXPORT = re.compile(r"""^[ \t]*export\s+(\w+)=["']?([^"'\n;]*)""", re.M)

_KEPT_OF_PATH = ("_path", "path_type", "sha256", "size_in_bytes")


@frozen(kw_only=True)
class PackageTree:
    """The tree of some locked packages; it exists once `make` has made it.

    `python` is the package with the environment's Python, which decides where modules lie. `file` is the declaring
    file that errors name. `fetched_from` returns what the worker is told of packages to fetch.
    """

    packages: tuple[CondaPackage, ...]
    python: CondaPackage | None
    platform: str
    file: str
    fetched_from: Callable[[tuple[CondaPackage, ...]], list[dict[str, Any]]]

    @property
    def digest(self) -> str:
        """What stands for the tree in keys: a digest of the packages' hashes, not of the files."""
        parts = [_FORMAT, PREFIX, self.python.sha256 if self.python else ""]
        parts += [word for package in self.packages for word in (package.url, package.sha256)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    @property
    def size(self) -> int:
        """The bytes of the packages' archives."""
        return sum(package.size for package in self.packages)

    @property
    def parts(self) -> Mapping[str, int]:
        """The bytes of the packages' archives, by name."""
        return {package.name: package.size for package in self.packages}

    def make(self, folder: Path, warn: Callable[[str], None]) -> Tree:
        """Fetch and install the packages into a new folder below `folder`, and return the tree of their files.

        Calls `warn` with what the user must know of them. Raises OcicalibanError if a package cannot be fetched, or is
        not the locked one.
        """
        # The files do not depend on the packages in other layers, so that the same layer has the same files.
        installed = self.packages
        if self.python and self.python not in installed:
            installed = (self.python, *installed)
        prefix = folder / f"conda-{self.digest[:12]}"
        calls.call(
            "install",
            self.file,
            self.platform,
            packages=self.fetched_from(installed),
            prefix=str(prefix),
            target=PREFIX,
        )
        return tree_of(prefix, self.packages, self.digest, warn)


def tree_of(prefix: Path, packages: tuple[CondaPackage, ...], digest: str, warn: Callable[[str], None]) -> Tree:
    """Return the tree of the files that `packages` have in the folder `prefix`, and make them alike everywhere.

    A package's record loses what it says of this machine, and byte code is used without a look at the source's time.
    """
    paths: set[str] = set()
    for package in packages:
        path = f"conda-meta/{package.file_stem}.json"
        record = json.loads((prefix / path).read_text())
        _replace(prefix / path, _normal_record(record, package))
        paths |= {path, *record["files"]}
        if f"bin/.{package.name}-post-link.sh" in record["files"]:
            warn(f"conda's {package.name} has a script for after its installation (post-link), which is not run")
        if unset := _set_at_activation(prefix, record["files"]):
            warn(
                f"conda's {package.name} sets variables at activation, which containers do not get: {', '.join(unset)};"
                " if you need them, write them into the variables of environment.yml"
            )
    if any(path.startswith("conda-meta/") for path in paths):
        (prefix / "conda-meta" / "history").write_text("")  # by this file conda knows an environment
        paths.add("conda-meta/history")
    return Tree(root=prefix, digest=digest, entries=tuple(_entries(prefix, paths)))


def _normal_record(record: dict[str, Any], package: CondaPackage) -> bytes:
    """Return the text of a package's record in conda-meta."""
    kept = {key: record[key] for key in _KEPT if key in record}
    channel = posixpath.dirname(posixpath.dirname(package.url))
    kept |= {"url": package.url, "channel": channel, "sha256": package.sha256, "files": sorted(record["files"])}
    given = sorted(record.get("paths_data", {}).get("paths", []), key=lambda each: str(each["_path"]))
    paths = [{key: each[key] for key in _KEPT_OF_PATH if key in each} for each in given]
    kept["paths_data"] = {"paths_version": 1, "paths": paths}
    return (json.dumps(kept, indent=2, sort_keys=True) + "\n").encode()


def _set_at_activation(prefix: Path, paths: list[str]) -> list[str]:
    """Return the variables that a package's scripts for the activation export, with their values if they are simple."""
    found: dict[str, str] = {}
    for path in paths:
        if _ACTIVATION.fullmatch(path):
            for name, value in _EXPORT.findall((prefix / path).read_text(encoding="utf-8", errors="replace")):
                plain = value.replace("${CONDA_PREFIX}", PREFIX).replace("$CONDA_PREFIX", PREFIX)
                if not name.startswith(("_", "CONDA_", "OLD_")):
                    found[name] = name if set(plain) & set("$`(") or not plain else f"{name}={plain}"
    return list(found.values())


def _entries(prefix: Path, paths: set[str]) -> Iterator[TreeEntry]:
    """Yield the entries of a tree with these files and links, in the order of their paths, with their folders."""
    folders = {parent for path in paths for parent in _parents(path)}
    for path in sorted(paths | folders):
        place = prefix / path
        if path in folders:
            yield TreeEntry(path=path, kind="dir")
        elif place.is_symlink() or place.is_file():
            if "/__pycache__/" in path and path.endswith(".pyc") and not place.is_symlink():
                _use_unchecked(place)
            yield tree_entries.own(str(place), path)


def _parents(path: str) -> Iterator[str]:
    while path := posixpath.dirname(path):
        yield path


def _use_unchecked(path: Path) -> None:
    """Change byte code that names the time of its source, which a layer does not keep, to be used without a check.

    PEP 552 describes the 16 bytes: a number for Python's version, flags, and the time and size or a hash.
    """
    data = path.read_bytes()
    if len(data) > 16 and data[4:8] == b"\0\0\0\0":
        _replace(path, data[:4] + b"\1\0\0\0" + b"\0" * 8 + data[16:])


def _replace(path: Path, data: bytes) -> None:
    """Replace a file. It may have other names, in the folder with the unpacked package, which keep their contents."""
    mode = path.stat().st_mode
    path.unlink()
    path.write_bytes(data)
    path.chmod(mode)
