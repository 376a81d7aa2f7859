"""poetry.lock, with the pyproject.toml beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ocicaliban.dependencies import locked_packages, own_requirements, poetry_project, poetry_walk
from ocicaliban.dependencies.declaration import ResolutionTarget, manifest
from ocicaliban.dependencies.indexes import Indexes, is_pypi, plain_url
from ocicaliban.dependencies.locked_packages import LockedPackage
from ocicaliban.dependencies.locked_requirements import normalized
from ocicaliban.dependencies.pyproject_lock import PyprojectLock, holds_packages
from ocicaliban.dependencies.python_requirement import PythonRequirement
from ocicaliban.errors import UsageError
from ocicaliban.formats.toml import read_toml, table_in
from ocicaliban.model.recipe import Variant

if TYPE_CHECKING:
    from poetry.core.packages.dependency import Dependency

_LOCK = "run `poetry lock`"
_HASH = re.compile(r'^content-hash = "(\w+)"', re.M)


class PoetryLock(PyprojectLock):
    """The versions that Poetry has locked."""

    FILE: ClassVar[str] = "poetry.lock"
    TOOL: ClassVar[str] = "poetry"

    def indexes(self) -> Indexes:
        """Return the sources of [tool.poetry]. Each is asked only for the packages that are locked from it."""
        return poetry_project.indexes(manifest(self.path.parent))

    def resolved_extras(self, extras: tuple[str, ...], variant: Variant) -> tuple[str, ...]:
        """Return the given extras and the variant's. Raises UsageError for one that pyproject.toml does not declare."""
        return poetry_project.with_variant(self._read_manifest(), extras, variant)

    def resolved_groups(self, groups: tuple[str, ...]) -> tuple[str, ...]:
        """Return the given groups, and all that are not optional.

        Raises UsageError for one that pyproject.toml does not declare.
        """
        return poetry_project.with_default_groups(self._read_manifest(), groups)

    def python_requirements(self) -> tuple[PythonRequirement, ...]:
        """Return what [project] and [tool.poetry.dependencies] say; the lock repeats it at its end."""
        return poetry_project.python_requirements(manifest(self.path.parent))

    def resolve(self, target: ResolutionTarget, preferred: str) -> str:
        """Return what the lock holds for the target.

        The lock may be made for another state of pyproject.toml, as long as its packages fit; what groups have that it
        does not know is added. Raises UsageError if it does not fit or is damaged.
        """
        lock = read_toml(self.path, _LOCK)[1]
        check_version(lock)
        package = poetry_project.read_package(self._manifest)
        wanted = list(poetry_project.wanted_dependencies(package, target.groups, target.extras))
        held = locked_packages.checked_tables(lock, self.FILE, _LOCK)
        environment = locked_packages.marker_environment(target.base)
        added: list[Dependency] = []
        try:
            if self.is_out_of_date() or "content-hash" not in table_in(lock, "metadata"):
                wanted, added = poetry_walk.unknown(held, wanted)
                chosen = poetry_walk.walked(held, wanted, package.name, environment)
            elif _has_groups(lock):
                chosen = _marked(held, {poetry_project.MAIN, *target.groups}, target.extras, environment)
            else:
                chosen = poetry_walk.walked(held, wanted, package.name, environment)
            text = locked_packages.requirements(_locked(info, lock) for info in chosen)
        except poetry_project.faults() as exc:
            raise locked_packages.damaged(self.FILE, exc, _LOCK) from exc
        lines = [poetry_project.requirement_line(dependency) for dependency in added]
        return own_requirements.with_added(self, text, lines, target) if lines else text

    def is_out_of_date(self) -> bool:
        """Whether pyproject.toml has changed since. Planning asks each time, and the lock may be long."""
        text = self.path.read_text(encoding="utf-8-sig", errors="replace")
        found = _HASH.search(text)
        return found is not None and found[1] not in poetry_project.content_hashes(self._read_manifest())

    def not_locked(self) -> tuple[str, ...]:
        """Return the names of what the default groups want and the lock does not know."""
        package = poetry_project.read_package(self._manifest)
        wanted = poetry_project.wanted_dependencies(package, self.resolved_groups(()), ())
        held = read_toml(self.path, _LOCK)[1].get("package", [])
        try:
            return tuple(dependency.name for dependency in poetry_walk.unknown(held, [*wanted])[1])
        except poetry_project.faults():
            return ()  # resolving says that the lock is damaged

    def lists_dependencies(self) -> bool:
        """Whether the lock holds a package."""
        text = self.path.read_text(encoding="utf-8-sig", errors="replace")
        return holds_packages(text)


def check_version(lock: Mapping[str, Any]) -> None:
    """Raise UsageError if a lock is of a version that is not read."""
    version = str(table_in(lock, "metadata").get("lock-version", ""))
    if version.partition(".")[0] not in ("1", "2"):
        raise UsageError(f"poetry.lock has version '{version}'; versions 1 and 2 are read", _LOCK)


def _has_groups(lock: Mapping[str, Any]) -> bool:
    """Whether the packages in a lock say which groups and environments need them."""
    version = str(table_in(lock, "metadata").get("lock-version"))
    return tuple(map(int, version.split("."))) >= (2, 1)


def _marked(
    held: Iterable[dict[str, Any]], groups: set[str], extras: Iterable[str], environment: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Yield the packages whose groups and markers say that they belong to the environment."""
    from poetry.core.version.markers import parse_marker

    values = {**environment, "extra": {normalized(extra) for extra in extras}}
    for info in held:
        markers = info.get("markers", "")
        for group in map(normalized, info["groups"]):
            marker = markers if isinstance(markers, str) else markers.get(group, "")
            if group in groups and (not marker or parse_marker(marker).validate(values)):
                yield info
                break


def _locked(info: Mapping[str, Any], lock: Mapping[str, Any]) -> LockedPackage:
    """Return a package of the lock with its hashes and where it comes from."""
    name, version, source = normalized(info["name"]), str(info["version"]), table_in(info, "source")
    kind, url = source.get("type", ""), str(source.get("url", ""))
    if kind == "git":
        commit = source.get("resolved_reference") or source["reference"]
        return LockedPackage(name=name, url=locked_packages.git_url(url, commit, source.get("subdirectory", "")))
    if kind == "directory":
        return LockedPackage(name=name, path=url, editable=bool(info.get("develop")))
    hashes = tuple(file["hash"] for file in _files(info, lock))
    if kind == "file":
        return LockedPackage(name=name, path=url, hashes=hashes)
    if kind == "url":
        return LockedPackage(name=name, url=url, hashes=hashes)
    index = ""
    if kind == "legacy" and not is_pypi(url):
        index = f"{source['reference']}={plain_url(url)}"
    return LockedPackage(name=name, version=version, hashes=hashes, index=index)


def _files(info: Mapping[str, Any], lock: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the archives of a package, which earlier versions list in the lock's metadata."""
    metadata = table_in(lock, "metadata")
    if "files" in info:
        files: list[dict[str, str]] = info["files"]
        return files
    if "hashes" in metadata:
        return [{"hash": f"sha256:{value}"} for value in metadata["hashes"].get(info["name"], ())]
    listed: list[dict[str, str]] = table_in(metadata, "files").get(info["name"], [])
    return listed
