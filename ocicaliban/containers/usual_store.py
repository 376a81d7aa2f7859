"""Remember that a user's own image store serves, so that most starts look at a few files and import nothing more.

What was decided holds while everything that decided it is the same: the files about sub-ids and stores, newuidmap, the
variables, and the folder of the images.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

from ocicaliban.system import files

_VERSION = 1
_TRUSTED = 86_400.0
"""Seconds: as long as the answer of a directory service about sub-ids is believed."""
_VARIABLES = (
    "OCICALIBAN_STORE", "OCICALIBAN_STORAGE_CONF", "CONTAINERS_STORAGE_CONF", "STORAGE_DRIVER", "HOME", "USER", "PATH",
    "XDG_CONFIG_HOME", "XDG_DATA_HOME",
)  # fmt: skip


def serves(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether the user's own store serves, as was decided before from the same facts."""
    memo = _memo()
    try:
        with open(memo, "rb") as file:
            known = json.load(file)
            age = time.time() - os.fstat(file.fileno()).st_mtime
        return (
            known["version"] == _VERSION
            and 0 <= age < _TRUSTED
            and bool(known["facts"] == _facts(known["root"], environ))
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def remember(root: os.PathLike[str], environ: Mapping[str, str] = os.environ) -> None:
    """Remember that the user's own store in `root` serves, if it is there already."""
    place = os.fspath(root)
    if os.path.isdir(place):
        with contextlib.suppress(OSError):
            files.keep(_memo(), json.dumps({"version": _VERSION, "root": place, "facts": _facts(place, environ)}))


def _memo() -> Path:
    return files.cache() / "usual-store.json"


def _facts(root: str, environ: Mapping[str, str]) -> list[object]:
    settings = os.fspath(files.settings(environ))
    paths = [
        "/etc/subuid", "/etc/subgid", "/etc/nsswitch.conf", "/etc/containers/storage.conf",
        f"{settings}/containers/storage.conf", f"{settings}/ocicaliban/config.toml",
    ]  # fmt: skip
    folders = environ.get("PATH", "").split(os.pathsep)
    for name in ("newuidmap", "newgidmap"):
        # Those before the first one that is there are not there, which is what counts.
        paths.append(next((path for each in folders if os.path.exists(path := os.path.join(each, name))), name))
    there = os.stat(root)
    given = [environ.get(name) for name in _VARIABLES]
    return [os.geteuid(), given, [[path, _stamp(path)] for path in paths], [there.st_dev, there.st_ino]]


def _stamp(path: str) -> list[int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_mode, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
