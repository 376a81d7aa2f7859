"""Show a plan as text and JSON; pure."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence

from attrs import frozen

from ocicaliban.formats.text import amount
from ocicaliban.jobs.status_table import aligned
from ocicaliban.model.image import Plan


@frozen(kw_only=True)
class Stock:
    """What is there of a plan.

    `sizes` holds the bytes of what the store has, by the key of the layer or of the base image. `reasons` says, by the
    layer's name, what has changed since the last build. `mounted` are the names of the layers whose files are in
    folders, which containers on this machine mount.
    """

    sizes: Mapping[str, int]
    reasons: Mapping[str, str]
    mounted: frozenset[str] = frozenset()


def stack_lines(plan: Plan, stock: Stock) -> tuple[str, ...]:
    """Return the stack from the bottom up, a line for each layer."""
    sizes, reasons = stock.sizes, stock.reasons
    width = max([len(layer.name) for layer in plan.layers] + [4])
    rows = [_base_line(plan, sizes, width)]
    for layer in plan.layers:
        present = layer.key in sizes
        size = amount(sizes[layer.key]) if present else ""
        if not present and layer.name in stock.mounted:
            state = "mounted"
        else:
            state = "there" if present else f"to be built: {reasons.get(layer.name, 'not in the store')}"
        owners = "; all files belong to root, since containers have one uid" if layer.loses_owners else ""
        rows.append(f"{layer.name:{width}}  {layer.key[:12]}  {size:>9}  {state}{owners}")
    return tuple(rows)


def difference(
    one: Plan, other: Plan, left_out: Sequence[str] = (), always: Sequence[str] = (), *, mounts: str = ""
) -> tuple[str, ...]:
    """Return lines that compare the plans of two modes.

    `mounts` is the mode that mounts the project, if the other one's image has a copy. `left_out` are the paths that
    this copy lacks, and `always` those that every image lacks.
    """
    keys, others = ({layer.name: layer.key for layer in plan.layers} for plan in (one, other))
    rows = {
        "in both": [*(["base"] if one.base_key == other.base_key else []), *(n for n in keys if n in others)],
        f"in {one.mode} only": [name for name in keys if name not in others],
        f"in {other.mode} only": [name for name in others if name not in keys],
        "in both, not the same": ["base"] if one.base_key != other.base_key else [],
    }
    for name, key in keys.items():
        if name in others and others[name] != key:
            rows["in both"].remove(name)
            rows["in both, not the same"].append(name)
    out = aligned([(title, ", ".join(names)) for title, names in rows.items() if names])
    if left_out:
        copies = one.mode if mounts == other.mode else other.mode
        out += ["", f"seen in {mounts}, and left out of the image of {copies}:", *(f"  {path}" for path in left_out)]
    if always:
        names = sorted({posixpath.basename(path.rstrip("/")) for path in always})
        out += ["", f"left out of every image: {', '.join(names)}"]
    return tuple(out)


def _base_line(plan: Plan, sizes: Mapping[str, int], width: int) -> str:
    digest = plan.base.digest.removeprefix("sha256:")[:12] or "not resolved"
    size = amount(sizes[plan.base_key]) if plan.base_key in sizes else ""
    made = {"registry": "pulled", "bootstrap": "bootstrapped", "archive": "unpacked", "local": "found"}[plan.base.kind]
    state = "there" if size else f"to be {made}"
    return f"{'base':{width}}  {digest:12}  {size:>9}  {state}: {plan.base.reference}"


def as_json(plan: Plan, stock: Stock) -> dict[str, object]:
    """Return the stack as values for `--json`. Sizes are in bytes."""
    sizes = stock.sizes
    return {
        "mode": plan.mode,
        "key": plan.key,
        "base": {"reference": plan.base.reference, "digest": plan.base.digest, "python": plan.base.python},
        "layers": [
            {
                "name": layer.name,
                "key": layer.key,
                "present": layer.key in sizes,
                "mounted": layer.name in stock.mounted,
                "size": sizes.get(layer.key),
                "reason": None if layer.key in sizes else stock.reasons.get(layer.name),
                "inputs": dict(layer.inputs),
            }
            for layer in plan.layers
        ],
    }
