"""Name the folders of our settings, state and cache (XDG base directories), and replace files in them safely."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path


def _xdg(variable: str, default: str, environ: Mapping[str, str]) -> Path:
    # The specification says to ignore relative paths.
    value = environ.get(variable, "")
    return Path(value) if value.startswith("/") else Path(environ.get("HOME") or "~").expanduser() / default


def settings(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder in which each program has a folder for the user's settings."""
    return _xdg("XDG_CONFIG_HOME", ".config", environ)


def config() -> Path:
    """Return the folder of the user's settings for all projects."""
    return settings() / "ocicaliban"


def state() -> Path:
    """Return the folder of files that must be kept: the history, the last plans, when images were used."""
    return _xdg("XDG_STATE_HOME", ".local/state", os.environ) / "ocicaliban"


def cache() -> Path:
    """Return the folder of files that can be made again."""
    return _xdg("XDG_CACHE_HOME", ".cache", os.environ) / "ocicaliban"


def kept_caches() -> Path:
    """Return the folder of what programs in containers put into ~/.cache, such as models, to be used again."""
    return cache() / "home"


def work() -> Path:
    """Return the folder of builds in progress."""
    return cache() / "work"


def used(image: str) -> Path:
    """Return the file whose modification time tells when the image with this id was last used."""
    return state() / "used" / image


def make_private() -> None:
    """Let only the user enter the folders of our state and cache, whatever the umask; make them if they are missing.

    What lies directly in them is closed too, in case it is moved elsewhere. They hold logs, results and command lines
    of jobs. Folders that are another user's, or cannot be changed, stay.
    """
    for folder in (state(), cache()):
        with contextlib.suppress(OSError):
            try:
                _close(os.stat(folder), str(folder))
            except FileNotFoundError:
                folder.parent.mkdir(parents=True, exist_ok=True)
                folder.mkdir(mode=0o700)
                continue
            with os.scandir(folder) as inside:
                for entry in inside:
                    with contextlib.suppress(OSError):
                        _close(entry.stat(follow_symlinks=False), entry.path)
    with contextlib.suppress(OSError):
        _close_state()


_CLOSED = ".closed"
"""A file in the state folder that says that what earlier versions left open in it was closed."""


def _close_state() -> None:
    """Close all that an earlier version made in the state folder, once: logs, records, folders of results."""
    folder = state()
    if os.path.lexists(folder / _CLOSED):
        return
    for path, folders, names in os.walk(folder):
        for name in (*folders, *names):
            with contextlib.suppress(OSError):
                inside = os.path.join(path, name)
                _close(os.lstat(inside), inside)
    os.close(os.open(folder / _CLOSED, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def make_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing. Those in our state and cache are closed to others.

    Raises OSError, also if it is a file.
    """
    missing = [folder]
    while not missing[-1].parent.is_dir() and missing[-1].parent != missing[-1]:
        missing.append(missing[-1].parent)
    for each in reversed(missing):
        own = each.is_relative_to(state()) or each.is_relative_to(cache())
        each.mkdir(mode=0o700 if own else 0o777, exist_ok=True)


def _close(status: os.stat_result, path: str) -> None:
    """Let only its owner, if we are it, use a file or a folder."""
    kept = stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)
    if kept and status.st_uid == os.geteuid() and status.st_mode & 0o077:
        os.chmod(path, stat.S_IMODE(status.st_mode) & 0o700)


def identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another one at the same place; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def replace(path: Path, content: str | bytes, *, mode: int = 0o666, lasting: bool = False) -> None:
    """Replace the file `path` atomically: readers see the old contents or the new ones, never a part.

    `mode` is the new file's, minus the umask. With `lasting` the new file is on the disk before it replaces the old
    one, so that a power failure leaves one of the two. Raises OSError naming `path`; then the old file is unchanged,
    and no other file is left.
    """
    half = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        with open(half, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        os.replace(half, path)
    except BaseException as fault:  # a Ctrl-C too
        with contextlib.suppress(OSError):
            os.unlink(half)
        if isinstance(fault, OSError):
            fault.filename = str(path)
        raise


def keep(path: Path, content: str | bytes, *, mode: int = 0o600) -> None:
    """Replace a file of ours as `replace` does, and make its folder if necessary; the contents can be made again."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace(path, content, mode=mode)
