"""What this machine is: its processor and its memory, from /proc."""

from __future__ import annotations

import platform
from pathlib import Path

_PROC = Path("/proc")


def processor(proc: Path = _PROC) -> str:
    """Return the processor's name, as the kernel knows it; that of its architecture if it knows none."""
    return _value(proc / "cpuinfo", "model name") or platform.machine()


def memory(proc: Path = _PROC) -> int:
    """Return the bytes of memory that the machine has; 0 if that is not known."""
    words = _value(proc / "meminfo", "MemTotal").split()
    return int(words[0]) * 1024 if words and words[0].isdigit() else 0


def _value(path: Path, name: str) -> str:
    """Return what a file of lines `name : value` says first of a name; "" if nothing."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    pairs = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for key, _, value in pairs if key.strip() == name), "")
