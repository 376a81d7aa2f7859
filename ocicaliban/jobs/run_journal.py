"""The journal of single runs: a small file for each, which the next command that opens the history takes up.

Opening a database takes longer than starting a container. So a `run` of one job writes a file when the container has
started, and adds to it when the container has ended. The file is locked as long as its writer lives: that distinguishes
a run that goes on from one that was killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from ocicaliban.project import git
from ocicaliban.system import files

VERSION = 1
"""The version of a file. Files without one are of version 1; a newer one stays where it is, for a newer program."""

Record = dict[str, Any]

_TRIES = 20
_PAUSE = 0.01  # seconds


def _folder() -> Path:
    return files.state() / "runs"


def _drop_log(key: str) -> None:
    """Remove what a run with this key has printed that an earlier version began, which kept no logs."""
    with contextlib.suppress(OSError):
        (_folder() / f"{key}.log.conmon").unlink(missing_ok=True)


class RunningEntry:
    """The file of a run that this process started, with the lock on it."""

    def __init__(self, file: IO[bytes], record: Record) -> None:
        self._file = file
        self.record = record

    def write(self, **more: object) -> None:
        """Add to the record. Raises OSError where the file cannot be written."""
        self.record |= more
        # In place, since the lock is on this very file. A kill in between loses nothing.
        number = self._file.fileno()
        os.ftruncate(number, os.pwrite(number, json.dumps(self.record).encode("ascii"), 0))

    def ended(self, exit_code: int) -> None:
        """Record the end of the run, and release the file."""
        with contextlib.suppress(OSError):  # a full disk must not change what the run returns
            self.write(ended=time.time(), exit_code=exit_code)
            self._file.close()


def begin(key: str, record: Record) -> RunningEntry:
    """Write the file of a run that has just started. Raises OSError where that fails."""
    folder = _folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = folder / f"{time.time_ns():020}-{key}.new"  # sorted, the names are in the order in which the runs began
    file = open(new, "wb", opener=_private)  # noqa: SIM115 - open as long as we run
    fcntl.flock(file, fcntl.LOCK_EX)
    entry = RunningEntry(file, record)
    entry.write(version=VERSION, key=key, started=time.time())
    new.rename(new.with_suffix(".json"))  # not before it is locked: a file without a lock is of a run that is over
    return entry


def recorded(
    key: str, record: Callable[[], Record], run: Callable[[Callable[[], None]], int], meanwhile: Callable[[], None]
) -> int:
    """Run something, keep it in the journal from its start to its end, and return its exit code.

    `run` gets a function to call when it has started: it writes `record()`, and then calls `meanwhile`. Where the
    journal cannot be written, the run goes on without it.
    """
    entries: list[RunningEntry] = []

    def started() -> None:
        with contextlib.suppress(OSError):
            entries.append(begin(key, record()))
        try:
            meanwhile()
        finally:
            for entry in entries:
                commit, dirty = git.head(Path(entry.record["submission"]["project"]))
                entry.write(commit=commit, dirty=dirty)

    code = run(started)
    for entry in entries:
        entry.ended(code)
    return code


def has(key: str) -> bool:
    """Return whether the journal has the run with this key: it goes on, or its end is not in the history yet."""
    return any(_folder().glob(f"*-{key}.json"))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _read(file: IO[bytes]) -> Record | None:
    """Return what the file holds; None where it is incomplete, as a full disk leaves it."""
    from ocicaliban.formats.jsonc import parse_json  # a replay only writes

    file.seek(0)
    try:
        record = parse_json(file.read())
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _is_newer(record: Record | None) -> bool:
    version = record.get("version", 1) if record else 1
    return not isinstance(version, int) or version > VERSION


def taken() -> Iterator[tuple[Record, bool]]:
    """Yield the record of each run, and whether the run goes on; remove the file of one that is over after its use.

    If the caller stops in the middle, nothing is lost, but it gets the same run again. Files of a newer version stay.
    """
    for path in sorted(_folder().glob("*.json")):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            tries = _TRIES
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                goes_on = False
            except BlockingIOError:
                goes_on = True
            record = _read(file)
            while record is None and goes_on and (tries := tries - 1):
                time.sleep(_PAUSE)  # the run is writing it at this moment
                record = _read(file)
            if _is_newer(record):
                continue
            if record is not None:
                yield record, goes_on
            if not goes_on:
                path.unlink(missing_ok=True)
                _drop_log(path.stem.rpartition("-")[2])
