"""Divide locked requirements into groups by size, so that a small change does not store the big ones again; pure.

Storing a layer takes longer than installing it: a layer of 332 MB is installed in 3 s and committed in 7 s. Heavy
packages seldom change. Each group becomes a layer of its own, the heaviest at the bottom.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from attrs import frozen

from ocicaliban.dependencies.locked_requirements import entries, name, normalized

TIERS = (("100MB+", 100_000_000), ("5MB+", 5_000_000), ("", 0))
"""The label of each group, and the smallest archive, in bytes, that belongs to it."""


def heavy_packages(pylock: Mapping[str, object]) -> dict[str, int]:
    """Return the bytes of the largest archive of each heavy package in a pylock.toml (PEP 751).

    A package whose size the index does not tell counts as light.
    """
    sizes: dict[str, int] = {}
    packages = pylock.get("packages")
    for package in packages if isinstance(packages, list) else []:
        archives = [*package.get("wheels", []), *(package[key] for key in ("archive",) if key in package)]
        if not archives and "sdist" in package:
            archives = [package["sdist"]]
        size = max((archive.get("size", 0) for archive in archives), default=0)
        if size >= TIERS[-2][1]:
            sizes[normalized(package["name"])] = size
    return dict(sorted(sizes.items()))


@frozen
class Group:
    """Requirements that make one layer. `index` is the only index that has them, "" if any may."""

    label: str
    requirements: str
    index: str = ""


def divided(requirements: str, weights: Mapping[str, int], pins: Mapping[str, str] | None = None) -> tuple[Group, ...]:
    """Return locked requirements as groups, the heaviest first, given the bytes of the heavy packages.

    `pins` has the index of each package that comes from one index alone; it is in a group with others of that index.
    Every entry is in exactly one group. Empty groups are left out.
    """
    texts: dict[tuple[int, str], str] = {}
    for entry in entries(requirements):
        weight = weights.get(name(entry), 0)
        tier = next(number for number, (_, least) in enumerate(TIERS) if weight >= least)
        place = tier, (pins or {}).get(name(entry), "")
        texts[place] = texts.get(place, "") + entry
    return tuple(
        Group(f"{TIERS[tier][0]} {_short(index)}".strip(), text, index) for (tier, index), text in sorted(texts.items())
    )


def _short(index: str) -> str:
    """Return the name of an index, or its host."""
    named = re.match(r"([\w.-]+)=", index)
    return f"from {named[1] if named else urlsplit(index).netloc or index}" if index else ""
