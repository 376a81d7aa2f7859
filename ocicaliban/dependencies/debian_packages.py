"""apt.txt, in which a project lists Debian packages."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

NAME = "apt.txt"


def read_lists(root: Path, there: frozenset[str], folders: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the packages in each apt.txt: in the folder `root`, which holds the names `there`, and in `folders`."""
    paths = [*([NAME] if NAME in there else []), *(f"{folder}/{NAME}" for folder in folders if folder in there)]
    return {path: read_list(root / path) for path in paths if (root / path).is_file()}


def read_list(path: Path) -> tuple[str, ...]:
    """Return the packages that a list names. What follows a # is a comment."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return tuple(word for line in lines for word in line.partition("#")[0].split())
