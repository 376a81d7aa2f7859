"""A plan as text and JSON; pure."""

from __future__ import annotations

from collections.abc import Collection

from ocicaliban.model import Plan


def lines(plan: Plan, there: Collection[str]) -> tuple[str, ...]:
    """The stack from the bottom up, a line each; `there` are the keys of the layers that the store has."""
    width = max([len(layer.name) for layer in plan.layers] + [4])
    digest = plan.base.digest.removeprefix("sha256:")[:12] or "not resolved"
    rows = [f"{'base':{width}}  {digest:12}  {plan.base.reference}"]
    for layer in plan.layers:
        rows.append(f"{layer.name:{width}}  {layer.key[:12]}  {'there' if layer.key in there else 'to be built'}")
    return tuple(rows)


def as_json(plan: Plan, there: Collection[str]) -> dict[str, object]:
    """The stack as plain values for `--json`."""
    return {
        "mode": plan.mode,
        "key": plan.key,
        "base": {"reference": plan.base.reference, "digest": plan.base.digest, "python": plan.base.python},
        "layers": [
            {"name": layer.name, "key": layer.key, "present": layer.key in there, "inputs": dict(layer.inputs)}
            for layer in plan.layers
        ],
    }
