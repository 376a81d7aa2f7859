"""Faults of files by which other tools cannot read them."""

from __future__ import annotations

import codecs
import os
import shlex
from pathlib import Path

from ocicaliban.errors import UsageError


def check_link(path: Path) -> None:
    """Raise UsageError for a symbolic link that leads to no file; a path at which there is nothing is no fault."""
    try:
        os.stat(path)
    except PermissionError:
        return
    except OSError:
        try:
            target = os.readlink(path)
        except OSError:
            return
        hint = f"put the file there, correct the link, or remove it: rm {shlex.quote(str(path))}"
        raise UsageError(f"{path}: is a symbolic link to {target}, where there is no file", hint) from None


def check_mark(path: Path) -> None:
    """Raise UsageError for a file with a byte order mark, which build tools cannot read; a missing one is no fault."""
    try:
        with path.open("rb") as file:
            head = file.read(len(codecs.BOM_UTF8))
    except FileNotFoundError:
        return
    if head == codecs.BOM_UTF8:
        raise UsageError(
            f"{path}: begins with a byte order mark, with which tools that build the project cannot read it",
            f"save it as UTF-8 without the mark: sed -i '1s/^\\xef\\xbb\\xbf//' {shlex.quote(str(path))}",
        )
