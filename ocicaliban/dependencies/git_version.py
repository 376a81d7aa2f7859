"""Compute the version of a package that takes it from git: there is no git where the package is built."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ocicaliban.project import git

_UNKNOWN = "0.1.dev0"
"""The version of a package without tags or without git, as setuptools-scm has it."""


def locked_version(folder: Path, locked: str) -> str:
    """Return the version of the package in a folder of a repository, or "" if it is in none.

    It stays the `locked` one, as an editable installation keeps its version while commits are made, until there is a
    tag with a newer one.
    """
    if not locked:
        return described(git.describe(folder)) if git.is_in_repository(folder) else ""
    if _newest(git.tags(folder)) <= _reached(locked):
        return locked
    version = described(git.describe(folder))
    return version if _reached(version) > _reached(locked) else locked


def described(answer: str) -> str:
    """Return the version for what `git describe --tags --long` answers: TAG-COMMITS-gID; pure."""
    from packaging.version import InvalidVersion, Version

    match = re.fullmatch(r"(?P<tag>.+)-(?P<count>\d+)-g(?P<id>[0-9a-f]+)", answer)
    if match is None:
        return f"{_UNKNOWN}+g{answer}" if re.fullmatch(r"[0-9a-f]+", answer) else _UNKNOWN
    try:
        version = Version(_number(match["tag"]))
    except InvalidVersion:
        return f"{_UNKNOWN}+g{match['id']}"
    if match["count"] == "0":
        return str(version)
    *head, last = version.release
    if not (version.is_prerelease or version.is_postrelease):
        last += 1
    return f"{'.'.join(map(str, (*head, last)))}.dev{match['count']}+g{match['id']}"


def _number(tag: str) -> str:
    """Return the part of a tag that is a version: v1.2, release-1.2, study/1.2."""
    match = re.search(r"\d.*", tag)
    return match[0] if match else ""


def _key(version: str) -> tuple[int, ...]:
    """Return the release numbers of a version or tag, to compare them without its letters; () if there are none."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(part) for part in match[0].split(".")] if match else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _reached(version: str) -> tuple[int, ...]:
    """Return the numbers of the tag that a version of ours comes from: for 1.5.dev2 those of 1.4."""
    numbers = [int(part) for part in re.findall(r"\d+", version.partition(".dev")[0])]
    if ".dev" in version and numbers:
        numbers[-1] -= 1
    return _key(".".join(map(str, numbers)))


def _newest(tags: Iterable[str]) -> tuple[int, ...]:
    return max((_key(_number(tag)) for tag in tags), default=())
