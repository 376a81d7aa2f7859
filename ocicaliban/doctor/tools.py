"""Check the tools: versions of the required ones, and which optional ones are installed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from ocicaliban.containers import versions
from ocicaliban.containers.cgroups import hybrid
from ocicaliban.doctor.finding import Finding
from ocicaliban.errors import OcicalibanError

INITS = tuple(
    Path(folder, "catatonit")
    for folder in (
        "/usr/local/libexec/podman",
        "/usr/local/lib/podman",
        "/usr/libexec/podman",
        "/usr/lib/podman",
        "/usr/local/bin",
        "/usr/bin",
    )
)
"""Where podman looks for the init program."""


def version(name: str, said: str | OcicalibanError) -> Finding:
    """Check that a tool is installed and recent enough; takes what it prints for `--version`."""
    oldest = versions.OLDEST[name]
    wanted = ".".join(map(str, oldest))
    if isinstance(said, OcicalibanError):
        return Finding(name=name, level="error", message=said.message, remedy=said.hint or f"install {name} {wanted}")
    match = re.search(r"(\d+)\.(\d+)[\w.+~-]*", said)
    if match is None:
        message = f"cannot find the version in {said[:80]!r}"
        return Finding(name=name, level="warning", message=message, remedy=f"check that it is {wanted} or newer")
    if (int(match[1]), int(match[2])) < oldest:
        message = f"{match[0]} is too old: {wanted} or newer is required"
        return Finding(name=name, level="error", message=message, remedy=f"install {name} {wanted} or newer")
    tested = " and ".join(versions.TESTED.get(name, ()))
    return Finding(name=name, level="ok", message=f"{match[0]} (tested: {tested})" if tested else match[0])


def network(pasta: str | None, podman: str | OcicalibanError) -> Finding:
    """Check what gives containers their network; takes the path of pasta, and what podman prints for `--version`."""
    number = re.search(r"(\d+)\.(\d+)", "" if isinstance(podman, OcicalibanError) else podman)
    if number is None or not versions.needs_pasta((int(number[1]), int(number[2]))):
        return Finding(name="network", level="ok", message="the host's for our containers, slirp4netns for others")
    if pasta:
        return Finding(name="network", level="ok", message=f"the host's for our containers, {pasta} for others")
    message = "pasta not found: `podman run` of your own has no network (our containers have the host's)"
    return Finding(name="network", level="warning", message=message, remedy="sudo apt install passt")


def cgroups(root: Path) -> Finding:
    """Check which cgroups the machine has; `root` is /sys/fs/cgroup."""
    if (root / "cgroup.controllers").exists():
        return Finding(name="cgroups", level="ok", message="version 2")
    if hybrid(root):
        message = "hybrid; containers start in a mount namespace with version 2 only, through `podman unshare`"
        return Finding(name="cgroups", level="ok", message=message)
    what = "version 1" if root.is_dir() and any(root.iterdir()) else f"none at {root}"
    return Finding(
        name="cgroups",
        level="warning",
        message=f"{what}: memory and CPUs of rootless containers cannot be limited, and newer podman refuses to run",
        remedy="boot with systemd.unified_cgroup_hierarchy=1 on the kernel's command line",
    )


def init(candidates: Iterable[Path] = INITS) -> Finding:
    """Check that podman finds the init program that `--init` starts."""
    for path in candidates:
        if os.access(path, os.X_OK):
            return Finding(name="catatonit", level="ok", message=str(path))
    message = "not found: `podman run --init` fails"
    return Finding(name="catatonit", level="warning", message=message, remedy="sudo apt install catatonit")


def bootstrap(mmdebstrap: str | None) -> Finding:
    """Check that base images can be made from Debian's packages; takes the path of mmdebstrap, None if not found."""
    if mmdebstrap:
        return Finding(name="mmdebstrap", level="ok", message=mmdebstrap)
    message = "not found: base images can be pulled, but not made from Debian's packages"
    return Finding(name="mmdebstrap", level="missing", message=message, remedy="sudo apt install mmdebstrap")


def push(skopeo: str | None) -> Finding:
    """Check that images can be pushed; takes the path of skopeo, None if not found."""
    if skopeo:
        return Finding(name="skopeo", level="ok", message=skopeo)
    message = "not found: `push` and `cloud` cannot send images to a registry"
    return Finding(name="skopeo", level="missing", message=message, remedy="sudo apt install skopeo")


def commits(git: str | None) -> Finding:
    """Check that the history can record commits; takes the path of git, None if not found."""
    if git:
        return Finding(name="git", level="ok", message=git)
    message = "not found: the history does not record the commits of jobs"
    return Finding(name="git", level="missing", message=message, remedy="sudo apt install git")
