"""The settings of podman, containers.conf(5), as far as we must know them."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ocicaliban.system import files

_SYSTEM = (Path("/usr/share/containers"), Path("/etc/containers"))


def sets(key: str) -> bool:
    """Return whether one of the files has a line that sets this key."""
    line = re.compile(rf"^\s*{re.escape(key)}\s*=", re.M)
    return any(line.search(text) for text in _texts())


def _texts() -> Iterator[str]:
    for path in _paths():
        with contextlib.suppress(OSError):
            yield path.read_text(encoding="utf-8", errors="replace")


def _paths() -> Iterator[Path]:
    # One that a variable names takes the place of all others.
    if named := os.environ.get("CONTAINERS_CONF"):
        yield Path(named)
        return
    for folder in (*_SYSTEM, files.settings() / "containers"):
        yield folder / "containers.conf"
        with contextlib.suppress(OSError):
            yield from sorted((folder / "containers.conf.d").glob("*.conf"))
    if override := os.environ.get("CONTAINERS_CONF_OVERRIDE"):
        yield Path(override)
