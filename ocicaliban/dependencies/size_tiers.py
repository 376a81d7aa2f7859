"""Divides locked requirements into groups by weight, so that a small change does not store the big ones again; pure.

Storing a layer costs far more than installing it (facts: a 332 MB layer is installed in 3 s and committed in 7). The
heavy packages change seldom; each group becomes a layer of its own, the heaviest at the bottom.
"""

from __future__ import annotations

from collections.abc import Mapping

from ocicaliban.dependencies.requirements import entries, name, normalized

GROUPS = (("100MB+", 100_000_000), ("5MB+", 5_000_000), ("", 0))
"""A group's label, and from how many bytes (of the archive that an index offers) a package belongs to it."""


def of_packages(pylock: Mapping[str, object]) -> dict[str, int]:
    """Bytes of each package's largest archive in a pylock.toml (PEP 751), the light ones left out.

    An index need not tell sizes; a package without one counts as light.
    """
    found: dict[str, int] = {}
    packages = pylock.get("packages")
    for package in packages if isinstance(packages, list) else []:
        archives = [*package.get("wheels", []), *(package[key] for key in ("archive",) if key in package)]
        if not archives and "sdist" in package:
            archives = [package["sdist"]]
        size = max((archive.get("size", 0) for archive in archives), default=0)
        if size >= GROUPS[-2][1]:
            found[normalized(package["name"])] = size
    return dict(sorted(found.items()))


def groups(requirements: str, weights: Mapping[str, int]) -> tuple[tuple[str, str], ...]:
    """The requirements (uv's text: one entry each, its hashes on indented lines) as (label, text), heaviest first.

    Every entry is in exactly one group; empty groups are left out.
    """
    found: dict[str, str] = {}
    for entry in entries(requirements):
        weight = weights.get(name(entry), 0)
        label = next(label for label, least in GROUPS if weight >= least)
        found[label] = found.get(label, "") + entry
    return tuple((label, found[label]) for label, _ in GROUPS if label in found)
