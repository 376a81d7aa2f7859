"""Compute the keys of layers; pure. All that decides a key is in this module."""

from __future__ import annotations

import hashlib
import json

from ocicaliban.model.image import Base, Copy, Run, Step

FORMAT = "ocicaliban-1"
"""Part of every key: raise it when the same steps would give other bytes."""


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def base_key(base: Base) -> str:
    """Return the key of the base image. While a base is unresolved, its key is one that no image has."""
    return _sha256([FORMAT, "base", base.digest or f"unresolved {base.reference}", base.platform])


def layer_key(parent: str, steps: tuple[Step, ...]) -> str:
    """Return the key (sha256, hex) of a layer, from the key of the layer below it and its steps."""
    return _sha256([FORMAT, parent, [_to_record(step) for step in steps]])


def _to_record(step: Step) -> tuple[str, dict[str, object]]:
    """Return a step as it enters keys. These names are the format, and not those of the classes and their fields."""
    if isinstance(step, Run):
        return "Run", {
            "script": step.script,
            "env": step.env,
            "files": step.files,
            "cache": step.cache,
            "tools": step.tools,
            "secrets": step.secrets,
            # A step without trees, an index or settings of its own has the key that it had before there were any.
            **({"trees": step.trees} if step.trees else {}),
            **({"index": step.index} if step.index else {}),
            **({"uv": step.uv_settings} if step.uv_settings else {}),
            # The files of each package are put into the layer, without running anything there.
            **({"singly": step.singly} if step.singly else {}),
            # Its files differ from those of a user with sub-ids.
            **({"owners": "lost"} if step.loses_owners else {}),
        }
    if isinstance(step, Copy):
        return "Copy", {"tree": step.tree, "to": step.to}
    return "Configure", {
        "env": step.env,
        "path": step.path,
        "workdir": step.workdir,
        "entrypoint": step.entrypoint,
        "ports": step.ports,
    }


def step_digests(steps: tuple[Step, ...]) -> tuple[tuple[str, str], ...]:
    """Return a digest of each part of the steps, by a name that people understand, to tell later what has changed."""
    digests: list[tuple[str, str]] = []
    for step in steps:
        if isinstance(step, Run):
            digests.append(("script", _sha256(step.script)))
            digests.extend((f"env {name}", value) for name, value in step.env)
            digests.extend((name, _sha256(content)) for name, content in step.files)
            digests.extend((f"files in {folder}", tree) for folder, tree in step.trees)
            digests.extend([("index", step.index)] if step.index else [])
            digests.extend([("uv's settings for builds", step.uv_settings)] if step.uv_settings else [])
            digests.extend([("owners of files", "lost")] if step.loses_owners else [])
        elif isinstance(step, Copy):
            digests.append((f"files in {step.to}", step.tree))
        else:
            digests.append(("config", _sha256(_to_record(step)[1])))
    return tuple(digests)
