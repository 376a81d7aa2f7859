"""What NVIDIA's driver says of itself and of the GPUs, in /proc."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path("/proc/driver/nvidia")

_VERSION = re.compile(r"Kernel Module\D*(\d[\d.]*)")


def version(folder: Path = FOLDER) -> str:
    """Return the driver's version; "" if it is not loaded."""
    found = _VERSION.search(_text(folder / "version"))
    return found[1] if found else ""


def gpu_names(folder: Path = FOLDER) -> tuple[str, ...]:
    """Return the name of each GPU of the machine, in the order of their addresses."""
    return tuple(
        line.partition(":")[2].strip()
        for path in sorted(folder.glob("gpus/*/information"))
        for line in _text(path).splitlines()
        if line.startswith("Model:")
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
