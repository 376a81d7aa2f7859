"""Remember the last plan that was built of each project and mode, and tell what has changed since."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from ocicaliban.formats.jsonc import parse_json
from ocicaliban.model.image import Plan, PlannedLayer, Tree
from ocicaliban.system import files

VERSION = 1
"""The version of the file's format. Files without a version have version 1 too."""


@frozen(kw_only=True)
class BuildRecord:
    """What a built plan was made of.

    `layers` holds the digests of each layer's parts, and `keys` its key, by its name. `files` holds the files of each
    tree, by its digest. `base` is the digest of the base image, and `root` the project's folder. `here` are the names
    of images and the keys of folders that a container on this machine had in place of layers.
    """

    layers: dict[str, dict[str, str]] = field(factory=dict)
    keys: dict[str, str] = field(factory=dict)
    files: dict[str, dict[str, str]] = field(factory=dict)
    base: str = ""
    root: str = ""
    here: tuple[str, ...] = ()


def to_record(build: BuildRecord) -> dict[str, Any]:
    """Return a build record as its file has it."""
    return {
        "version": VERSION,
        "layers": build.layers,
        "keys": build.keys,
        "files": build.files,
        "base": build.base,
        "root": build.root,
        **({"here": list(build.here)} if build.here else {}),
    }


def from_record(raw: Mapping[str, Any]) -> BuildRecord:
    """Return the build record in a file. Raises ValueError if it has another version or form."""
    if raw.get("version", VERSION) != VERSION:
        raise ValueError("it has another version")
    tables = [raw.get(name, {}) for name in ("layers", "keys", "files")]
    if not all(isinstance(table, dict) for table in tables):
        raise ValueError("it has another form")
    layers, keys, files = tables
    here = raw.get("here", [])
    return BuildRecord(
        layers=layers,
        keys=keys,
        files=files,
        base=str(raw.get("base", "")),
        root=str(raw.get("root", "")),
        here=tuple(map(str, here)) if isinstance(here, list) else (),
    )


def record_of(plan: Plan, trees: Mapping[str, Tree], root: str = "") -> BuildRecord:
    """Return the record of a plan for the project in `root`, with the trees that it copies."""
    return BuildRecord(
        root=root,
        layers={layer.name: dict(layer.inputs) for layer in plan.layers},
        keys={layer.name: layer.key for layer in plan.layers},
        files={
            digest: {entry.path: f"{entry.kind} {entry.executable} {entry.digest}" for entry in tree.entries}
            for digest, tree in trees.items()
        },
        base=plan.base.digest,
    )


def save(root: Path, plan: Plan, trees: Mapping[str, Tree], here: tuple[str, ...] = ()) -> None:
    """Remember that `plan` was built for the project in `root`, and what containers have `here` in place of layers."""
    before, now = load(root, plan.mode), evolve(record_of(plan, trees, str(root)), here=here)
    if before and not here and before.keys == now.keys:
        now = evolve(now, here=before.here)
    if before != now:
        files.keep(_file(root, plan.mode), json.dumps(to_record(now)))


def load(root: Path, mode: str) -> BuildRecord | None:
    """Return what was built last of a mode for the project in `root`; None if nothing was, or if it is unreadable."""
    return _read(_file(root, mode))


def newest() -> tuple[BuildRecord, ...]:
    """Return what was built last of every mode of every project that still exists."""
    records = map(_read, (files.state() / "plans").glob("*.json"))
    return tuple(record for record in records if record and (not record.root or Path(record.root).is_dir()))


def _file(root: Path, mode: str) -> Path:
    return files.state() / "plans" / (hashlib.sha256(os.fsencode(f"{root}\0{mode}")).hexdigest()[:32] + ".json")


def _read(path: Path) -> BuildRecord | None:
    try:
        return from_record(parse_json(path.read_text()))
    except (OSError, ValueError, AttributeError):
        return None


# --- what has changed ---


def reasons(plan: Plan, trees: Mapping[str, Tree], before: BuildRecord | None) -> dict[str, str]:
    """Return why each layer differs from the one built last, by name; pure. Unchanged layers have no reason."""
    if before is None:
        return {layer.name: "never built here" for layer in plan.layers}
    now = record_of(plan, trees)
    changes: dict[str, str] = {}
    below = "the base changed" if before.base != now.base else ""
    for layer in plan.layers:
        if before.keys.get(layer.name) == layer.key:
            below = ""
            continue
        if layer.name not in before.layers:
            changes[layer.name] = "new in this image"
        else:
            changes[layer.name] = _layer_change(layer, before, now) or below or "a layer below it changed"
        below = f"'{layer.name}' below it changed"
    return changes


def _layer_change(layer: PlannedLayer, before: BuildRecord, now: BuildRecord) -> str:
    """Return what has changed in the parts of a layer itself, "" for nothing."""
    old = before.layers[layer.name]
    changes: list[str] = []
    for name, value in layer.inputs:
        if old.get(name) == value:
            continue
        change = ""
        if name.startswith("files in ") and old.get(name, "") in before.files and value in now.files:
            change = _tree_change(before.files[old[name]], now.files[value])
        elif name.startswith("env "):
            change = f"{name.removeprefix('env ')}: '{old.get(name, '')}' -> '{value}'"
        changes.append(change or f"{name} changed")
    changes += [f"{name} is gone" for name in old if name not in now.layers[layer.name]]
    return "; ".join(changes)


def _tree_change(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    changes = []
    for word, names in (
        ("changed", sorted(path for path in after if path in before and before[path] != after[path])),
        ("new", sorted(path for path in after if path not in before)),
        ("gone", sorted(path for path in before if path not in after)),
    ):
        if names:
            changes.append(f"{word}: {_shortened(names)}")
    return "; ".join(changes)


def _shortened(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
