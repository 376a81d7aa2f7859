"""What depends on the versions of podman and buildah, in one table, with the versions that were tested.

A version is a tuple such as (4, 3, 1).
"""

from __future__ import annotations

from collections.abc import Mapping

Version = tuple[int, ...]

TESTED: Mapping[str, tuple[str, ...]] = {
    "buildah": ("1.28.2", "1.39.3"),
    "podman": ("4.3.1", "5.4.2"),
}
"""The versions with which the whole test suite passes: those of Debian 12 and Debian 13."""

OLDEST: Mapping[str, Version] = {"buildah": (1, 28), "podman": (4, 3), "uv": (0, 5)}
"""The oldest version of each required tool."""

OLDEST_CDI: Version = (0, 3, 0)
"""The oldest cdiVersion that podman reads."""


def newest_cdi(podman: Version) -> Version:
    """Return the newest cdiVersion that this podman reads."""
    if podman < (5,):
        return (0, 5, 0)
    return (0, 8, 0) if podman < (5, 5) else (1, 0, 0)


def log_option_is_csv(podman: Version) -> bool:
    """Return whether a value of `--log-opt` is a CSV record, as before podman 5.0; since then it is taken as it is."""
    return podman < (5,)


def needs_pasta(podman: Version) -> bool:
    """Return whether containers get their network from pasta (the package passt) by default, as since podman 5.0."""
    return podman >= (5,)
