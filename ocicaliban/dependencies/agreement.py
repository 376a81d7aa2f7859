"""Compare what a lock holds with the requirements of the project that it was made from; pure."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping

from packaging.markers import UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion

from ocicaliban.dependencies.locked_packages import LockedPackage
from ocicaliban.dependencies.locked_requirements import normalized

_COMMIT = re.compile(r"[0-9a-f]{40}")
_PYTHONS = tuple(f"3.{minor}.{patch}" for minor in range(6, 31) for patch in (0, 99))
"""Releases by which two ranges of Pythons are compared."""


def unmet(lines: Iterable[str], packages: Iterable[LockedPackage], environment: Mapping[str, str]) -> str:
    """Return the first of these requirements (PEP 508) that no package of a lock fulfils, "" if there is none.

    `environment` has the values of markers; a requirement for another environment does not count. One that is not
    valid does not count either: resolving it reports the mistake.
    """
    held: dict[str, list[LockedPackage]] = {}
    for package in packages:
        held.setdefault(normalized(package.name), []).append(package)
    for line in lines:
        try:
            wanted = Requirement(line)
            applies = wanted.marker is None or wanted.marker.evaluate({**environment, "extra": ""})
        except (InvalidRequirement, UndefinedEnvironmentName):
            continue
        if applies and not any(_fits(wanted, package) for package in held.get(normalized(wanted.name), ())):
            return line.strip()
    return ""


def without(lines: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    """Return the requirements of other packages than these: what a project overrides or excludes is not compared."""
    named = {normalized(name) for name in names}
    kept = []
    for line in lines:
        try:
            if normalized(Requirement(line).name) in named:
                continue
        except InvalidRequirement:
            pass
        kept.append(line)
    return tuple(kept)


def named_in(requirements: object) -> Iterator[str]:
    """Yield the names of the packages in a list of requirements, such as [tool.uv] override-dependencies."""
    for line in requirements if isinstance(requirements, list) else ():
        with contextlib.suppress(InvalidRequirement):
            yield Requirement(str(line)).name


def _fits(wanted: Requirement, package: LockedPackage) -> bool:
    """Whether a locked package is what a requirement asks for, as far as the two tell."""
    if not wanted.url:
        # A table of a tool's own may say that it comes from a folder or a repository.
        is_direct = bool(package.url or package.path) and not package.version
        try:
            return is_direct or wanted.specifier.contains(package.version, prereleases=True)
        except InvalidVersion:
            return False
    if not package.url:
        return bool(package.path) and wanted.url.startswith("file:")
    return _same_address(wanted.url, package.url)


def _same_address(wanted: str, locked: str) -> bool:
    """Whether two addresses are of the same archive or repository. A branch or tag has become a commit in the lock."""
    (one, one_ref), (other, other_ref) = map(_repository, (wanted, locked))
    return one == other and (one_ref == other_ref or not _COMMIT.fullmatch(one_ref))


def _repository(url: str) -> tuple[str, str]:
    """Return an address without login and fragment, and the commit, branch or tag in it."""
    text = re.sub(r"//[^/@]+@", "//", url.partition("#")[0].strip())
    text = re.sub(r"^git\+git@([^/:]+)[:/]", r"git+ssh://\1/", text)
    head, at, ref = text.rpartition("@") if text.startswith("git+") else (text, "", "")
    place = head if at else text
    return place.removesuffix("/").removesuffix(".git"), ref if at else ""


def allows_more(lock: str, project: str) -> bool:
    """Whether a lock's requires-python allows Pythons that the project's excludes.

    A tool may lock for fewer Pythons than the project allows, but not for others.
    """
    try:
        ours, theirs = SpecifierSet(project), SpecifierSet(lock)
    except InvalidSpecifier:
        return False
    return any(theirs.contains(python) and not ours.contains(python) for python in _PYTHONS)
