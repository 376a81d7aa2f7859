"""The names of groups of jobs."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from ocicaliban.errors import UsageError

_LONGEST = 63  # as labels of Google Cloud
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{_LONGEST - 1}}}")
_PAIR = 24  # characters for two words


def check(name: str) -> str:
    """Return the name of a group. Raises UsageError for one that cannot be in paths and labels."""
    if not _NAME.fullmatch(name):
        hint = f"use up to {_LONGEST} letters, digits, '_', '.' and '-', and begin with a letter or digit"
        raise UsageError(f"'{name}' is not a valid name for a group", hint)
    return name


def named(folder: Path, pair: str) -> str:
    """Return the name of a group of the project in `folder`: the folder's name as far as allowed, and `pair`."""
    word = re.sub("[^a-z0-9]+", "-", folder.name.lower()).strip("-")[: _LONGEST - _PAIR].strip("-")
    return f"{word or 'jobs'}-{pair[: _PAIR - 1].rstrip('-')}"


def of_single_runs(folder: Path) -> str:
    """Return the name of the group of a project's single runs: two projects of one name have two groups."""
    digest = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()
    return named(folder, f"runs-{digest[:6]}")


def new(folder: Path) -> str:
    """Return a new group's name: the folder's name, and two random words."""
    from coolname import generate_slug  # its words take a while to load

    return named(folder, generate_slug(2))
