"""The last plan that was built of each project and mode, to tell what has changed since."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

from ocicaliban.model.image import Plan, Tree
from ocicaliban.system import files as paths


@frozen(kw_only=True)
class Record:
    """What a built plan was made of: each layer's key and inputs, and the files of each tree by its digest.

    `root` is the project's folder.
    """

    layers: dict[str, dict[str, str]] = field(factory=dict)
    keys: dict[str, str] = field(factory=dict)
    files: dict[str, dict[str, str]] = field(factory=dict)
    base: str = ""
    root: str = ""


def of(plan: Plan, trees: Mapping[str, Tree], root: str = "") -> Record:
    """The record of a plan."""
    return Record(
        root=root,
        layers={layer.name: dict(layer.inputs) for layer in plan.layers},
        keys={layer.name: layer.key for layer in plan.layers},
        files={
            digest: {entry.path: f"{entry.kind} {entry.executable} {entry.digest}" for entry in tree.entries}
            for digest, tree in trees.items()
        },
        base=plan.base.digest,
    )


VERSION = 1
"""The version of a file. Files without one are of version 1."""


def to_record(built: Record) -> dict[str, object]:
    """Return a record as its file holds it."""
    return {
        "version": VERSION,
        "layers": built.layers,
        "keys": built.keys,
        "files": built.files,
        "base": built.base,
        "root": built.root,
    }


def from_record(record: Mapping[str, object]) -> Record:
    """Return the record in a file. Raises ValueError for another version or form."""
    if record.get("version", 1) != VERSION:
        raise ValueError("another version wrote it")
    tables = [record.get(name, {}) for name in ("layers", "keys", "files")]
    layers, keys, files = (value if isinstance(value, dict) else None for value in tables)
    if layers is None or keys is None or files is None:
        raise ValueError("it has another form")
    return Record(
        layers=layers, keys=keys, files=files, base=str(record.get("base", "")), root=str(record.get("root", ""))
    )


def _path(root: Path, mode: str) -> Path:
    return paths.state() / "plans" / (hashlib.sha256(os.fsencode(f"{root}\0{mode}")).hexdigest()[:32] + ".json")


def save(root: Path, plan: Plan, trees: Mapping[str, Tree]) -> None:
    """Remember that `plan` was built for the project in `root`."""
    before, now = load(root, plan.mode), of(plan, trees, str(root))
    if before == now:
        return
    paths.keep(_path(root, plan.mode), json.dumps(to_record(now)))


def _read(path: Path) -> Record | None:
    try:
        return from_record(json.loads(path.read_text()))
    except (OSError, ValueError, AttributeError):
        return None


def load(root: Path, mode: str) -> Record | None:
    """What was built last for the project in `root`; None when nothing was, or it cannot be read any more."""
    return _read(_path(root, mode))


def newest() -> tuple[Record, ...]:
    """What was built last of every project that is still there, and every mode."""
    found = map(_read, (paths.state() / "plans").glob("*.json"))
    return tuple(record for record in found if record and (not record.root or Path(record.root).is_dir()))


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _tree_change(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    parts = []
    for word, names in (
        ("changed", sorted(path for path in after if path in before and before[path] != after[path])),
        ("new", sorted(path for path in after if path not in before)),
        ("gone", sorted(path for path in before if path not in after)),
    ):
        if names:
            parts.append(f"{word}: {_some(names)}")
    return "; ".join(parts)


def reasons(plan: Plan, trees: Mapping[str, Tree], before: Record | None) -> dict[str, str]:
    """Why each layer differs from the one built last, by name; a layer that is the same has no entry. Pure."""
    if before is None:
        return {layer.name: "never built here" for layer in plan.layers}
    now = of(plan, trees)
    found: dict[str, str] = {}
    below = "the base changed" if before.base != now.base else ""
    for layer in plan.layers:
        if before.keys.get(layer.name) == layer.key:
            below = ""
            continue
        if layer.name not in before.layers:
            found[layer.name] = "new in the stack"
        else:
            old = before.layers[layer.name]
            parts: list[str] = []
            for name, value in layer.inputs:
                if old.get(name) == value:
                    continue
                change = ""
                if name.startswith("files in ") and old.get(name, "") in before.files and value in now.files:
                    change = _tree_change(before.files[old[name]], now.files[value])
                elif name.startswith("env "):
                    change = f"{name.removeprefix('env ')}: '{old.get(name, '')}' -> '{value}'"
                parts.append(change or f"{name} changed")
            parts += [f"{name} is gone" for name in old if name not in now.layers[layer.name]]
            found[layer.name] = "; ".join(parts) or below or "a layer below it changed"
        below = f"'{layer.name}' below it changed"
    return found
