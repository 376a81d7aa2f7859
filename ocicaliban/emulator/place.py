"""The emulator's folder: one emulator at a time has it, and the next one clears up after one that was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ocicaliban.containers import podman
from ocicaliban.errors import UsageError

LABEL = "ocicaliban.emulator"
"""The label of all containers, whose value is the mark of their emulator."""

_LONGEST = 100  # characters of a mark, whatever else may be in the file


def made(folder: Path, option: str, mode: int = 0o777) -> None:
    """Make a folder where there is none. Raises UsageError, with the option that names it, where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=mode)
    except (FileExistsError, NotADirectoryError) as exc:
        raise UsageError(f"{folder} is not a folder", f"{option} names one; it is made where there is none") from exc


@contextlib.contextmanager
def held(folder: Path, *, runs: bool) -> Iterator[str]:
    """Hold the folder, which is made where there is none; gives the mark of an emulator that `runs` containers.

    The mark stands in the file that is locked, until a clean end: one that is found there is that of an emulator that
    was killed, whose containers are removed. The number of a process, which comes again, would not tell. Raises
    UsageError where another emulator holds the folder, or it is none.
    """
    made(folder, "--folder", mode=0o700)
    with open(os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise UsageError(f"an emulator runs in {folder} already", "--folder DIR takes another") from exc
        if left := file.read(_LONGEST).strip():
            _clear(left)
        mark = secrets.token_hex(8) if runs else ""
        _write(file, mark)
        yield mark
        _write(file, "")


def _write(file: IO[str], mark: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(mark)
    file.flush()


def _clear(mark: str) -> None:
    podman.remove_labelled(f"{LABEL}={mark}", grace=0)
