"""Remove the folders that containers mounted, and the files in none of them any more."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from ocicaliban.build import folder_store
from ocicaliban.containers import image_store
from ocicaliban.formats.text import amount

_KEY = re.compile(r"[0-9a-f]{64}")
_STARTING = 600.0
"""Seconds for which a folder that was used stays in any case: a container that mounts it may be about to start."""
_KILLED = 86400.0
"""Seconds after which a folder that is not whole is one of a killed process."""


def keys() -> tuple[str, ...]:
    """Return the keys of all folders."""
    place = folder_store.path_of("x").parent
    return tuple(sorted(name for name in _names(place) if _KEY.fullmatch(name)))


def remove(stays: Callable[[str], bool], *, dry_run: bool, out: Callable[[str], None]) -> int:
    """Remove the folders that no container mounts and that do not stay, given their keys, or only list them.

    Return the bytes freed; `out` gets a line for each folder.
    """
    used = mounted_now()
    now = time.time()
    going = [
        key for key in keys() if key not in used and not stays(key) and image_store.last_used(key) < now - _STARTING
    ]
    total = 0
    links: Counter[tuple[int, int]] = Counter()
    for key in going:
        path = folder_store.path_of(key)
        freed = _freed(path, links)
        total += freed
        out(f"{path}  {amount(freed)}")
        if not dry_run:
            # A folder that is not whole has another name.
            half = path.with_name(f".{key}")
            with contextlib.suppress(OSError):
                path.rename(half)
                os.utime(half)
            shutil.rmtree(half, ignore_errors=True)
            image_store.forget_use(key)
    if not dry_run:
        _remove_leftovers(now)
    return total


def mounted_now() -> frozenset[str]:
    """Return the keys of the folders that are mounted in a container of this user."""
    place = re.escape(str(folder_store.path_of("x").parent))
    found: set[str] = set()
    for path in Path("/proc").glob("[0-9]*/mountinfo"):
        with contextlib.suppress(OSError):
            found.update(re.findall(rf"{place}/([0-9a-f]{{64}})", path.read_text(errors="replace")))
    return frozenset(found)


def _freed(folder: Path, links: Counter[tuple[int, int]]) -> int:
    """Return the bytes of the files that go with a folder. `links` counts the links of each file that go."""
    freed = 0
    for place, _, names in os.walk(folder):
        for name in names:
            status = os.lstat(os.path.join(place, name))
            this = status.st_dev, status.st_ino
            links[this] += 1
            if (
                stat.S_ISREG(status.st_mode) and links[this] >= status.st_nlink - 1
            ):  # one more is in the store of all files
                freed += status.st_size
    return freed


def _remove_leftovers(now: float) -> None:
    """Remove what killed processes left half-made, and the files that are in no folder."""
    place = folder_store.path_of("x").parent
    for name in _names(place):
        with contextlib.suppress(OSError):
            if name.startswith(".") and (place / name).stat().st_mtime < now - _KILLED:
                shutil.rmtree(place / name, ignore_errors=True)
    for path in (folder_store.root() / "files").glob("*/*"):
        with contextlib.suppress(OSError):
            if path.lstat().st_nlink == 1:
                path.unlink()


def _names(folder: Path) -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError):
        yield from os.listdir(folder)
