"""Say what a build downloads before it starts, if that is a lot; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ocicaliban.dependencies import locked_requirements
from ocicaliban.formats.text import amount
from ocicaliban.model.image import Copy, MadeTree, OfPackages, PlannedLayer, Run

_MUCH = 500_000_000  # bytes
_NAMED = 4


def announcement(
    layers: Iterable[PlannedLayer], sizes: Mapping[str, int], trees: Mapping[str, MadeTree] | None = None
) -> str:
    """Return a line about the packages that the steps of some layers install; "" if they are less than 500 MB.

    `sizes` are the bytes of the large packages, and `trees` those that a layer makes of packages, by digest. The caches
    may have some of both, so that the line gives the most.
    """
    steps = [step for layer in layers for step in layer.steps]
    texts = (text for step in steps if isinstance(step, Run) for _, text in step.files)
    names = {locked_requirements.name(entry) for text in texts for entry in locked_requirements.entries(text)}
    bytes_of = {name: size for name, size in sizes.items() if name in names}
    for step in steps:
        tree = trees.get(step.tree) if trees and isinstance(step, Copy) else None
        if isinstance(tree, OfPackages):
            bytes_of |= {name: bytes_of.get(name, 0) + size for name, size in tree.parts.items()}
    found = sorted(((size, name) for name, size in bytes_of.items()), reverse=True)
    total = sum(size for size, _ in found)
    if total <= _MUCH:
        return ""
    shown = ", ".join(f"{name} {amount(size)}" for size, name in found[:_NAMED])
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"up to {amount(total)} to download, unless the cache has it already: {shown}{more}"
