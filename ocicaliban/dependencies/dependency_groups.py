"""The dependency groups that a pyproject.toml declares, and those that `uv run` installs by default; pure.

uv itself expands `include-group`. The names are needed before it does: they are part of what a lock is made from, and a
misspelt one must not wait for a resolution.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ocicaliban.dependencies.locked_requirements import normalized
from ocicaliban.errors import UsageError, nearest
from ocicaliban.formats.toml import table_in

_DEV = "dev"


def declared(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the groups as the file writes them. uv's older `dev-dependencies` are the group `dev`."""
    names = [*table_in(manifest, "dependency-groups")]
    if "dev-dependencies" in table_in(manifest, "tool", "uv") and _DEV not in map(normalized, names):
        names.append(_DEV)
    return tuple(names)


def defaults(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the groups that `uv run` installs, by their normalized names.

    Raises UsageError if default-groups names a group that the file does not declare.
    """
    names = declared(manifest)
    chosen = table_in(manifest, "tool", "uv").get("default-groups")
    if chosen == "all":
        return tuple(sorted(map(normalized, names)))
    if isinstance(chosen, list):
        return checked(chosen, manifest, "tool.uv.default-groups")
    return tuple(name for name in map(normalized, names) if name == _DEV)


def with_defaults(manifest: Mapping[str, Any], asked: Iterable[str], file: str) -> tuple[str, ...]:
    """Return the default groups and those that are asked for, normalized and sorted. `file` is for a message.

    Raises UsageError for a group that the file does not declare.
    """
    return tuple(sorted({*defaults(manifest), *checked(asked, manifest, file)}))


def checked(asked: Iterable[object], manifest: Mapping[str, Any], place: str) -> tuple[str, ...]:
    """Return the groups that are asked for by their normalized names, sorted.

    Raises UsageError for one that the file does not declare; `place` says which file, or which key in it.
    """
    names = declared(manifest)
    known = {normalized(name) for name in names}
    for name in map(str, asked):
        if normalized(name) not in known:
            hint = (
                nearest(normalized(name), sorted(known))
                if names
                else "the table [dependency-groups] of pyproject.toml declares groups"
            )
            raise UsageError(f"{place}: there is no dependency group '{name}'", hint)
    return tuple(sorted(normalized(str(name)) for name in {*asked}))


def text(manifest: Mapping[str, Any]) -> str:
    """Return a text that differs whenever the contents of the groups do."""
    groups = table_in(manifest, "dependency-groups")
    return json.dumps([groups, table_in(manifest, "tool", "uv").get("dev-dependencies")], sort_keys=True, default=str)
