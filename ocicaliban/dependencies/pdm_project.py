"""What [tool.pdm], [project] and [dependency-groups] of a pyproject.toml declare, as PDM reads them; pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ocicaliban.dependencies.locked_requirements import normalized
from ocicaliban.errors import UsageError, nearest
from ocicaliban.formats.toml import table_in

DEFAULT = "default"
"""PDM's name for the dependencies that belong to no group."""


def content_hashes(raw: Mapping[str, Any]) -> frozenset[str]:
    """Return the hashes by which PDM's versions recognise that a pyproject.toml has not changed since locking."""
    project, pdm = table_in(raw, "project"), table_in(raw, "tool", "pdm")
    own = {"dev-dependencies": pdm.get("dev-dependencies", {})}
    all_groups = {"dev-dependencies": dev_groups(raw)}
    resolution = {"resolution": pdm.get("resolution", {})}
    overrides = {"overrides": pdm.get("overrides", table_in(pdm, "resolution").get("overrides", {}))}
    hashes = set()
    for varying in ({**all_groups, **resolution}, {**own, **resolution}, {**own, **overrides}):
        content = {
            "sources": pdm.get("source", []),
            "dependencies": project.get("dependencies", []),
            "optional-dependencies": project.get("optional-dependencies", {}),
            "requires-python": project.get("requires-python", ""),
            **varying,
        }
        hashes.add(hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest())
    return frozenset(hashes)


def is_workspace(raw: Mapping[str, Any]) -> bool:
    """Whether a pyproject.toml is the root of a workspace of PDM."""
    return bool(table_in(raw, "tool", "pdm", "workspace"))


def dev_groups(raw: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the dependency groups with what they list: those of [dependency-groups] and of [tool.pdm]."""
    groups: dict[str, list[Any]] = {}
    for tables in (table_in(raw, "dependency-groups"), table_in(raw, "tool", "pdm", "dev-dependencies")):
        for name, lines in tables.items():
            groups.setdefault(normalized(name), []).extend(lines if isinstance(lines, list) else [])
    return groups


def extras(raw: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the extras of [project] with what they list."""
    return {normalized(name): lines for name, lines in table_in(raw, "project", "optional-dependencies").items()}


def group_lines(raw: Mapping[str, Any], group: str) -> list[str]:
    """Return the requirements of a group, an extra, or of the default group.

    Raises UsageError if a group includes one that does not exist, or itself.
    """
    if group == DEFAULT:
        return list(table_in(raw, "project").get("dependencies", []))
    groups, found = dev_groups(raw), list(extras(raw).get(group, []))

    def add(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise UsageError(f"pyproject.toml: the dependency group '{name}' includes itself", "remove the include")
        if name not in groups:
            message = f"pyproject.toml: the dependency group '{above[-1]}' includes '{name}', which does not exist"
            raise UsageError(message, nearest(name, groups))
        for item in groups[name]:
            if isinstance(item, dict):
                add(normalized(str(item.get("include-group", ""))), (*above, name))
            else:
                found.append(str(item))

    if group in groups:
        add(group, ())
    return found


def checked_groups(raw: Mapping[str, Any], given: Iterable[str]) -> frozenset[str]:
    """Return the normalized names of groups. Raises UsageError for one that the pyproject.toml does not declare."""
    names, declared = {normalized(name) for name in given}, dev_groups(raw)
    if unknown := sorted(names - {*declared}):
        raise UsageError(f"pyproject.toml declares no group '{unknown[0]}'", nearest(unknown[0], declared))
    return frozenset(names)


_EDITABLE = re.compile(r"^\s*(?:-e|--editable)[ =]\s*(\S+)")
_LOCAL_URL = re.compile(r"^file://(?:/+\$\{PROJECT_ROOT\}|/*\.)/?(.*)$")


def local_path(line: str, root: Path) -> tuple[str, bool] | None:
    """Return the path of a requirement that is a folder or file of the project, and whether it is editable.

    The path is relative to `root`. Returns None for other requirements.
    """
    editable = _EDITABLE.match(line)
    url = editable[1] if editable else line.partition("@")[2].partition(" ;")[0].strip()
    url = url.partition("#")[0]
    if relative := _LOCAL_URL.match(url):
        return relative[1] or ".", bool(editable)
    if url.startswith("file://"):
        path = Path(url.removeprefix("file://"))
        return (str(path.relative_to(root)) if path.is_relative_to(root) else str(path)), bool(editable)
    if editable and "://" not in url:
        return url, True
    return None
