"""Find the packages of an environment in a pdm.lock; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from ocicaliban.dependencies import pdm_project
from ocicaliban.dependencies.locked_requirements import normalized
from ocicaliban.errors import UsageError

_OUTDATED = "pdm.lock is not up to date with pyproject.toml: it does not hold"

Package = dict[str, Any]
"""A [[package]] of the lock."""


def inherited(held: Iterable[Package], groups: set[str], environment: Mapping[str, str]) -> Iterator[Package]:
    """Yield the packages whose own groups and markers say that they belong to the environment."""
    for package in held:
        if groups.isdisjoint(map(normalized, package.get("groups", (pdm_project.DEFAULT,)))):
            continue
        if "marker" not in package or Marker(package["marker"]).evaluate(dict(environment)):
            yield package


def walked(
    held: Iterable[Package], lines: Iterable[str], environment: Mapping[str, str], root: Path
) -> Iterator[Package]:
    """Yield the packages that requirements need in the environment, in a lock whose packages do not say it.

    Raises UsageError if the lock does not hold them.
    """
    python = environment["python_full_version"]
    by_name: dict[tuple[str, frozenset[str]], list[Package]] = {}
    for package in held:
        if SpecifierSet(package.get("requires_python", "")).contains(python, prereleases=True):
            key = normalized(package["name"]), frozenset(map(normalized, package.get("extras", ())))
            by_name.setdefault(key, []).append(package)
    by_path = {package["path"].removeprefix("./"): package for package in held if "path" in package}
    waiting, seen = list(lines), set[str]()
    while waiting:
        line = waiting.pop(0)
        if line in seen:
            continue
        seen.add(line)
        if local := pdm_project.local_path(line, root):
            path = local[0].removeprefix("./").rstrip("/")
            if path not in by_path:
                raise UsageError(f"{_OUTDATED} '{path}'", "run `pdm lock`")
            package = by_path[path]
        else:
            requirement = Requirement(line)
            if requirement.marker and not requirement.marker.evaluate({**environment, "extra": ""}):
                continue
            key = normalized(requirement.name), frozenset(map(normalized, requirement.extras))
            package = _best(by_name.get(key, ()), requirement)
        yield package
        waiting += package.get("dependencies", ())


def _best(candidates: Iterable[Package], requirement: Requirement) -> Package:
    """Return the newest locked package that a requirement allows."""
    from packaging.version import Version

    fitting = [
        package
        for package in candidates
        if "version" not in package  # a folder or a repository
        or requirement.url
        or requirement.specifier.contains(package["version"], prereleases=True)
    ]
    if not fitting:
        raise UsageError(f"{_OUTDATED} {requirement.name} {requirement.specifier}".strip(), "run `pdm lock`")
    return max(fitting, key=lambda package: Version(str(package.get("version", "0"))))
