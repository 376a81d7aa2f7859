"""Remember what the user has allowed a project to use outside of it: a file for each project, in the state folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ocicaliban.formats.jsonc import parse_json
from ocicaliban.system import files

VERSION = 1


def load(root: Path) -> frozenset[str]:
    """Return the identities of what is allowed for the project in `root`: none if nothing is, or nobody can tell."""
    found = _read(_file(root))
    return frozenset(found[1]) if found and found[0] == os.path.realpath(root) else frozenset()


def save(root: Path, identities: Iterable[str]) -> None:
    """Allow this for the project in `root`, and nothing else. Raises OSError if it cannot be kept."""
    record = {"version": VERSION, "project": os.path.realpath(root), "allowed": sorted({*identities})}
    files.keep(_file(root), json.dumps(record, indent=1))


def revoke(root: Path) -> bool:
    """Allow nothing for the project in `root`. Return whether anything was allowed. Raises OSError."""
    try:
        _file(root).unlink()
    except FileNotFoundError:
        return False
    return True


def everything() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the folder of each project for which something is allowed, and what."""
    for path in sorted(_folder().glob("*.json")):
        if found := _read(path):
            yield found


def _folder() -> Path:
    return files.state() / "allowed"


def _file(root: Path) -> Path:
    return _folder() / (hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:32] + ".json")


def _read(path: Path) -> tuple[str, tuple[str, ...]] | None:
    """Return the project and what is allowed for it; None for a file that is not there, or of another form."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        record = parse_json(path.read_text())
        if record["version"] == VERSION:
            return str(record["project"]), tuple(map(str, record["allowed"]))
    return None
