"""On which file system a path lies."""

from __future__ import annotations

import os
import re
from pathlib import Path

SHARED = re.compile(
    r"nfs\d?|lustre|gpfs|beegfs|fhgfs|panfs|pvfs2|wekafs|afs|ceph|cifs|smb\d?|9p|fuse\.(sshfs|ceph|glusterfs|s3fs|gcsfuse)"
)
"""The kinds of network file systems."""


def read() -> str:
    """What the kernel says is mounted; "" where it does not."""
    try:
        return Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def kind(path: Path, mountinfo: str) -> str:
    """The kind of file system under `path`, which need not exist; "" if it cannot be told. `mountinfo`: see `read`."""
    real = Path(os.path.realpath(path))
    found, depth = "", -1
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if len(fields) < 5 or not kinds:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4]))
        # Of several mounts at one place the last is seen.
        if real.is_relative_to(point) and len(point.parts) >= depth:
            found, depth = kinds[0], len(point.parts)
    return found
