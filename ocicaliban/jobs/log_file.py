"""Reads a job's log: in conmon's format while the job runs, and as plain text afterwards (see `log_parts`)."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from ocicaliban.formats.text import without_controls
from ocicaliban.jobs import log_conversion
from ocicaliban.jobs.log_parts import END, GAP, LogParts, below, decode, is_ours, split
from ocicaliban.system.files import identity

_TAIL = 32 << 10  # bytes; a line of conmon has 8 KiB of the job's bytes at most
_SEEN = 400
_CHUNK = 1 << 16
_COMPARED = 256  # bytes by which a place in the plain text is found again


def raw(log: str | Path) -> Path:
    """Return the file that conmon writes; `plain` removes it."""
    return LogParts(log).raw


def plain(log: str | Path) -> None:
    """Turn the log of a container that has ended into plain text; see `log_conversion.plain`. Raises OSError."""
    log_conversion.plain(log)


def last_line(log: str | Path) -> str:
    """Return the last line of the job that is not blank, as a terminal would show it; "" where there is none.

    It reads only the end of the file. A progress bar that uses carriage returns shows its newest state.
    """
    for line in reversed(_tail(log).split("\n")):
        for part in reversed(line.split("\r")):
            if (shown := without_controls(part.replace("\t", " ")).strip()) and not is_ours(shown):
                return shown[:_SEEN]
    return ""


def last_text(log: str | Path) -> str:
    """Return the end of what the job wrote, as a terminal would show it; "" where there is no log."""
    return without_controls(_tail(log))


def _tail(log: str | Path) -> str:
    """Return the end of what the job wrote, as it is; "" where there is no log."""
    file, conmons = _open(LogParts(log))
    if file is None:
        return ""
    with file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        data = file.read()
    if conmons:
        lines = split(data)
        data = b"".join(map(decode, lines[1:] if size > _TAIL else lines))
    return data.decode("utf-8", "replace")


def _open(parts: LogParts) -> tuple[BinaryIO | None, bool]:
    """Return the file with the end of the log, open for reading, and whether it is in conmon's format."""
    for path, conmons in ((parts.raw, True), (parts.log, False)):
        with contextlib.suppress(FileNotFoundError):
            return open(path, "rb"), conmons
    return None, False


def _opened(path: Path) -> BinaryIO:
    return open(path, "rb")


def follow(log: str | Path, ended: Callable[[], bool], pause: float = 0.1) -> Iterator[bytes]:
    """Yield what the job writes, from the first byte on, until `ended()` is true and nothing is left.

    `pause` is in seconds.
    """
    with contextlib.closing(_Reader(LogParts(log))) as reader:
        while True:
            # Asked before reading, so that all that was written until then is read.
            last = ended()
            yield from reader.available()
            if reader.is_whole:
                return
            if last:
                yield from reader.rest()
                return
            time.sleep(pause)


class _Reader:
    """Reads what a job wrote, from the first byte on, wherever that is at the moment.

    A file of conmon's may be full and be replaced by a new one, and in the end it becomes plain text, piece by piece.
    So the reader knows its place in the plain text, and looks after each read whether what it read was there.
    """

    def __init__(self, parts: LogParts) -> None:
        self._parts = parts
        self._file: BinaryIO | None = None
        self._kind: Literal["conmon", "half", "plain"] = "conmon"
        self._rest = b""  # a line of conmon's without its end
        self._at = 0  # the place in the plain text
        self._tail = 0  # where what conmon wrote last begins in it
        self._read = b""  # the end of what was read
        self.is_whole = False
        """Whether all of the plain text was read."""

    def close(self) -> None:
        """Close the file that is being read."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def available(self) -> Iterator[bytes]:
        """Yield what is there now."""
        while self._file is not None or self._reopen():
            assert self._file is not None
            before = self._file.tell()
            chunk = self._file.read(self._most())
            if self._kind == "conmon" and not self._is_there(before):
                self.close()
            elif chunk:
                yield from self._taken(self._decoded(chunk) if self._kind == "conmon" else chunk)
            elif self._kind == "half":
                self.close()
            elif self._kind == "plain":
                self.is_whole = True
                return
            elif self._is_latest():
                return
            else:
                yield from self._next()

    def rest(self) -> Iterator[bytes]:
        """Yield what is left of a log that stays in conmon's format."""
        if self._rest:
            yield from self._taken(decode(self._rest))
        if self._at and self._parts.is_cut:
            yield below(self._read, END)

    def _taken(self, text: bytes) -> Iterator[bytes]:
        if text:
            self._at += len(text)
            self._read = (self._read + text)[-_COMPARED:]
            yield text

    def _decoded(self, chunk: bytes) -> bytes:
        lines = split(self._rest + chunk)
        self._rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        return b"".join(map(decode, lines))

    def _most(self) -> int:
        if self._kind != "half":
            return _CHUNK
        moved = self._parts.moved()
        return max(0, min(_CHUNK, moved.length - self._at)) if moved else 0

    def _is_there(self, before: int) -> bool:
        """Return whether what was read from `before` on had not become plain text meanwhile."""
        latest = identity(self._parts.raw)
        if latest is None:
            return False
        moved = self._parts.moved()
        if moved is None:
            return True
        mine = self._inode()
        if mine == latest:
            return moved.part != self._parts.raw.name or moved.offset <= before
        return mine != identity(self._parts.first) or (moved.part == self._parts.first.name and moved.offset <= before)

    def _inode(self) -> tuple[int, int]:
        assert self._file is not None
        found = os.fstat(self._file.fileno())
        return found.st_dev, found.st_ino

    def _is_latest(self) -> bool:
        return self._inode() == identity(self._parts.raw)

    def _next(self) -> Iterator[bytes]:
        """Go on in the file that conmon began when the one that was read was full."""
        if self._inode() == identity(self._parts.first):
            yield from self._taken(below(self._read, GAP))
            self._tail = self._at
        self._at = self._tail  # what was read since then is in no file any more
        self.close()
        self._rest = b""
        with contextlib.suppress(FileNotFoundError):
            self._file = _opened(self._parts.raw)

    def _reopen(self) -> bool:
        """Open the file that has the present place; return False if there is none yet."""
        self._rest = b""
        with contextlib.suppress(FileNotFoundError):
            moved = self._parts.moved()
            if not self._parts.raw.exists() or (moved and not self._parts.half.exists()):
                self._kind, self._file = "plain", _opened(self._parts.log)
                self._find_place()
            elif moved and self._at < moved.length:
                self._kind, self._file = "half", _opened(self._parts.half)
                self._file.seek(self._at)
            else:
                beginning = moved.part == self._parts.first.name if moved else self._at == 0 and self._parts.is_cut
                self._kind, self._file = "conmon", _opened(self._parts.first if beginning else self._parts.raw)
                self._file.seek(moved.offset if moved else 0)
        return self._file is not None

    def _find_place(self) -> None:
        """Go to the present place in the plain text; to its last part, if conmon began another file unnoticed."""
        assert self._file is not None
        self._file.seek(max(0, self._at - len(self._read)))
        if self._file.read(len(self._read)) != self._read:
            self._at = self._tail
            self._file.seek(self._at)
