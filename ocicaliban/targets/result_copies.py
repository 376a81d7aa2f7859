"""Copy a job's folder of results."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from ocicaliban.errors import UsageError


@contextlib.contextmanager
def new_folder(to: Path) -> Iterator[Path]:
    """Yield a folder that gets the name `to` when it is complete; if it is not completed, it is removed.

    Raises UsageError if there is something at `to` already: a copy never writes into what is there, links least of all.
    """
    if to.is_symlink() or (to.exists() and not (to.is_dir() and not any(to.iterdir()))):
        raise UsageError(f"{to} exists already", "name another folder, or remove it first")
    half = to.with_name(f".{to.name}.{os.urandom(4).hex()}")
    half.mkdir(parents=True)
    try:
        yield half
        half.rename(to)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def copy(results: Path, to: Path) -> None:
    """Copy a folder of results; links stay links, and what is neither file, folder nor link is left out."""
    with new_folder(to) as half:
        shutil.copytree(results, half, symlinks=True, ignore=_special, dirs_exist_ok=True)


def _special(folder: str, names: list[str]) -> list[str]:
    """Return the names of sockets, pipes and devices, whose copy would wait or fail."""
    found = []
    for name in names:
        with contextlib.suppress(OSError):
            kind = os.lstat(os.path.join(folder, name)).st_mode
            if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind) or stat.S_ISLNK(kind)):
                found.append(name)
    return found
