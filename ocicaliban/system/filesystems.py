"""Tell which kind of file system a path is on."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

SHARED = re.compile(
    r"nfs\d?|lustre(_\w+)?|gpfs|beegfs(_\w+)?|fhgfs|panfs|pvfs2|orangefs|wekafs|afs|ceph|cifs|smb\d?|9p|"
    r"acfs|prl_fs|vboxsf|fuse\.(sshfs|ceph|glusterfs|s3fs|gcsfuse|gpfs|lustre)"
)
"""The kinds of network file systems."""

_UNSUITED = re.compile(r"fuse(blk)?(\..*)?|overlay|ecryptfs|ramfs|vfat|msdos|exfat|ntfs3?|autofs|squashfs|iso9660")
_LOCAL = re.compile(r"ext[234]|xfs|btrfs|zfs|f2fs|bcachefs|jfs|reiserfs|tmpfs")
"""The kinds whose names leave no doubt. Others may be network disks of a vendor, or FUSE under another name."""

_NO_ATTRIBUTES = "tmpfs without extended attributes"
"""What `kind` says of a tmpfs before Linux 6.6."""

# By the number that statfs(2) gives, see its manual page and the list in coreutils' stat.c.
_MAGIC = {
    0x6969: "nfs", 0x0BD00BD0: "lustre", 0x47504653: "gpfs", 0x65735546: "fuse", 0x794C7630: "overlay",
    0x19830326: "beegfs", 0xAAD7AAEA: "panfs", 0x20030528: "pvfs2", 0x5346414F: "afs", 0x6B414653: "afs",
    0x00C36400: "ceph", 0xFF534D42: "cifs", 0xFE534D42: "smb2", 0x517B: "smb", 0x01021997: "9p", 0x0187: "autofs",
    0xF15F: "ecryptfs", 0x858458F6: "ramfs", 0x4D44: "vfat", 0x2011BAB0: "exfat", 0x5346544E: "ntfs",
    0x73717368: "squashfs", 0x9660: "iso9660",
}  # fmt: skip


def holds_images(kind: str) -> bool:
    """Return whether podman can keep images on a file system of this kind; an unknown one is given a try.

    Network file systems and FUSE lack the extended attributes that overlay needs, and an overlay cannot lie on another.
    """
    return not (kind == _NO_ATTRIBUTES or SHARED.fullmatch(kind) or _UNSUITED.fullmatch(kind))


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


def kind_now(path: Path, mountinfo: str) -> str:
    """Return what `kind` says, or where its answer leaves doubt, what the kernel says of the path.

    A vendor may call a network disk what it wants, and a disk that is mounted when it is used (autofs) is mounted only
    after the list was read. A tmpfs is tried: only newer kernels give it the extended attributes that overlay needs.
    """
    said = kind(path, mountinfo)
    if _LOCAL.fullmatch(said):
        lacks = said == "tmpfs" and not _keeps_attributes(_existing(path))
        return _NO_ATTRIBUTES if lacks else said
    if said != "autofs" and not holds_images(said):
        return said
    return _MAGIC.get(magic(_existing(path)), "" if said == "autofs" else said)


def magic(path: Path) -> int:
    """Return the number by which the kernel knows a kind of file system (`f_type` of statfs), 0 if it does not say."""
    import ctypes

    buffer = ctypes.create_string_buffer(512)
    if ctypes.CDLL(None).statfs(os.fsencode(path), buffer):
        return 0
    return ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF


def _existing(path: Path) -> Path:
    """Return the path, or the nearest folder above it that exists."""
    return next((each for each in (path, *path.parents) if os.path.exists(each)), Path("/"))


def _keeps_attributes(folder: Path) -> bool:
    """Return whether files in a folder can have extended attributes of users; yes if that cannot be tried."""
    with contextlib.suppress(OSError):
        opened = os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600)
        try:
            os.setxattr(opened, "user.ocicaliban", b"")
        except OSError:
            return False
        finally:
            os.close(opened)
    return True


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


_SMALLEST = 64 << 20  # bytes; what podman gives a container


def shared_memory() -> int:
    """Return the bytes of this machine's /dev/shm, 0 if a container may have what podman gives it."""
    try:
        found = os.statvfs("/dev/shm")
    except OSError:
        return 0
    size = found.f_blocks * found.f_frsize
    return size if size > _SMALLEST and os.path.ismount("/dev/shm") else 0
