"""What goes wrong, said once: a message, a hint, an exit code."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable


class OcicalibanError(Exception):
    """A fault that the user can act on.

    `message` says what is wrong, `hint` what to do; `exit_code` is 1 for ours and 2 for wrong usage.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(OcicalibanError):
    """The command line, or a file that the user writes, asks for something that does not exist."""

    exit_code = 2


class ToolError(OcicalibanError):
    """A tool that we drive (buildah, podman, uv, mmdebstrap) failed; `stderr` holds its own words."""

    def __init__(self, message: str, hint: str = "", *, stderr: str = "") -> None:
        super().__init__(message, hint)
        self.stderr = stderr


class SettingError(UsageError):
    """A wrong value in a project's configuration; `keys` lead to it, for whoever knows the file to name the line."""

    def __init__(self, message: str, hint: str = "", *, keys: tuple[str, ...]) -> None:
        super().__init__(message, hint)
        self.keys = keys


_NAMED = 50


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint for a `name` that does not exist: the one of `names` that was probably meant, or else what there is."""
    import difflib  # only a fault needs it

    known = list(names)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    return f"there are: {', '.join(known[:_NAMED])}{more}" if known else "there are none"


def first_line(exc: BaseException) -> str:
    """What an exception of another's code says, in one line: the system's words, else the first line of its own."""
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    said = exc if isinstance(exc, UnicodeError) or not exc.args else exc.args[0]  # what follows is for programs
    return (str(said).splitlines() or [""])[0] or type(exc).__name__


def printable(text: str) -> str:
    """`text` of somebody else's without what a terminal would obey: control characters, and those that hide."""
    return "".join(each if each.isprintable() else " " for each in text)


_ROOM = "make room: `podman system df` and `ocicaliban clean --all --dry-run` show what takes it"
_OS_HINTS = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EROFS: "that file system is read-only: XDG_CACHE_HOME, XDG_STATE_HOME and TMPDIR can point to another",
    errno.EACCES: "make it accessible to you",
    errno.EPERM: "make it accessible to you",
    errno.EMFILE: "raise the limit of open files: ulimit -n 4096",
}


def of_system(fault: OSError) -> OcicalibanError:
    """What the operating system refused (no room, no permission) as an error of ours."""
    if fault.errno == errno.ENOENT and not fault.filename:
        return OcicalibanError("the current folder does not exist any more", "change to another one")  # getcwd()
    where = os.fsencode(fault.filename).decode("utf-8", "backslashreplace") if fault.filename else ""
    why = fault.strerror or str(fault)
    hint = _OS_HINTS.get(fault.errno or 0, "see `ocicaliban doctor`; --debug shows where it came from")
    return OcicalibanError(f"{where}: {why}" if where else why, hint)
