"""Where ocicaliban keeps its state, cache and running work, by the XDG base directory specification."""

from __future__ import annotations

import os
from pathlib import Path


def _xdg(variable: str, default: str) -> Path:
    value = os.environ.get(variable, "")
    base = Path(value) if value.startswith("/") else Path.home() / default
    return base / "ocicaliban"


def state() -> Path:
    """The folder of what must last: the last plans, what was used when."""
    return _xdg("XDG_STATE_HOME", ".local/state")


def cache() -> Path:
    """The folder of what can be made again."""
    return _xdg("XDG_CACHE_HOME", ".cache")


def work() -> Path:
    """The folder of builds under way."""
    return cache() / "work"


def used(image: str) -> Path:
    """The file whose time tells when the image with this id was used last."""
    return state() / "used" / image
