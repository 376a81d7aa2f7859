"""What single runs leave for the history: a small file each, which the next look at the history takes up.

Opening a database costs more than starting a container does. So a `run` of one job writes a file when the container is
under way and adds to it in the end; `jobs()` gives what the files tell to whoever has the history open. While its
writer lives, the file is locked: a run that was killed is told from one that goes on by that.
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

Value = dict[str, Any]

_TRIES = 20


def _folder() -> Path:
    return files.state() / "runs"


class Entry:
    """The file of one run, with the lock on it; `value` is what it holds."""

    def __init__(self, file: IO[bytes], value: Value) -> None:
        self._file = file
        self.value = value

    def write(self, **more: object) -> None:
        """Add to what the file holds. Raises OSError where it cannot be written."""
        self.value |= more
        # In place, since the lock is on this very file; nothing of it is away meanwhile, should we be killed.
        number = self._file.fileno()
        os.ftruncate(number, os.pwrite(number, json.dumps(self.value).encode("ascii"), 0))

    def ended(self, exit_code: int) -> None:
        """The run is over, and the file another's to take up."""
        with contextlib.suppress(OSError):  # a full disk must not change what the run returns
            self.write(ended=time.time(), exit_code=exit_code)
            self._file.close()


def begin(key: str, value: Value) -> Entry:
    """Make the file of a run that has just started. Raises OSError where that cannot be."""
    folder = _folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = folder / f"{time.time_ns():020}-{key}.new"  # in the order in which they began
    file = open(new, "wb", opener=_private)  # noqa: SIM115 - open as long as we run
    fcntl.flock(file, fcntl.LOCK_EX)
    entry = Entry(file, value)
    entry.write(key=key, started=time.time())
    new.rename(new.with_suffix(".json"))  # not before it is locked: without a lock a run is over
    return entry


def recorded(
    key: str, value: Callable[[], Value], run: Callable[[Callable[[], None]], int], meanwhile: Callable[[], None]
) -> int:
    """The exit code of `run`, which is on record from when it has started.

    `run` is given what to do once it has: to put `value()` on record, and then `meanwhile`. A run that cannot be put
    on record is none the worse for it.
    """
    entries: list[Entry] = []

    def started() -> None:
        with contextlib.suppress(OSError):
            entries.append(begin(key, value()))
        try:
            meanwhile()
        finally:
            for entry in entries:
                commit, dirty = git.head(Path(entry.value["submission"]["project"]))
                entry.write(commit=commit, dirty=dirty)

    code = run(started)
    for entry in entries:
        entry.ended(code)
    return code


def kept(key: str) -> bool:
    """Whether there is still a file of the run with this key: it goes on, or its end is yet to be taken up."""
    return any(_folder().glob(f"*-{key}.json"))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _read(file: IO[bytes]) -> Value | None:
    """What the file holds; None for half of it, which a full disk may have left as well."""
    file.seek(0)
    try:
        value = json.load(file)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def taken() -> Iterator[tuple[Value, bool]]:
    """What the files tell, and whether the run goes on; the file of one that is over is removed after it was used.

    So whoever stops in the middle has lost nothing, and has to bear that it sees the same run twice.
    """
    for path in sorted(_folder().glob("*.json")):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            tries = _TRIES
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                goes_on = False
            except BlockingIOError:
                goes_on = True
            value = _read(file)
            while value is None and goes_on and (tries := tries - 1):
                time.sleep(0.01)  # it is being written just now
                value = _read(file)
            if value is not None:
                yield value, goes_on
            if not goes_on:
                path.unlink(missing_ok=True)
