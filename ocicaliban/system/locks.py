"""Locks on files (flock(2)), which the system releases with their process, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


def taken(file: IO[Any] | int, how: int = fcntl.LOCK_EX) -> bool:
    """Lock an open file unless another process holds the lock; return whether we have it. Raises OSError."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def held(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a file, which is made for it, and remove the file at the end.

    Only the holder removes it. Who waited for it meanwhile has locked a file that is at no path any more, and opens
    the new one. Raises BlockingIOError, without `wait`, if another process holds it, and OSError if there can be none.
    """
    while True:
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if not _is_at(file, path):
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
