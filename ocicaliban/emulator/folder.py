"""The emulator's folder: one emulator uses it at a time, and removes what a killed one left behind."""

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
"""The label of all containers; its value is the ID of their emulator."""

_MAX_ID = 100  # characters, whatever else may be in the file


def create(folder: Path, option: str, mode: int = 0o777) -> None:
    """Create a folder unless it exists. Raises UsageError, with the `option` that names it, if it is not a folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=mode)
    except (FileExistsError, NotADirectoryError) as exc:
        raise UsageError(f"{folder} is not a folder", f"{option} FOLDER; it is created if it does not exist") from exc


@contextlib.contextmanager
def lock(folder: Path, *, runs_containers: bool) -> Iterator[str]:
    """Create and lock the folder; yield a new ID for the emulator, or "" if it runs no containers.

    The locked file holds the ID until the emulator ends. An ID in it at the start is that of an emulator that was
    killed: remove its containers. (A process number would not do; it may be used again.) Raises UsageError if another
    emulator uses the folder.
    """
    create(folder, "--folder", mode=0o700)
    with open(os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise UsageError(f"an emulator already uses {folder}", "--folder DIR takes another") from exc
        if killed := file.read(_MAX_ID).strip():
            podman.remove_labelled(f"{LABEL}={killed}", grace=0)
        emulator_id = secrets.token_hex(8) if runs_containers else ""
        _write(file, emulator_id)
        yield emulator_id
        _write(file, "")


def _write(file: IO[str], emulator_id: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(emulator_id)
    file.flush()
