"""Start containers on machines whose cgroups are in hybrid mode, which crun refuses."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def hybrid(root: Path = Path("/sys/fs/cgroup")) -> bool:
    """Return whether both cgroups v1 and v2 are mounted."""
    return (root / "unified").is_dir() and not (root / "cgroup.controllers").exists()


def in_cgroup2(argv: Sequence[str]) -> tuple[str, ...]:
    """Return the command `argv`; in hybrid mode wrapped in a private mount namespace that shows only cgroup v2.

    No root is needed, thanks to `podman unshare`; as root podman has no user namespace to enter.
    """
    if not hybrid():
        return tuple(argv)
    # The namespace of podman's pause process may have it already, if that began in another one of ours.
    script = '{ [ -e /sys/fs/cgroup/cgroup.controllers ] || mount -t cgroup2 cgroup2 /sys/fs/cgroup; } && exec "$@"'
    if "XDG_CONFIG_HOME" not in os.environ:
        # podman sets it to the default folder, and then buildah 1.28 requires a runroot in storage.conf.
        script = f"unset XDG_CONFIG_HOME; {script}"
    unshare = ("podman", "unshare") if os.geteuid() else ()
    return (*unshare, "unshare", "-mC", "sh", "-c", script, "_", *argv)
