"""Read the upper folder of an overlay: what was changed in a mounted folder (kernel, filesystems/overlayfs)."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

_OPAQUE = ("user.overlay.opaque", "trusted.overlay.opaque", "user.fuseoverlayfs.opaque")
_MARKS = (".wh.", ".wh..wh..opq")
"""How fuse-overlayfs marks what was removed, where it cannot make devices."""


def removed(item: os.DirEntry[str]) -> str:
    """Return the name of the entry that was removed if one stands for that, "" if it is what it seems to be."""
    if item.name.startswith(_MARKS[0]):
        return item.name.removeprefix(_MARKS[0])
    status = item.stat(follow_symlinks=False)
    return item.name if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0 else ""


def is_opaque(folder: str) -> bool:
    """Return whether a folder replaces the one below it, whose entries were all removed."""
    try:
        marked = any(name in _OPAQUE and os.getxattr(folder, name) == b"y" for name in os.listxattr(folder))
    except OSError:
        marked = False
    return marked or os.path.lexists(f"{folder}/{_MARKS[1]}")


def make(folder: Path) -> tuple[Path, str]:
    """Make the folders of an overlay in `folder`; return the one for the changes, and the options of the mount."""
    upper, work = folder / "upper", folder / "work"
    for each in (upper, work):
        each.mkdir(parents=True)
        each.chmod(0o755)
    return upper, f"O,upperdir={upper},workdir={work}"


def remove(folder: Path) -> None:
    """Remove the folders of an overlay; the kernel lets nobody read the one for its own work."""
    for path in (folder / "work").glob("*"):
        if path.is_dir() and not path.is_symlink():  # a file may have links in other folders
            path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
