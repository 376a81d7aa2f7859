"""Remembers what was read of a large file of metrics, and up to which byte, so that a report reads only what is new.

The memory of a file is a file in the cache. It counts only for a file that begins and goes on as the known one did.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from ocicaliban.system import files

_VERSION = 1
_COMPARED = 4096  # bytes before the position
_MOST = 1000  # files that are remembered

Record = dict[str, Any]


def recall(file: BinaryIO, points: int) -> Record | None:
    """Return what was kept of an open file, for curves of so many points; None if nothing was, or the file is another.

    `position` in it is where to go on.
    """
    try:
        kept = json.loads(_memory(file, points).read_bytes())
        position = int(kept["position"])
        if kept["version"] != _VERSION or kept["before"] != _before(file, position):
            return None
        record: Record = kept["record"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return {**record, "position": position}


def keep(file: BinaryIO, points: int, position: int, record: Record) -> None:
    """Keep what was read of a file before `position`. Where that cannot be written, nothing happens."""
    with contextlib.suppress(OSError):
        memory = _memory(file, points)
        kept = {"version": _VERSION, "position": position, "before": _before(file, position), "record": record}
        files.keep(memory, json.dumps(kept))
        others = sorted(memory.parent.iterdir(), key=lambda each: each.stat().st_mtime)
        for old in others[:-_MOST]:
            old.unlink(missing_ok=True)


def _memory(file: BinaryIO, points: int) -> Path:
    status = os.fstat(file.fileno())
    name = f"{file.name if isinstance(file.name, str) else ''}\0{status.st_dev}\0{status.st_ino}\0{points}"
    return (
        files.cache() / "metrics" / f"{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.json"
    )


def _before(file: BinaryIO, position: int) -> str:
    """Return what tells the bytes just before a position from others; "" if the file is shorter."""
    if os.fstat(file.fileno()).st_size < position:
        return ""
    start = max(0, position - _COMPARED)
    return hashlib.sha256(os.pread(file.fileno(), position - start, start)).hexdigest()
