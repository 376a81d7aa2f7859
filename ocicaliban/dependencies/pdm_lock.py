"""pdm.lock, with the pyproject.toml beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from attrs import evolve

from ocicaliban.dependencies import locked_packages, locked_requirements, pdm_project
from ocicaliban.dependencies.declaration import ResolutionTarget, manifest
from ocicaliban.dependencies.indexes import Indexes, without_credentials
from ocicaliban.dependencies.locked_packages import LockedPackage
from ocicaliban.dependencies.locked_requirements import normalized
from ocicaliban.dependencies.pyproject_lock import PyprojectLock, holds_packages
from ocicaliban.dependencies.python_requirement import PythonRequirement, requirement
from ocicaliban.errors import UsageError
from ocicaliban.formats.toml import parse_toml, read_toml, table_in
from ocicaliban.model.recipe import Variant

_LOCK = "run `pdm lock`"


class PdmLock(PyprojectLock):
    """The versions that PDM has locked."""

    FILE: ClassVar[str] = "pdm.lock"
    TOOL: ClassVar[str] = "pdm"

    def indexes(self) -> Indexes:
        """Return the sources of [tool.pdm]. Those with a list of packages are asked for these alone."""
        return pdm_project.lock_indexes(manifest(self.path.parent))

    def resolved_extras(self, extras: tuple[str, ...], variant: Variant) -> tuple[str, ...]:
        """Return the given extras and those that the lock was made with, but not the other variant's.

        Raises UsageError for one that pyproject.toml does not declare, or that is not locked.
        """
        declared, given = pdm_project.checked_extras(self._read_manifest(), extras)
        locked = self._locked_groups()
        if locked is not None:
            _check_locked(given, locked)
            given |= {name for name in locked if name in declared}
        elif variant in declared:
            given.add(variant)
        other = "gpu" if variant == "cpu" else "cpu"
        return tuple(sorted(given - {other} if other not in map(normalized, extras) else given))

    def resolved_groups(self, groups: tuple[str, ...]) -> tuple[str, ...]:
        """Return the given groups and those that the lock was made with.

        Raises UsageError for one that pyproject.toml does not declare, or that is not locked.
        """
        raw = self._read_manifest()
        given, declared = pdm_project.checked_groups(raw, groups), pdm_project.dev_groups(raw)
        locked = self._locked_groups()
        if locked is None:
            return tuple(sorted(declared))
        _check_locked(given, locked)
        return tuple(sorted(given | {name for name in locked if name in declared}))

    def python_requirements(self) -> tuple[PythonRequirement, ...]:
        """Return the requires-python of [project]."""
        wanted = table_in(manifest(self.path.parent), "project").get("requires-python")
        return requirement("pyproject.toml: requires-python", wanted)

    def resolve(self, target: ResolutionTarget, preferred: str) -> str:
        """Return what the lock holds for the target.

        The lock may be made for another state of pyproject.toml, as long as its packages fit. Raises UsageError if they
        do not, or if it is damaged.
        """
        lock, pyproject = read_toml(self.path, _LOCK)[1], self._read_manifest()
        check_version(lock)
        locked_packages.checked_tables(lock, self.FILE, _LOCK)
        is_current = not self.is_out_of_date()
        try:
            if not self._is_comparable:
                _check_direct(lock, pyproject, target)
            return locked_packages.requirements(_packages(lock, pyproject, target, self.root, is_current))
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise locked_packages.damaged(self.FILE, exc, _LOCK) from exc

    def is_out_of_date(self) -> bool:
        """Whether pyproject.toml has changed since."""
        digest = str(self._metadata().get("content_hash", "")).removeprefix("sha256:")
        return self._is_comparable and digest not in pdm_project.content_hashes(self._read_manifest())

    @property
    def _is_comparable(self) -> bool:
        """Whether the lock's digest is of the pyproject.toml alone, and not of more files, as in a workspace."""
        metadata = self._metadata()
        return bool(metadata) and "lock_inputs" not in metadata and not pdm_project.is_workspace(self._read_manifest())

    def lists_dependencies(self) -> bool:
        """Whether the lock holds a package."""
        text = self.path.read_text(encoding="utf-8-sig", errors="replace")
        return holds_packages(text)

    def _locked_groups(self) -> frozenset[str] | None:
        """Return the groups and extras that the lock was made with; None if the lock does not tell."""
        groups = self._metadata().get("groups")
        return frozenset(map(normalized, groups)) if isinstance(groups, list) else None

    def _metadata(self) -> dict[str, Any]:
        """Return the lock's metadata. Planning asks each time, and the lock may be long: PDM writes them first."""
        head = self.path.read_text(encoding="utf-8-sig", errors="replace").partition("\n[[package]]")[0]
        try:
            return table_in(parse_toml(head), "metadata")
        except ValueError as exc:
            raise UsageError(f"pdm.lock is not valid TOML: {exc}", _LOCK) from exc


def _check_locked(given: set[str] | frozenset[str], locked: frozenset[str]) -> None:
    if missing := sorted(given - locked):
        raise UsageError(f"pdm.lock was made without '{missing[0]}'", f"run `pdm lock -G {missing[0]}`, or -G:all")


def check_version(lock: Mapping[str, Any]) -> None:
    """Raise UsageError if a lock is of a version that is not read."""
    version = str(table_in(lock, "metadata").get("lock_version", ""))
    if version.partition(".")[0] != "4":
        raise UsageError(f"pdm.lock has version '{version}'; version 4 is read", _LOCK)


def _packages(
    lock: Mapping[str, Any], pyproject: Mapping[str, Any], target: ResolutionTarget, root: Path, is_current: bool
) -> Iterator[LockedPackage]:
    """Yield what `pdm install --no-self` would install in the target."""
    from ocicaliban.dependencies.pdm_walk import inherited, walked

    held: list[dict[str, Any]] = lock.get("package", [])
    groups = (pdm_project.DEFAULT, *target.groups, *target.extras)
    environment = locked_packages.marker_environment(target.base)
    if is_current and "inherit_metadata" in table_in(lock, "metadata").get("strategy", ()):
        chosen = inherited(held, {*groups}, environment)
    else:
        lines = [line for group in groups for line in pdm_project.group_lines(pyproject, group)]
        chosen = walked(held, lines, environment, root)
    own, seen = normalized(str(table_in(pyproject, "project").get("name", ""))), set[str]()
    for info in chosen:
        package = _locked(info)
        if package.name not in {own} | seen:  # `requests` and `requests[socks]` are two entries
            seen.add(package.name)
            index = pdm_project.pin(pyproject, package.name) if package.version and not package.url else ""
            yield evolve(package, index=without_credentials(index))


def _check_direct(lock: Mapping[str, Any], pyproject: Mapping[str, Any], target: ResolutionTarget) -> None:
    """Raise UsageError if the lock does not hold a dependency of the project, or not in a version that it allows.

    In a workspace, what the lock does not hold may be one of the members.
    """
    from ocicaliban.dependencies import agreement

    held = [_locked(info) for info in lock.get("package", [])]
    names = {package.name for package in held}
    groups = (pdm_project.DEFAULT, *target.groups, *target.extras)
    lines = [line for group in groups for line in pdm_project.group_lines(pyproject, group)]
    if pdm_project.is_workspace(pyproject):
        lines = [line for line in lines if locked_requirements.name(line) in names]
    if missing := agreement.unmet(lines, held, locked_packages.marker_environment(target.base)):
        raise UsageError(f"pdm.lock is not up to date with pyproject.toml: it does not hold {missing}", _LOCK)


def _locked(info: Mapping[str, Any]) -> LockedPackage:
    """Return a package of the lock with its hashes and where it comes from."""
    name = normalized(info["name"])
    if "git" in info:
        url = locked_packages.git_url(info["git"], info["revision"], info.get("subdirectory", ""))
        return LockedPackage(name=name, url=url)
    hashes = tuple(file["hash"] for file in info.get("files", ()))
    if "path" in info:
        return LockedPackage(name=name, path=info["path"], editable=bool(info.get("editable")), hashes=hashes)
    if "url" in info:
        return LockedPackage(name=name, url=info["url"], hashes=hashes)
    return LockedPackage(name=name, version=info["version"], hashes=hashes)
