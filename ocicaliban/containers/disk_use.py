"""What to tell people when a disk is full: which folder, how full it is, and what of ours is large there."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from attrs import frozen

from ocicaliban.containers import image_store
from ocicaliban.errors import DiskFull, OcicalibanError, ToolError, is_about_room
from ocicaliban.formats.text import amount
from ocicaliban.system import files, filesystems

_PATH = re.compile(r"(?<![\w/])/[^\s:'\",;()]+")
_PATIENCE = 2.0
"""Seconds that looking for what is large may take."""
_SMALL = 1_000_000
"""Bytes of what is not worth a mention."""


@frozen(kw_only=True)
class _Use:
    """What uses a disk: `size` is in bytes, at least so many if it is not `whole`."""

    what: str
    where: Path
    size: int
    whole: bool = True

    def __str__(self) -> str:
        return f"{self.what} {'' if self.whole else 'more than '}{amount(self.size)} in {self.where}"


def explained(fault: OcicalibanError, folders: Iterable[str] = ()) -> OcicalibanError:
    """Return a fault for want of space with the full folder and what is large there in it; another one as it is.

    `folders` are where something was to be written, beside those of ours.
    """
    if not is_about_room(fault):
        return fault
    place = _place(fault, [*filter(None, folders)])
    if place is None:
        return fault
    named = str(place) in fault.message
    if place.is_char_device():  # it is full, and no disk is: /dev/full
        told = DiskFull(fault.message if named else f"{place}: {fault.message}", "free disk space", path=str(place))
        told.exit_code = fault.exit_code
        return told
    where = "" if named else f"{place}: "
    message = f"{fault.message} ({where}{_how_full(place)})" if _how_full(place) else fault.message
    full = DiskFull(message, _hint(place), path=str(place))
    full.exit_code = fault.exit_code
    return full


def _place(fault: OcicalibanError, folders: list[str]) -> Path | None:
    """Return the folder or file that there was no room for, or that lies on a full disk."""
    if isinstance(fault, DiskFull) and fault.path:
        return Path(fault.path)
    said = [*_PATH.findall(fault.message)]
    ours = [files.state(), files.cache(), Path(tempfile.gettempdir()), *_store(), Path(os.path.curdir).absolute()]
    known = [*map(Path, said), *map(Path, folders), *ours, *_output()]
    if full := next(filter(filesystems.is_full, known), None):
        return full
    # A tool that stores an image cleans up before it ends, and names what it has read.
    return next(iter(_store()), None) if isinstance(fault, ToolError) else Path(said[0]) if said else None


def _output() -> Iterator[Path]:
    """Yield the file that our output goes to."""
    with contextlib.suppress(OSError, ValueError):
        yield Path(os.readlink(f"/proc/self/fd/{sys.stdout.fileno()}"))


def _store() -> list[Path]:
    """Return the folder of the image store, if it is known."""
    with contextlib.suppress(OcicalibanError, OSError, ValueError):
        return [image_store.location()[0]]
    return []


def _how_full(place: Path) -> str:
    with contextlib.suppress(OSError):
        found = os.statvfs(filesystems.existing(place))
        if found.f_files and not found.f_favail:
            return f"none of {found.f_files:,} files is left on that disk"
        if found.f_blocks:
            return f"{amount(found.f_bavail * found.f_frsize)} free of {amount(found.f_blocks * found.f_frsize)}"
    return ""


def _hint(place: Path) -> str:
    disk = filesystems.existing(place)
    disk = disk if disk.is_dir() else disk.parent
    found = sorted(_large(disk), key=lambda use: -use.size)
    if not found:
        top = next(each for each in (disk, *disk.parents) if os.path.ismount(each))
        return f"free disk space: `du -xh {top} | sort -h | tail` shows what uses it"
    clean = "; `ocicaliban clean --all --dry-run` lists the images" if any(u.what == "images" for u in found) else ""
    return f"free disk space: {', '.join(map(str, found))}{clean}"


def _large(disk: Path) -> Iterator[_Use]:
    """Yield what is large on the disk that has this folder: of ours, and in the folder."""
    device = disk.stat().st_dev
    until = time.monotonic() + _PATIENCE
    for root in _store():
        with contextlib.suppress(OcicalibanError, OSError, ValueError):
            size = sum(image_store.layer_sizes().values())
            if root.stat().st_dev == device and size >= _SMALL:
                yield _Use(what="images", where=root, size=size)
    jobs = files.state() / "jobs"
    logs = results = 0
    whole = True
    for path, size in _files(jobs, device):
        if path.count(os.sep) == str(jobs).count(os.sep) + 3:  # GROUP/JOB/attempt-N.log
            logs += size
        else:
            results += size
        if time.monotonic() > until:
            whole = False
            break
    folders = [("logs", jobs, logs, whole), ("results", jobs, results, whole)]
    for what, where in (("the cache", files.cache()), ("files", disk)):
        if what == "files" and (_is_ours(where) or where == Path("/")):
            continue
        size, whole = 0, True
        for _, each in _files(where, device):
            size += each
            if time.monotonic() > until:
                whole = False
                break
        folders.append((what, where, size, whole))
    for what, where, size, whole in folders:
        if size >= _SMALL:
            yield _Use(what=what, where=where, size=size, whole=whole)


def _is_ours(place: Path) -> bool:
    return any(place.is_relative_to(each) for each in (files.state(), files.cache(), *_store()))


def _files(folder: Path, device: int) -> Iterator[tuple[str, int]]:
    """Yield the files below a folder on a device, and the bytes of the disk that each uses."""
    left = [str(folder)]
    while left:
        with contextlib.suppress(OSError), os.scandir(left.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if status.st_dev != device:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)
                    else:
                        yield entry.path, status.st_blocks * 512
