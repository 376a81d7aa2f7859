"""What a single run keeps and is told: its folder, with the log and the results, and a free port.

A replay imports it, so it imports little itself.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ocicaliban.system import files

_PORTS = range(20_000, 32_768)
"""Below the ports that Linux gives to outgoing connections, which come and go."""

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")

PORT_VARIABLES = ("OCICALIBAN_PORT", "MASTER_PORT")
"""The variables with a job's free port; PyTorch reads the second one."""


class Place(NamedTuple):
    """Where a run's results and its log are."""

    out: Path
    log: Path


def place(group: str, key: str) -> Place:
    """Return the place of the run with this key, beside those of a group's other jobs."""
    folder = files.state() / "jobs" / group / key
    return Place(out=folder / "out", log=folder / "attempt-1.log")


def make(group: str, key: str) -> Place:
    """Make the folder of a run, and return its place. Raises OSError."""
    found = place(group, key)
    files.make_folder(found.out)
    return found


def results(out: Path) -> str:
    """Return the line about a run's results, "" if it wrote none."""
    try:
        with os.scandir(out) as entries:
            return f"results: {out}" if next(entries, None) else ""
    except OSError:
        return ""


def free_port(taken: Iterable[int] = ()) -> int:
    """Return a port that nothing listens on at the moment, and that is not among `taken`; 0 if there is none."""
    avoided = {*taken, *_used()}
    start = int.from_bytes(os.urandom(4), "big")
    for number in range(len(_PORTS)):
        port = _PORTS[(start + number) % len(_PORTS)]
        if port not in avoided:
            return port
    return 0


def _used() -> Iterator[int]:
    """Yield the ports that have a socket, from the kernel's tables: an import of `socket` takes too long here."""
    for table in _TABLES:
        with contextlib.suppress(OSError, ValueError, IndexError), open(table, encoding="ascii") as lines:
            next(lines, None)
            for line in lines:
                yield int(line.split()[1].rpartition(":")[2], 16)


def port_environment(port: int) -> tuple[tuple[str, str], ...]:
    """Return the variables with a job's port; none without a port."""
    return tuple((name, str(port)) for name in PORT_VARIABLES) if port else ()
