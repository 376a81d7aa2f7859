"""A plan as text, JSON and a Containerfile; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ocicaliban.model import Configure, Copy, Plan, Run, Step


def lines(plan: Plan, there: Mapping[str, int], reasons: Mapping[str, str]) -> tuple[str, ...]:
    """The stack from the bottom up, a line each.

    `there` are the keys of the layers that the store has, with their sizes in bytes (the base's under its own key);
    `reasons` tell, by name, what changed since the last build.
    """
    width = max([len(layer.name) for layer in plan.layers] + [4])
    digest = plan.base.digest.removeprefix("sha256:")[:12] or "not resolved"
    base = _size(there[plan.base_key]) if plan.base_key in there else ""
    rows = [f"{'base':{width}}  {digest:12}  {base:>9}  {plan.base.reference}"]
    for layer in plan.layers:
        present = layer.key in there
        size = _size(there[layer.key]) if present else ""
        state = "there" if present else f"to be built: {reasons.get(layer.name, 'not in the store any more')}"
        rows.append(f"{layer.name:{width}}  {layer.key[:12]}  {size:>9}  {state}")
    return tuple(rows)


def _size(count: int) -> str:
    if count < 1000:
        return f"{count} B"
    value, unit = count / 1000, "kB"
    for larger in ("MB", "GB"):
        if value >= 1000:
            value, unit = value / 1000, larger
    return f"{value:.1f} {unit}"


def as_json(plan: Plan, there: Mapping[str, int], reasons: Mapping[str, str]) -> dict[str, object]:
    """The stack as plain values for `--json`; sizes in bytes."""
    return {
        "mode": plan.mode,
        "key": plan.key,
        "base": {"reference": plan.base.reference, "digest": plan.base.digest, "python": plan.base.python},
        "layers": [
            {
                "name": layer.name,
                "key": layer.key,
                "present": layer.key in there,
                "size": there.get(layer.key),
                "reason": None if layer.key in there else reasons.get(layer.name),
                "inputs": dict(layer.inputs),
            }
            for layer in plan.layers
        ],
    }


_HEADER = """\
# The image of `ocicaliban plan {mode} --containerfile`, without ocicaliban. Build it in the project's folder:
#   podman build --network host -v "$(command -v uv)":/dev/oc/uv:ro -f Containerfile .
"""


def containerfile(plan: Plan, sources: Mapping[str, str], base: str = "") -> str:
    """The same image as a Containerfile.

    `sources` gives the folder of each copied tree, relative to the context; `base` is the name of the base's image
    where it is one in the local store alone.
    """
    reference = base or plan.base.reference
    if plan.base.kind == "registry" and plan.base.digest:
        reference = f"{reference}@{plan.base.digest}"
    out = [_HEADER.format(mode=plan.mode), f"FROM {reference}"]
    for layer in plan.layers:
        out.append(f"\n# {layer.name}")
        for step in layer.steps:
            out += _instructions(step, sources)
    return "\n".join(out) + "\n"


def _instructions(step: Step, sources: Mapping[str, str]) -> list[str]:
    if isinstance(step, Copy):
        return [f"COPY {json.dumps([sources[step.tree], step.to])}"]
    if isinstance(step, Run):
        # The script itself, as it is run by ocicaliban; its inputs are written into the tmpfs that /dev is.
        before = [f"export {name}={_quoted(value)}" for name, value in step.env]
        before += [f"printf %s {_quoted(text)} > /dev/oc/{name}" for name, text in step.files]
        if step.files:
            before.insert(0, "mkdir -p /dev/oc")
        return [f"RUN {json.dumps(['/bin/sh', '-c', chr(10).join([*before, step.script])])}"]
    assert isinstance(step, Configure)
    found = [f"ENV {name}={json.dumps(value)}" for name, value in step.env]
    if step.path:
        found.append(f"ENV PATH={':'.join(step.path)}:$PATH")
    if step.workdir:
        found.append(f"WORKDIR {step.workdir}")
    if step.entrypoint:
        found.append(f"ENTRYPOINT {json.dumps(list(step.entrypoint))}")
    return found + [f"EXPOSE {port}" for port in step.ports]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
