"""Read one entry of a tree, a file or a link, and refuse what an image cannot or must not contain."""

from __future__ import annotations

import hashlib
import os
import posixpath
import shlex
import stat
import time
from typing import Any

from ocicaliban.errors import OcicalibanError
from ocicaliban.model.image import TreeEntry
from ocicaliban.project import credential_files
from ocicaliban.project.ignore_rules import printable_path

_RACY_NS = 2_000_000_000
_CHUNK = credential_files.SCANNED


_PLACE = "{path}"


class Refused(Exception):
    """A path that an image cannot or must not contain, with the line if it is known.

    `fix` is the alternative to ignoring it, for the hint; `{path}` in it is the path in the project.
    """

    def __init__(self, path: str, what: str, fix: str, line: int = 0) -> None:
        super().__init__(path, what, fix, line)
        self.path, self.what, self.fix, self.line = path, what, fix, line

    def as_error(self, top: str, ignore_file: str) -> OcicalibanError:
        """Return the error; `top` is the tree's folder in the project, `ignore_file` the one that applies, or ""."""
        path = printable_path(posixpath.join(top, self.path))
        fix = self.fix.replace(_PLACE, shlex.quote(path))
        hint = f"add {path} to {ignore_file}, or {fix}" if ignore_file else fix
        return OcicalibanError(f"{path}{f':{self.line}' if self.line else ''}: {self.what}", hint)


def unreadable(path: str, fault: OSError) -> Refused:
    """Return the refusal of a path that cannot be read."""
    return Refused(path, f"cannot be read: {fault.strerror}", "make it readable")


def special(path: str) -> Refused:
    """Return the refusal of a path that is no file, folder or link."""
    return Refused(path, "is a socket, FIFO or device, which an image cannot contain", "remove it")


def read_link(absolute: str, path: str, top: str) -> TreeEntry:
    """Read the link at `path` of the tree in the folder `top`; raises Refused if it leaves the project."""
    try:
        target = os.readlink(absolute)
    except OSError as fault:
        raise unreadable(path, fault) from fault
    if not is_utf8(target):
        raise Refused(path, "links to a name that is not UTF-8", "rename the target")
    place = posixpath.join(top, path)
    resolved = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
    if target.startswith("/") or resolved == ".." or resolved.startswith("../"):
        mount = f'--podman-args "-v {printable_path(os.path.realpath(absolute))}:/usr/app/{printable_path(place)}:ro"'
        raise Refused(
            path,
            f"links out of the project, to {target}",
            f"link to a path in the project, relatively; to mount what is left out of the image: {mount}",
        )
    return TreeEntry(path=path, kind="link", digest=target)


def is_utf8(text: str) -> bool:
    """Return whether a name of the file system is UTF-8."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _signature(status: os.stat_result) -> list[Any]:
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def read_file(absolute: str, path: str, *, may_be_secret: bool = False) -> tuple[TreeEntry, list[Any] | None]:
    """Read a file; also return what to keep in the memo, None if the file changed too recently to be trusted.

    If it `may_be_secret`, it may contain a credential, and the memo does not keep it, as it is read without one.
    Raises Refused if the file cannot be read, or contains a credential.
    """
    now = time.time_ns()
    hasher = hashlib.sha256()
    size = 0
    first = b""
    try:
        handle = os.open(absolute, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            before = os.fstat(handle)
            if not stat.S_ISREG(before.st_mode):
                raise special(path)
            while chunk := os.read(handle, _CHUNK):
                hasher.update(chunk)
                first = first or chunk
                size += len(chunk)
            after = os.fstat(handle)
        finally:
            os.close(handle)
    except OSError as fault:
        raise unreadable(path, fault) from fault
    found = credential_files.credential_in(first, path, whole=size == len(first))
    if found and not may_be_secret:
        raise Refused(path, f"contains {found.what}, which must not enter an image", _fix(path, found.what), found.line)
    digest = hasher.hexdigest()
    entry = TreeEntry(path=path, kind="file", digest=digest, size=size, executable=bool(after.st_mode & stat.S_IXUSR))
    settled = now - max(after.st_mtime_ns, after.st_ctime_ns) > _RACY_NS
    if found or not settled or _signature(before) != _signature(after) or size != after.st_size:
        return entry, None
    return entry, [*_signature(after), digest]


def own(absolute: str, path: str) -> TreeEntry:
    """Return the entry of a file or a link that our own steps have made: it is not searched for credentials."""
    status = os.lstat(absolute)
    if stat.S_ISLNK(status.st_mode):
        return TreeEntry(path=path, kind="link", digest=os.readlink(absolute))
    with open(absolute, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    executable = bool(status.st_mode & stat.S_IXUSR)
    return TreeEntry(path=path, kind="file", digest=digest, size=status.st_size, executable=executable)


def _fix(path: str, what: str) -> str:
    """Return what to do about a file with a credential, other than leaving it out."""
    if "Google" in what or "service account" in what:
        fix = "move it elsewhere (--cloud-key gives a Google key to a container without adding it to an image)"
    elif what.startswith("a URL"):
        fix = "take it out of the URL (~/.netrc is read, and so are the settings of pip and uv in your home folder)"
    else:
        fix = "move it out of the project"
    return f"{fix}; if the image may contain it: --allow-secret {_PLACE}"
