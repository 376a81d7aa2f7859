"""How large a file may be that describes something."""

from __future__ import annotations

import os
from pathlib import Path

from ocicaliban.errors import UsageError
from ocicaliban.formats.text import amount

LARGEST = 64 << 20
"""Bytes of a file that a person or a tool writes to describe something: locks have a few megabytes."""


def check_size(path: Path) -> None:
    """Raise UsageError for a file that is larger than any that describes something; a missing one is no fault."""
    try:
        size = os.stat(path).st_size
    except (OSError, ValueError):
        return
    if size > LARGEST:
        hint = "give it another name if it is something else, or move it out of this folder"
        raise UsageError(f"{path}: has {amount(size)}, and no file of this name has more than {amount(LARGEST)}", hint)
