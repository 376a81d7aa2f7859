"""Gives the space of a file's beginning back to the disk, while the file keeps its size (fallocate(2))."""

from __future__ import annotations

_KEEP_SIZE, _PUNCH_HOLE = 1, 2


def free_beginning(file: int, length: int) -> bool:
    """Free the first `length` bytes of the file with this descriptor, which read as zeros then.

    Return whether that succeeded: a network file system may not be able to.
    """
    import ctypes  # takes a millisecond, and few logs are that large

    size = ctypes.c_longlong
    done: int = ctypes.CDLL(None).fallocate(file, _PUNCH_HOLE | _KEEP_SIZE, size(0), size(length))
    return done == 0
