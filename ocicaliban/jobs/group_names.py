"""What groups of jobs are called."""

from __future__ import annotations

import re
from pathlib import Path

from ocicaliban.errors import UsageError

_LONGEST = 63  # as a label of Google's may be
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{_LONGEST - 1}}}")
_PAIR = 24  # characters that are left to two words


def check(name: str) -> str:
    """The name of a group, which is in paths and labels. Raises UsageError where it cannot be there."""
    if not _NAME.fullmatch(name):
        hint = f"up to {_LONGEST} letters, digits, '_', '.' and '-', beginning with a letter or digit"
        raise UsageError(f"'{name}' cannot be a group's name", hint)
    return name


def named(folder: Path, pair: str) -> str:
    """The name of a group of the project in `folder`: the folder's, as far as it may stand there, and `pair`."""
    word = re.sub("[^a-z0-9]+", "-", folder.name.lower()).strip("-")[: _LONGEST - _PAIR].strip("-")
    return f"{word or 'jobs'}-{pair[: _PAIR - 1].rstrip('-')}"


def new(folder: Path) -> str:
    """A new group's name: after the folder, and two words."""
    from coolname import generate_slug  # its words take a while to load

    return named(folder, generate_slug(2))
