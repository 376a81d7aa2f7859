"""Colours at a terminal: of statuses, errors and findings. `NO_COLOR` turns them off (https://no-color.org)."""

from __future__ import annotations

import os
from typing import NamedTuple, TextIO

_PLAIN = "\x1b[0m"
_STYLES = {
    "bold": "\x1b[1m",
    "dim": "\x1b[2m",
    "red": "\x1b[31m",
    "green": "\x1b[32m",
    "yellow": "\x1b[33m",
    "cyan": "\x1b[36m",
    "red bold": "\x1b[1;31m",
}

OF_WORDS = {
    "queued": "dim",
    "pending": "dim",
    "running": "cyan",
    "succeeded": "green",
    "failed": "red",
    "lost": "red",
    "stopped": "yellow",
    "ok": "green",
    "missing": "yellow",
    "warning": "yellow",
    "error": "red",
}
"""The colours of statuses and of what `doctor` finds. Each is a name that rich knows, too."""


def wanted(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that shows colours, to a user who wants them."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb":
        return False
    return stream.isatty()


class Line(NamedTuple):
    """A line, of which the part from `start` to `end` has a style; "" is none."""

    text: str
    style: str = ""
    start: int = 0
    end: int = 0


def painted(text: str, style: str) -> str:
    """Return a text in a style of the table above; "" leaves it as it is."""
    return f"{_STYLES[style]}{text}{_PLAIN}" if style and text else text
