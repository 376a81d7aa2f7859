"""Remove the folders that containers mounted, and the files in none of them any more."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from ocicaliban.build import folder_store
from ocicaliban.containers import image_store, overlay_folder
from ocicaliban.formats.text import amount

_KEY = re.compile(r"[0-9a-f]{64}")
_MOUNTED = re.compile(r"/mounted/folders/([0-9a-f]{64})(?![0-9a-f])")
_STARTING = 600.0
"""Seconds for which a folder that was used stays in any case: a container that mounts it may be about to start."""
_KILLED = 86400.0
"""Seconds after which a folder or a file that is not whole is one of a killed process."""


def keys() -> tuple[str, ...]:
    """Return the keys of all folders."""
    return tuple(sorted(name for name in _names(_folders()) if _KEY.fullmatch(name)))


def remove(stays: Callable[[str], bool], *, dry_run: bool, out: Callable[[str], None]) -> int:
    """Remove the folders that no container mounts and that do not stay, given their keys, or only list them.

    What scripts changed goes too if it does not stay, given the keys of the layers: a folder has links to it. The files
    of a package go when no folder has them. Return the bytes freed; `out` gets a line for each folder.
    """
    used = mounted_now()
    now = time.time()
    links = Counter(_stored())
    going: list[tuple[Path, int]] = []
    for path in _all():
        if path.name in used or stays(path.name) or image_store.last_used(path.name) > now - _STARTING:
            continue
        if not _is_linked(path, links):
            going.append((path, _freed(path, links)))
    for path, freed in going:
        out(f"{path}  {amount(freed)}")
        if not dry_run:
            # A folder that is not whole has another name.
            half = path.with_name(f".{path.name}")
            with contextlib.suppress(OSError):
                path.rename(half)
            overlay_folder.remove(half)
            image_store.forget_use(path.name)
    if not dry_run:
        _remove_leftovers(now, used)
    return sum(freed for _, freed in going)


def root() -> Path:
    """Return the folder of all that containers mount."""
    return folder_store.root()


def places() -> tuple[tuple[str, Path], ...]:
    """Return what is kept for containers to mount, in words, and where; the later have links to the earlier."""
    return (
        ("Python packages", _packages()),
        ("files of sources and data", root() / "files"),
        ("changes of scripts", _changes()),
        ("folders with links to these", _folders()),
    )


def _folders() -> Path:
    return folder_store.path_of("x").parent


def _changes() -> Path:
    return folder_store.changes_of("x").parent


def _all() -> list[Path]:
    """Return the folders, and then what they have links to: what scripts changed, and packages."""
    places = (_folders(), _changes(), _packages())
    return [place / name for place in places for name in sorted(_names(place)) if _KEY.fullmatch(name)]


def _packages() -> Path:
    return folder_store.package_of("x").parent


def _stored() -> Iterator[tuple[int, int]]:
    """Yield the device and inode of each file in the store of all files."""
    for path in (folder_store.root() / "files").glob("*/*"):
        with contextlib.suppress(OSError):
            status = path.lstat()
            yield status.st_dev, status.st_ino


def mounted_now() -> frozenset[str]:
    """Return the keys of the folders that are mounted in a container of this user, or are about to be.

    The kernel names them in its lists of mounts. Those of fuse-overlayfs it does not know: there, the command line of
    the process that serves a mount names them. (`podman inspect` names neither, only the overlay made of them.)
    """
    found: set[str] = set()
    for kind in ("mountinfo", "cmdline"):
        for path in Path("/proc").glob(f"[0-9]*/{kind}"):
            with contextlib.suppress(OSError):
                found |= keys_in(path.read_text(errors="replace"))
    return frozenset(found)


def keys_in(text: str) -> frozenset[str]:
    """Return the keys of the folders of ours that a list of mounts, or a command line, names.

    The folder above them may be written in many ways: the kernel escapes spaces, and a link may lead to it.
    """
    return frozenset(_MOUNTED.findall(text))


def _is_linked(path: Path, links: Counter[tuple[int, int]]) -> bool:
    """Return whether a folder that stays has the files of a package, given the links of each file that go."""
    if path.parent != _packages():
        return False
    for place, _, names in os.walk(path / "files"):
        for name in names:
            status = _status(os.path.join(place, name))
            if status and stat.S_ISREG(status.st_mode) and status.st_size:
                return status.st_nlink > links[status.st_dev, status.st_ino] + 1
    return False


def _status(path: str) -> os.stat_result | None:
    """Return the status of a file, None if another process has removed it meanwhile."""
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _freed(folder: Path, links: Counter[tuple[int, int]]) -> int:
    """Return the bytes of the files that go with a folder.

    `links` counts the links of each file that go, and the one in the store of all files, which goes with the others.
    """
    freed = 0
    for place, _, names in os.walk(folder):
        for name in names:
            status = _status(os.path.join(place, name))
            if status is None:
                continue
            this = status.st_dev, status.st_ino
            links[this] += 1
            if stat.S_ISREG(status.st_mode) and links[this] == status.st_nlink:
                freed += status.st_size
    return freed


def _remove_leftovers(now: float, used: Collection[str]) -> None:
    """Remove what killed processes left half-made, or was set aside, and the files that are in no folder."""
    for place in (_folders(), _changes(), _packages()):
        for name in _names(place):
            with contextlib.suppress(OSError):
                old = (place / name).stat().st_ctime < now - _KILLED
                if name.startswith(".") and old and name[1:65] not in used:
                    overlay_folder.remove(place / name)
    for path in (folder_store.root() / "files").glob("*/*"):
        with contextlib.suppress(OSError):
            status = path.lstat()
            # Another process may be writing a file without a name.
            unnamed = path.name.startswith(".") and status.st_ctime > now - _KILLED
            if status.st_nlink == 1 and not unnamed:
                path.unlink()


def _names(folder: Path) -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError):
        yield from os.listdir(folder)
