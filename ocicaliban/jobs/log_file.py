"""A job's log: in conmon's format while the job runs, and as plain text afterwards.

conmon's lines (podman's log driver k8s-file, the format of CRI) are `TIME STREAM P|F BYTES`; after P, the next line
continues this one. They are in the file `raw(log)`, and the plain text is in `log` itself: so the format of a file is
always known, whatever the job printed, and wherever this process was killed.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from ocicaliban.formats.text import without_controls

_TAIL = 32 << 10  # bytes; a line of conmon has 8 KiB of the job's bytes at most
_SEEN = 400


def raw(log: str | Path) -> Path:
    """Return the file that conmon writes; `plain` removes it."""
    return Path(f"{log}.conmon")


def decode(line: bytes) -> bytes:
    """Return what the job wrote, from one line of conmon's. A line of another form is returned as it is."""
    parts = line.split(b" ", 3)
    if len(parts) != 4 or parts[1] not in (b"stdout", b"stderr") or parts[2] not in (b"P", b"F"):
        return line
    text = parts[3]
    return text if parts[2] == b"F" else text.removesuffix(b"\n")


def plain(log: str | Path) -> None:
    """Turn the log of a container that has ended into plain text: the bytes that the job wrote.

    It can be called again, also after a kill in the middle. Without a log, it does nothing. Raises OSError.
    """
    source = raw(log)
    try:
        lines = open(source, "rb")  # noqa: SIM115 - the `with` below closes it
    except FileNotFoundError:
        return
    half = Path(f"{log}.half")
    try:
        with lines, open(half, "wb", opener=_private) as text:
            text.writelines(decode(line) for line in lines)
            if text.tell():
                text.flush()
                os.fsync(text.fileno())  # before the other file is removed: the machine may lose power
    except OSError as fault:
        # A full disk. conmon's file stays, which everything that shows logs can read.
        with contextlib.suppress(OSError):
            half.unlink()
        raise OSError(fault.errno, fault.strerror, fault.filename or str(half)) from fault
    os.replace(half, log)
    source.unlink()


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


def last_line(log: str | Path) -> str:
    """Return the last line that is not blank, as a terminal would show it; "" where there is none.

    It reads only the end of the file. A progress bar that uses carriage returns shows its newest state.
    """
    for line in reversed(_tail(log).split("\n")):
        for part in reversed(line.split("\r")):
            if shown := without_controls(part.replace("\t", " ")).strip():
                return shown[:_SEEN]
    return ""


def last_text(log: str | Path) -> str:
    """Return the end of what the job wrote, as a terminal would show it; "" where there is no log."""
    return without_controls(_tail(log))


def _tail(log: str | Path) -> str:
    """Return the end of what the job wrote, as it is; "" where there is no log."""
    file, conmons = _open(log)
    if file is None:
        return ""
    with file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        data = file.read()
    if conmons:
        lines = _split(data)
        data = b"".join(map(decode, lines[1:] if size > _TAIL else lines))
    return data.decode("utf-8", "replace")


def follow(log: str | Path, ended: Callable[[], bool], pause: float = 0.1) -> Iterator[bytes]:
    """Yield what the job writes, from the first byte on, until `ended()` is true and nothing is left.

    `pause` is in seconds.
    """
    file, conmons = _open(log)
    while file is None:
        if ended():
            file, conmons = _open(log)
            break
        time.sleep(pause)
        file, conmons = _open(log)
    if file is None:
        return
    with file:
        if not conmons:
            while chunk := file.read(1 << 16):
                yield chunk
            return
        rest = b""
        while True:
            # Asked before reading, so that all that was written until then is read.
            last = ended() or os.fstat(file.fileno()).st_nlink == 0
            while chunk := file.read(1 << 16):
                lines = _split(rest + chunk)
                rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
                if text := b"".join(map(decode, lines)):
                    yield text
            if last:
                if rest:
                    yield decode(rest)
                return
            time.sleep(pause)


def _split(data: bytes) -> list[bytes]:
    """Return the lines with their ends; splitlines would split at carriage returns too."""
    return [line + b"\n" for line in data.split(b"\n")[:-1]] + ([tail] if (tail := data.rsplit(b"\n", 1)[-1]) else [])


def _open(log: str | Path) -> tuple[BinaryIO | None, bool]:
    """Return the log, open for reading, and whether it is in conmon's format."""
    for path, conmons in ((raw(log), True), (Path(log), False)):
        with contextlib.suppress(FileNotFoundError):
            return open(path, "rb"), conmons
    return None, False
