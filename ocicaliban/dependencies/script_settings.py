"""The settings of uv for a script with a header (PEP 723): those in its header, before those of the project; pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_OF_A_PROJECT = (
    "build-backend", "build-constraint-dependencies", "cache-keys", "conflicts", "constraint-dependencies",
    "default-groups", "dependency-groups", "dev-dependencies", "environments", "exclude-dependencies", "managed",
    "override-dependencies", "package", "pip", "required-environments", "sources", "workspace",
)  # fmt: skip
"""What a project's settings say of its own dependencies alone, which `uv run SCRIPT` leaves out; [tool.uv.pip] too."""


def of_project(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a project's settings that count for its scripts."""
    return {key: value for key, value in settings.items() if key not in _OF_A_PROJECT}


def joined(header: Mapping[str, Any], project: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a header with those of the project that count: lists are joined, the header's first."""
    found = {key: value for key, value in header.items() if key != "pip"}
    for key, value in of_project(project).items():
        before = found.get(key)
        if isinstance(before, list) and isinstance(value, list):
            found[key] = [*before, *value]
        elif isinstance(before, dict) and isinstance(value, dict):
            found[key] = {**value, **before}
        else:
            found.setdefault(key, value)
    return found


def absolute(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return settings in which the paths, which are relative to `folder`, are absolute."""
    found = dict(settings)
    for key, value in settings.items():
        if key == "index-url" and isinstance(value, str):
            found[key] = _path(value, folder)
        elif key in ("extra-index-url", "find-links") and isinstance(value, list):
            found[key] = [_path(str(each), folder) for each in value]
        elif key == "index" and isinstance(value, list):
            found[key] = [_table(each, "url", folder) for each in value]
        elif key == "sources" and isinstance(value, dict):
            found[key] = {
                name: [_table(each, "path", folder) for each in source]
                if isinstance(source, list)
                else _table(source, "path", folder)
                for name, source in value.items()
            }
    return found


def _table(table: Any, key: str, folder: Path) -> Any:
    if not isinstance(table, dict) or not isinstance(table.get(key), str):
        return table  # uv says what is wrong with it
    return {**table, key: _path(table[key], folder)}


def _path(place: str, folder: Path) -> str:
    return place if "://" in place else str((folder / place).resolve())
