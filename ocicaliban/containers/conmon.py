"""What conmon, which watches a container, leaves in files: it works on when podman is killed."""

from __future__ import annotations

import os
from pathlib import Path

from attrs import frozen


@frozen(kw_only=True)
class WrittenExit:
    """An exit code, and when conmon wrote it, in seconds since 1970."""

    code: int
    time: float


def written_exit(container: str) -> WrittenExit | None:
    """Return the end of the container with this full id as conmon wrote it down; None if there is no such file.

    A podman that is killed between starting a container and saving that takes the container for one that never began.
    The file is in `exits` below libpod's `tmp_dir` (containers.conf(5)).
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/podman-run-{os.geteuid()}"
    path = Path(runtime, "libpod", "tmp", "exits", container)
    try:
        return WrittenExit(code=int(path.read_text()), time=path.stat().st_mtime)
    except (OSError, ValueError):
        return None
