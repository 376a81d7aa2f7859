"""The key `log_size_max` of a project and of the user: how large the log of a job becomes."""

from __future__ import annotations

from ocicaliban.errors import UsageError
from ocicaliban.model.resources import parse_size

DEFAULT = "1g"
_LEAST = 64 << 10
"""Bytes: conmon writes up to 8 KiB at once, and begins a new file when one is full."""


def check(value: str, where: str) -> None:
    """Raise UsageError if a value of the key in the file and line `where` is not a size; "" is not set."""
    size = parse_size(value or DEFAULT)
    if size is None or 0 < size < _LEAST:
        raise UsageError(
            f'{where}: log_size_max = "{value}" is not a size of 64k or more', 'log_size_max = "500m", or "0" for any'
        )


def in_bytes(*values: str) -> int:
    """Return the first of the `values` that is set, in bytes of conmon's log; 0 is no limit."""
    return parse_size(next(filter(None, values), DEFAULT)) or 0
