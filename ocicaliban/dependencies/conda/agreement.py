"""Compare a lock of conda packages with the files that it was made from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ocicaliban.dependencies.conda import calls
from ocicaliban.dependencies.conda.packages import CondaPackage
from ocicaliban.errors import UsageError

_PLATFORMS = re.compile(r"\[[^\]]*\]")
"""The comment behind a package that conda-lock takes for some platforms alone."""


def check(
    specs: Sequence[str], packages: Iterable[CondaPackage], platform: str, lock: str, files: str, again: str
) -> None:
    """Raise UsageError if a lock has no package that one of the requirements of conda asks for.

    `lock` and `files` are what messages call the lock and what it was made from, and `again` is the command that writes
    it.
    """
    if not specs:
        return
    held = [(each.name, each.version, each.build) for each in packages]
    missing = calls.call("unmet", lock, platform, specs=[*specs], packages=held)["unmet"]
    if missing:
        raise UsageError(f"{lock} is not up to date with {files}: it does not hold {missing}", again)


def for_every_platform(specs: Iterable[str], text: str) -> list[str]:
    """Return the requirements of a file that its text does not restrict to some platforms."""
    parts = (line.strip().rpartition("#") for line in text.splitlines())
    restricted = {
        spec.strip().removeprefix("-").strip().strip("\"'")
        for spec, _, comment in parts
        if spec.startswith("-") and _PLATFORMS.fullmatch(comment.strip())
    }
    return [spec for spec in specs if spec not in restricted]
