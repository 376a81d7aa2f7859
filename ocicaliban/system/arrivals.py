"""Tells which files are moved into a folder, at once and each one: the kernel reports them (inotify(7))."""

from __future__ import annotations

import contextlib
import os
import select
import struct
import threading
from collections.abc import Callable
from pathlib import Path

_MOVED_TO, _OVERFLOW = 0x80, 0x4000
_HEAD = struct.Struct("iIII")
_OFTEN = 0.005
"""Seconds between two looks where the kernel gives us no watch: a user may have 128 of them."""

_SELDOM = 0.05
"""Seconds between two looks whether there is such a folder at all."""


class Arrivals:
    """Hands each file that is moved into a folder to `found`, from a thread that does nothing else.

    Files that are there at the beginning are handed over before the constructor returns. A file may be handed over
    twice. `found` must be quick, since the next file may be gone soon, and must not raise.
    """

    def __init__(self, folder: Path, found: Callable[[Path], None]) -> None:
        self._folder = folder
        self._found = found
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._watch = _watch(folder)
        self._all()  # only now, so that none is missed between
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hand over no more files."""
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        os.close(self._stop)
        if self._watch is not None:
            os.close(self._watch)

    def _run(self) -> None:
        # Not select(2), which takes no file descriptor above 1023.
        poll = select.poll()
        poll.register(self._stop, select.POLLIN)
        if self._watch is not None:
            poll.register(self._watch, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(self._pause())}
            if self._stop in ready:
                return
            if self._watch is None:
                self._all()
            else:
                self._read(self._watch)

    def _pause(self) -> float | None:
        """Return the milliseconds until the next look; None if the kernel tells when one is needed."""
        if self._watch is not None:
            return None
        return 1000 * (_OFTEN if self._folder.is_dir() else _SELDOM)

    def _read(self, watch: int) -> None:
        events, place = os.read(watch, 1 << 16), 0
        while place < len(events):
            _, mask, _, length = _HEAD.unpack_from(events, place)
            place += _HEAD.size + length
            if mask & _OVERFLOW:
                self._all()
            elif length:
                self._found(self._folder / os.fsdecode(events[place - length : place].rstrip(b"\0")))

    def _all(self) -> None:
        with contextlib.suppress(OSError):
            for name in os.listdir(self._folder):
                self._found(self._folder / name)


def _watch(folder: Path) -> int | None:
    """Return a file descriptor that reports the files that arrive; None if the kernel gives none."""
    import ctypes  # takes a millisecond, and most commands do not need it

    libc = ctypes.CDLL(None)
    watch: int = libc.inotify_init1(os.O_CLOEXEC)
    if watch < 0:
        return None
    if libc.inotify_add_watch(watch, os.fsencode(folder), _MOVED_TO) < 0:
        os.close(watch)
        return None
    return watch
