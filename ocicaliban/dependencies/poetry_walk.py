"""Find the packages of an environment in a poetry.lock of a version that does not say it; pure.

Locks before version 2.1 hold packages and their dependencies. Which of them belong to an environment follows from the
project's dependencies, as in a resolution whose only candidates are the locked packages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ocicaliban.dependencies import poetry_project
from ocicaliban.dependencies.locked_requirements import normalized
from ocicaliban.errors import UsageError
from ocicaliban.formats.toml import table_in

if TYPE_CHECKING:
    from poetry.core.packages.dependency import Dependency

_NOT_LOCKED = ("setuptools", "pip", "wheel", "distribute")
"""Packages that earlier versions of Poetry did not lock."""

Package = dict[str, Any]
"""A [[package]] of the lock."""


def walked(
    held: Iterable[Package], wanted: Iterable[Dependency], project: str, environment: Mapping[str, str]
) -> Iterator[Package]:
    """Yield the packages of a lock that the `wanted` dependencies of the `project` need in the environment.

    Raises UsageError if the lock does not hold them.
    """
    candidates: dict[str, list[Package]] = {}
    for package in held:
        if poetry_project.allows(
            package.get("python-versions", "*"), environment["python_full_version"], "poetry.lock"
        ):
            candidates.setdefault(normalized(package["name"]), []).append(package)
    chosen: dict[str, Package] = {}
    seen: dict[str, frozenset[str]] = {}
    waiting = list(wanted)
    while waiting:
        dependency = waiting.pop(0)
        name = dependency.name
        if name == project or not dependency.marker.validate(dict(environment)):
            continue
        if name not in chosen:
            if name not in candidates and name in _NOT_LOCKED:
                continue
            chosen[name] = _best(candidates.get(name, ()), dependency)
        extras = frozenset(dependency.extras) - seen.get(name, frozenset())
        if extras or name not in seen:
            seen[name] = seen.get(name, frozenset()) | extras
            waiting += _dependencies(chosen[name], extras)
    yield from chosen.values()


def unknown(held: Iterable[Package], wanted: Iterable[Dependency]) -> tuple[list[Dependency], list[Dependency]]:
    """Return the dependencies that a lock may hold, and those of groups of whose packages it holds none.

    A group that was added since is no part of the lock. A package of the main group must be in it.
    """
    names = {normalized(package["name"]) for package in held}
    rest: list[Dependency] = []
    added: list[Dependency] = []
    for dependency in wanted:
        is_added = dependency.name not in names and poetry_project.MAIN not in dependency.groups
        (added if is_added else rest).append(dependency)
    return rest, added


def _best(candidates: Iterable[Package], dependency: Dependency) -> Package:
    """Return the newest locked package that a dependency allows."""
    from poetry.core.constraints.version import Version

    direct = dependency.is_direct_origin()
    fitting = [
        package
        for package in candidates
        if (direct and _same_origin(table_in(package, "source"), dependency))
        or (not direct and dependency.constraint.allows(Version.parse(str(package["version"]))))
    ]
    if not fitting:
        raise UsageError(
            f"poetry.lock is not up to date with pyproject.toml: it does not hold {dependency.to_pep_508(False)}",
            "run `poetry lock`",
        )
    return max(fitting, key=lambda package: Version.parse(str(package["version"])))


def _same_origin(source: Mapping[str, Any], dependency: Dependency) -> bool:
    """Whether a locked package comes from the repository, folder or archive that a dependency names."""
    if source.get("type") != dependency.source_type:
        return False
    if dependency.source_type not in ("git", "url"):
        return True
    locked, wanted = (str(url or "").removesuffix(".git") for url in (source.get("url"), dependency.source_url))
    reference = dependency.source_reference
    return locked == wanted and reference in (None, "HEAD", source.get("reference"), source.get("resolved_reference"))


def _dependencies(package: Package, extras: frozenset[str]) -> Iterator[Dependency]:
    """Yield the dependencies of a locked package with these extras."""
    from poetry.core.factory import Factory

    optional = _optional_names(package, extras)
    for name, constraints in package.get("dependencies", {}).items():
        for constraint in constraints if isinstance(constraints, list) else [constraints]:
            is_optional = isinstance(constraint, dict) and constraint.get("optional")
            if not is_optional or normalized(name) in optional:
                yield _without_extra_marker(Factory.create_dependency(name, constraint))


def _without_extra_marker(dependency: Dependency) -> Dependency:
    """Return a dependency without the condition that an extra is asked for, which its caller has checked."""
    dependency.marker = dependency.marker.without_extras()
    return dependency


def _optional_names(package: Package, extras: Iterable[str]) -> set[str]:
    """Return the names of the dependencies that extras of a locked package bring. An extra may name others."""
    from poetry.core.packages.dependency import Dependency

    own = normalized(package["name"])
    listed = {normalized(extra): lines for extra, lines in package.get("extras", {}).items()}
    names: set[str] = set()
    waiting, seen = list[str](extras), set[str]()
    while waiting:
        extra = normalized(waiting.pop())
        if extra in seen:
            continue
        seen.add(extra)
        for line in listed.get(extra, ()):
            try:
                dependency = Dependency.create_from_pep_508(line)
            except ValueError:  # `name (1.0)`, which an earlier version wrote
                names.add(normalized(line.split("[")[0].split(" ")[0]))
                continue
            if dependency.name == own:
                waiting += dependency.extras
            else:
                names.add(dependency.name)
    return names
