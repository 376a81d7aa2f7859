"""Tell which kind of file system a path is on."""

from __future__ import annotations

import os
import re
from pathlib import Path

SHARED = re.compile(
    r"nfs\d?|lustre|gpfs|beegfs|fhgfs|panfs|pvfs2|wekafs|afs|ceph|cifs|smb\d?|9p|fuse\.(sshfs|ceph|glusterfs|s3fs|gcsfuse)"
)
"""The kinds of network file systems."""


def holds_images(kind: str) -> bool:
    """Return whether podman can keep images on a file system of this kind; an unknown one is given a try.

    Network file systems and FUSE lack the extended attributes that overlay needs, and an overlay cannot lie on another.
    """
    return not (
        SHARED.fullmatch(kind) or re.fullmatch(r"fuse(blk)?(\..*)?|overlay|ecryptfs|ramfs|vfat|exfat|ntfs3?", kind)
    )


_FULL = 1 << 20
"""Bytes: a disk with less than that is full."""


def existing(path: Path) -> Path:
    """Return the path, or the nearest folder above it that exists."""
    return next((each for each in (path, *path.parents) if os.path.exists(each)), Path("/"))


def is_full(path: Path) -> bool:
    """Return whether the disk that has `path`, which need not exist, is full, or has as many files as it can have."""
    if path == Path("/dev/full"):
        return True
    try:
        found = os.statvfs(existing(path))
    except OSError:
        return False
    return found.f_blocks > 0 and (
        found.f_bavail * found.f_frsize < _FULL or bool(found.f_files and not found.f_favail)
    )


def flush(folder: Path) -> None:
    """Write what is not on the disk yet of the file system under `folder`; other file systems may hang, or be busy."""
    import ctypes  # rarely needed

    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
    finally:
        os.close(descriptor)


def mounted() -> str:
    """Return the kernel's list of mounts (mountinfo); "" if it cannot be read."""
    try:
        return Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def kind(path: Path, mountinfo: str) -> str:
    """Return the kind of file system under `path`, which need not exist; "" if unknown. See `mounted`."""
    real = Path(os.path.realpath(path))
    found, depth = "", -1
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if len(fields) < 5 or not kinds:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4]))
        # Of several mounts at one place the last one is visible.
        if real.is_relative_to(point) and len(point.parts) >= depth:
            found, depth = kinds[0], len(point.parts)
    return found
