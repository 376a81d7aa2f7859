"""Turns the log of a container that has ended into plain text, without a second copy of a large one.

What has been written as plain text is freed in conmon's file (a hole), piece by piece. A record says how far that has
come, so that a conversion which was killed goes on, and readers find each byte in one file or the other.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import BinaryIO

from ocicaliban.jobs.log_parts import END, GAP, LogParts, Moved, below, decode
from ocicaliban.system import holes

_LINES = 1 << 20  # bytes that are decoded at once
_PIECE = 8 << 20  # bytes that are freed at once; a smaller log is copied whole


def plain(log: str | Path) -> None:
    """Turn a log into plain text: the bytes that the job wrote.

    It can be called again, also after a kill in the middle. Without a log, it does nothing. Raises OSError, for example
    on a full disk: conmon's file stays then, which everything that shows logs can read.
    """
    parts = LogParts(log)
    try:
        raw = open(parts.raw, "rb")  # noqa: SIM115 - the `with` below closes it
    except FileNotFoundError:
        return
    with raw:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(raw, fcntl.LOCK_EX)
        if not os.fstat(raw.fileno()).st_nlink:
            return  # another process has done it
        if parts.moved() is None or parts.half.exists() or not parts.log.exists():
            _write(parts)
        # The order counts: a process that is killed here must not take what is left for the whole log.
        parts.first.unlink(missing_ok=True)
        parts.raw.unlink(missing_ok=True)
        parts.record.unlink(missing_ok=True)


def _write(parts: LogParts) -> None:
    try:
        with open(parts.half, "rb+", opener=_private) as text:
            text.truncate(moved.length if (moved := parts.moved()) else 0)
            text.seek(0, os.SEEK_END)
            cut = parts.is_cut
            if cut and (moved is None or moved.part == parts.first.name):
                end = _move(parts, parts.first, moved, text)
                text.write(below(end, GAP))
                moved = None
            end = _move(parts, parts.raw, moved, text)
            if cut:
                text.write(below(end, END))
            if text.tell():
                text.flush()
                os.fsync(text.fileno())  # before the other file is removed: the machine may lose power
            if cut or parts.record.exists():
                parts.keep(Moved(part=parts.raw.name, offset=parts.raw.stat().st_size, length=text.tell()))
    except OSError as fault:
        if not parts.record.exists():
            with contextlib.suppress(OSError):
                parts.half.unlink()
        raise OSError(fault.errno, fault.strerror, fault.filename or str(parts.half)) from fault
    os.replace(parts.half, parts.log)


def _move(parts: LogParts, source: Path, moved: Moved | None, text: BinaryIO) -> bytes:
    """Append what is in a file of conmon's to `text`, free it there, and return the end of it."""
    end = b""
    frees = True
    with open(source, "rb+") as file:
        freed = file.seek(moved.offset if moved else 0)
        size = os.fstat(file.fileno()).st_size
        while lines := file.readlines(_LINES):
            end = b"".join(map(decode, lines))
            text.write(end)
            done = file.tell()
            if frees and done - freed >= _PIECE and done < size:
                text.flush()
                os.fsync(text.fileno())
                parts.keep(Moved(part=source.name, offset=done, length=text.tell()))
                frees, freed = holes.free_beginning(file.fileno(), done), done
    return end or _last_byte(text)


def _last_byte(text: BinaryIO) -> bytes:
    size = text.seek(0, os.SEEK_END)
    text.seek(max(0, size - 1))
    last = text.read(1)
    text.seek(0, os.SEEK_END)
    return last


def _private(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_CREAT, 0o600)
