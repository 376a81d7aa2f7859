"""What a build downloads: say so before it starts, if that is a lot, and fetch first what may not be there any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, runtime_checkable

from ocicaliban.build.plan import copied_trees
from ocicaliban.dependencies import locked_requirements
from ocicaliban.formats.text import amount
from ocicaliban.model.image import MadeTree, OfPackages, PlannedLayer, Run
from ocicaliban.reporter import Reporter

_MUCH = 500_000_000  # bytes
_NAMED = 4


def announcement(
    layers: Iterable[PlannedLayer], sizes: Mapping[str, int], trees: Mapping[str, MadeTree] | None = None
) -> str:
    """Return a line about the packages that the steps of some layers install; "" if they are less than 500 MB.

    Pure. `sizes` are the bytes of the large packages, and `trees` those that a layer makes of packages, by digest. The
    caches may have some of both, so that the line gives the most.
    """
    steps = [step for layer in layers for step in layer.steps]
    texts = (text for step in steps if isinstance(step, Run) for _, text in step.files)
    names = {locked_requirements.name(entry) for text in texts for entry in locked_requirements.entries(text)}
    bytes_of = {name: size for name, size in sizes.items() if name in names}
    for step in steps:
        for digest in copied_trees(step):
            tree = trees.get(digest) if trees else None
            if isinstance(tree, OfPackages):
                bytes_of |= {name: bytes_of.get(name, 0) + size for name, size in tree.parts.items()}
    found = sorted(((size, name) for name, size in bytes_of.items()), reverse=True)
    total = sum(size for size, _ in found)
    if total <= _MUCH:
        return ""
    shown = ", ".join(f"{name} {amount(size)}" for size, name in found[:_NAMED])
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"up to {amount(total)} to download, unless the cache has it already: {shown}{more}"


@runtime_checkable
class FetchedTree(Protocol):
    """A tree of files that others keep, so that it may turn out that it cannot be made any more."""

    def fetch(self, reporter: Reporter) -> None:
        """Fetch the files that are not here yet. Raises OcicalibanError if one is nowhere."""


def fetch_first(layers: Iterable[PlannedLayer], trees: Mapping[str, MadeTree], reporter: Reporter) -> None:
    """Fetch what may be gone, before the base image is fetched or one of the layers is made.

    `trees` are those that a layer makes, by digest. Raises OcicalibanError if something cannot be fetched.
    """
    for digest in dict.fromkeys(digest for layer in layers for step in layer.steps for digest in copied_trees(step)):
        tree = trees.get(digest)
        if isinstance(tree, FetchedTree):
            tree.fetch(reporter)
