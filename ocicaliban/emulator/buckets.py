"""Buckets of the emulator's Cloud Storage: folders, whose files are the objects."""

from __future__ import annotations

import base64
import contextlib
import datetime
import itertools
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from attrs import frozen

MAX_PAGE = 1000
"""Objects on a page, as the reference of objects.list says for maxResults."""


@frozen(kw_only=True)
class StoredObject:
    """An object: its name in the bucket, its size in bytes, and its generation (microseconds since 1970).

    Each write changes the generation.
    """

    name: str
    size: int
    generation: int

    def resource(self, bucket: str) -> dict[str, str]:
        """Return the object as a resource of the API."""
        when = f"{datetime.datetime.fromtimestamp(self.generation / 1e6, datetime.UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        return {
            "kind": "storage#object",
            "id": f"{bucket}/{self.name}/{self.generation}",
            "bucket": bucket,
            "name": self.name,
            "size": str(self.size),
            "generation": str(self.generation),
            "metageneration": "1",
            "contentType": "application/octet-stream",
            "storageClass": "STANDARD",
            "timeCreated": when,
            "updated": when,
        }


class Bucket:
    """A folder as a bucket, below the folder of all buckets.

    Jobs write there, and may create links: no link is followed in any part of a name, so nothing outside is shown.
    """

    def __init__(self, buckets: Path, name: str) -> None:
        self._buckets = buckets
        self._name = name

    def exists(self) -> bool:
        """Return whether there is such a folder."""
        try:
            os.close(self._folder(()))
        except OSError:
            return False
        return True

    def objects(self, prefix: str) -> list[StoredObject]:
        """Return the objects whose names begin with `prefix`, sorted by their names in UTF-8."""
        *parts, _ = prefix.split("/")
        try:
            top = self._folder(parts)
        except OSError:
            return []
        above = "".join(f"{part}/" for part in parts)
        found = []
        try:
            for folder, _, names, at in os.fwalk(".", dir_fd=top, follow_symlinks=False):
                below = f"{folder[2:]}/" if folder != "." else ""
                for name in names:
                    whole = above + below + name
                    if not whole.startswith(prefix) or not _is_text(whole):
                        continue
                    with contextlib.suppress(FileNotFoundError):
                        status = os.stat(name, dir_fd=at, follow_symlinks=False)
                        if stat.S_ISREG(status.st_mode):
                            found.append(_object(whole, status))
        finally:
            os.close(top)
        return sorted(found, key=lambda each: each.name.encode())

    def open(self, name: str) -> tuple[StoredObject, BinaryIO]:
        """Return an object, and a file to read it. Raises OSError if there is none of that name."""
        *parts, last = name.split("/")
        folder = self._folder(parts)
        try:
            descriptor = _open(last, os.O_NONBLOCK, folder)
        finally:
            os.close(folder)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise FileNotFoundError(name)
        return _object(name, status), os.fdopen(descriptor, "rb")

    def _folder(self, parts: Sequence[str]) -> int:
        at = os.open(self._buckets, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for part in (self._name, *parts):
            try:
                inner = _open(part, os.O_DIRECTORY, at)
            finally:
                os.close(at)
            at = inner
        return at


def _open(part: str, flags: int, at: int) -> int:
    if part in ("", ".", "..") or "/" in part or "\0" in part:
        raise FileNotFoundError(part)
    return os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=at)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _object(name: str, status: os.stat_result) -> StoredObject:
    return StoredObject(name=name, size=status.st_size, generation=status.st_mtime_ns // 1000)


def page(objects: Sequence[StoredObject], size: int, token: str) -> tuple[Sequence[StoredObject], str]:
    """Return a page of objects, and the token of the next page, "" after the last.

    `objects` must be sorted by name. Raises ValueError if the token is not valid.
    """
    after = base64.b64decode(token, altchars="-_", validate=True) if token else b""
    size = min(size, MAX_PAGE) if size > 0 else MAX_PAGE
    rest = list(itertools.islice((each for each in objects if each.name.encode() > after), size + 1))
    more = len(rest) > size
    return rest[:size], base64.urlsafe_b64encode(rest[size - 1].name.encode()).decode() if more else ""


def compile_glob(pattern: str) -> re.Pattern[str]:
    """Return a matchGlob as a regular expression.

    `*`, `?` and `[a-z]` match within a part of a name, `**` across parts, `{a,b}` either text. `**/` at the start or
    after a slash also matches no part. Raises ValueError if the pattern is not valid.
    """
    out, depth = "", 0
    tokens = re.findall(r"\*\*/|\*\*|\\.|\[[^\]]+\]|.", pattern, re.DOTALL)
    for before, token in zip(("/", *tokens), tokens, strict=False):
        if token == "**/":
            out += "(?:.*/)?" if before.endswith("/") else ".*/"
        elif token == "**":
            out += ".*"
        elif token in ("*", "?"):
            out += {"*": "[^/]*", "?": "[^/]"}[token]
        elif token == "{":
            out, depth = f"{out}(?:", depth + 1
        elif token == "}" and depth:
            out, depth = f"{out})", depth - 1
        elif token == "," and depth:
            out += "|"
        elif token.startswith("[") and len(token) > 1:
            negated = token[1] in "!^"
            inside = re.sub(r"([\\\[\]^&~|])", r"\\\1", token[1 + negated : -1])
            out += f"(?!/)[{'^' * negated}{inside}]"
        else:
            out += re.escape(token[-1])
    try:
        return re.compile(out, re.DOTALL)
    except re.error as exc:
        raise ValueError(str(exc)) from exc
