"""Where podman keeps what lasts until the user logs out or the machine shuts down."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def candidates(environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Return the folders that podman may use, in its order: where XDG_RUNTIME_DIR is not set, its versions differ."""
    if ours := environ.get("XDG_RUNTIME_DIR"):
        return (Path(ours),)
    uid = os.geteuid()
    return Path(f"/run/user/{uid}"), Path(f"/tmp/podman-run-{uid}"), Path(f"/tmp/storage-run-{uid}")


def find(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder that podman uses: the first that belongs to this user, else the one that podman would make."""
    first, *others = candidates(environ)
    for folder in (first, *others):
        try:
            if folder.stat().st_uid == os.geteuid():
                return folder
        except OSError:
            continue
    return others[0] if others else first
