"""Move the clock of the Python programs that see this folder: by the seconds in the file $OCICALIBAN_CHAOS_CLOCK.

Python imports this at each start. It stands for a clock that jumps while a program runs; podman keeps the real one.
"""

from __future__ import annotations

import os
import time

_FILE = os.environ.get("OCICALIBAN_CHAOS_CLOCK", "")
_now, _now_ns = time.time, time.time_ns


def _offset() -> int:
    try:
        with open(_FILE, encoding="ascii") as file:
            return int(file.read() or 0)
    except (OSError, ValueError):
        return 0


if _FILE:
    time.time = lambda: _now() + _offset()
    time.time_ns = lambda: _now_ns() + _offset() * 10**9
