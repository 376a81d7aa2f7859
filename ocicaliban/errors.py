"""Errors that users can act on: a message, a hint, an exit code."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable


class OcicalibanError(Exception):
    """An error that the user can act on.

    `message` says what is wrong, `hint` what to do; `exit_code` is 1, or 2 for wrong usage.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(OcicalibanError):
    """The command line, or a file that the user writes, is wrong."""

    exit_code = 2


class ToolError(OcicalibanError):
    """A tool that we run (buildah, podman, uv, mmdebstrap) failed; `stderr` is what it wrote there."""

    def __init__(self, message: str, hint: str = "", *, stderr: str = "") -> None:
        super().__init__(message, hint)
        self.stderr = stderr


class DiskFull(OcicalibanError):
    """There is no space left for what must be written, which is at `path` ("" if that is unknown)."""

    def __init__(self, message: str, hint: str = "", *, path: str = "") -> None:
        super().__init__(message, hint)
        self.path = path


class SettingError(UsageError):
    """A wrong value in a project's configuration; `keys` lead to it, and a caller adds file and line."""

    def __init__(self, message: str, hint: str = "", *, keys: tuple[str, ...]) -> None:
        super().__init__(message, hint)
        self.keys = keys


_NO_ROOM = re.compile(r"no space left on device|disk quota exceeded", re.I)


def is_about_room(fault: OcicalibanError) -> bool:
    """Return whether a fault says that a disk, or the user's part of it, is full."""
    words = fault.message + (fault.stderr if isinstance(fault, ToolError) else "")
    return isinstance(fault, DiskFull) or bool(_NO_ROOM.search(words))


_NAMED = 50


def nearest(name: str, names: Iterable[str]) -> str:
    """Return a hint for a `name` that does not exist: the most similar one of `names`, or else a list of them."""
    import difflib  # only an error needs it

    known = list(names)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    return f"there are: {', '.join(known[:_NAMED])}{more}" if known else "there are none"


def first_line(exc: BaseException) -> str:
    """Return the message of a library's exception in one line: the system's message, or else its own first line."""
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    said = exc if isinstance(exc, UnicodeError) or not exc.args else exc.args[0]  # the other arguments are for programs
    return (str(said).splitlines() or [""])[0] or type(exc).__name__


_ROOM = "free disk space: `podman system df` and `ocicaliban clean --all --dry-run` show what uses it"
_OS_HINTS = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EROFS: "the file system is read-only: set XDG_CACHE_HOME, XDG_STATE_HOME and TMPDIR to another one",
    errno.EACCES: "check its owner and permissions with `ls -ld`",
    errno.EPERM: "check its owner and permissions with `ls -ld`",
    errno.EMFILE: "raise the limit of open files: ulimit -n 4096",
}


def of_system(fault: OSError) -> OcicalibanError:
    """Return an error of the operating system (no space, no permission) as one of ours."""
    if fault.errno == errno.ENOENT and not fault.filename:
        return OcicalibanError("the current folder no longer exists", "change to another folder")  # getcwd()
    where = os.fsencode(fault.filename).decode("utf-8", "backslashreplace") if fault.filename else ""
    why = fault.strerror or str(fault)
    hint = _OS_HINTS.get(fault.errno or 0, "see `ocicaliban doctor`; --debug shows a traceback")
    message = f"{where}: {why}" if where else why
    if fault.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(message, hint, path=where)
    return OcicalibanError(message, hint)
