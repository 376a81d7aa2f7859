"""Say what a build downloads before it starts, if that is a lot; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ocicaliban.dependencies import locked_requirements
from ocicaliban.formats.text import amount
from ocicaliban.model.image import PlannedLayer, Run

_MUCH = 500_000_000  # bytes
_NAMED = 4


def announcement(layers: Iterable[PlannedLayer], sizes: Mapping[str, int]) -> str:
    """Return a line about the packages that the steps of some layers install; "" if they are less than 500 MB.

    `sizes` are the bytes of the large packages. uv may have some in its cache, so that the line gives the most.
    """
    texts = (text for layer in layers for step in layer.steps if isinstance(step, Run) for _, text in step.files)
    names = {locked_requirements.name(entry) for text in texts for entry in locked_requirements.entries(text)}
    found = sorted(((size, name) for name, size in sizes.items() if name in names), reverse=True)
    total = sum(size for size, _ in found)
    if total <= _MUCH:
        return ""
    shown = ", ".join(f"{name} {amount(size)}" for size, name in found[:_NAMED])
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"up to {amount(total)} to download, unless uv has it already: {shown}{more}"
