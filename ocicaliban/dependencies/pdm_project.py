"""What [tool.pdm], [project] and [dependency-groups] of a pyproject.toml declare, as PDM reads them; pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ocicaliban.dependencies.indexes import Indexes, is_pypi
from ocicaliban.dependencies.locked_requirements import normalized
from ocicaliban.dependencies.own_requirements import named_indexes, requirement_line, with_variables
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
    own = table_in(raw, "tool", "pdm", "dev-dependencies")
    if any(not isinstance(lines, list) for lines in own.values()):
        own = {"dev": []}  # a table of packages, see `former_lines`
    for tables in (table_in(raw, "dependency-groups"), own):
        for name, lines in tables.items():
            groups.setdefault(normalized(name), []).extend(lines if isinstance(lines, list) else [])
    return groups


def extras(raw: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the extras of [project] with what they list."""
    return {normalized(name): lines for name, lines in table_in(raw, "project", "optional-dependencies").items()}


def checked_extras(raw: Mapping[str, Any], given: Iterable[str]) -> tuple[dict[str, list[str]], set[str]]:
    """Return the declared extras, and the normalized names of the given ones.

    Raises UsageError for one that the pyproject.toml does not declare.
    """
    declared, names = extras(raw), {normalized(extra) for extra in given}
    if unknown := sorted(names - {*declared}):
        raise UsageError(f"pyproject.toml declares no extra '{unknown[0]}'", nearest(unknown[0], declared))
    return declared, names


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


def is_pdm(raw: Mapping[str, Any]) -> bool:
    """Whether a pyproject.toml declares dependencies, groups or package indexes in [tool.pdm]."""
    pdm = table_in(raw, "tool", "pdm")
    return any(key in pdm for key in ("dependencies", "dev-dependencies", "source"))


def former_lines(raw: Mapping[str, Any], groups: Iterable[str], root: Path) -> list[str]:
    """Return the requirements of the tables that PDM read before there was [project]."""
    pdm = table_in(raw, "tool", "pdm")
    tables = {"dependencies": table_in(pdm, "dependencies")}
    if "dev" in groups:
        own = table_in(pdm, "dev-dependencies")
        tables["dev-dependencies"] = {name: wanted for name, wanted in own.items() if not isinstance(wanted, list)}
    return [
        requirement_line(name, wanted, root, f"pyproject.toml: [tool.pdm.{key}]")
        for key, table in tables.items()
        for name, wanted in table.items()
    ]


def indexes(raw: Mapping[str, Any]) -> Indexes:
    """Return the package indexes of [[tool.pdm.source]]. Each is asked only for the packages that it had."""
    return Indexes(explicit=tuple(index for _, index in _sources(raw) if index))


def lock_indexes(raw: Mapping[str, Any]) -> Indexes:
    """Return the indexes of packages in a lock, which does not say where each was found.

    A source with a list of packages is asked for these alone.
    """
    listed = [(bool(source.get("include_packages")), index) for source, index in _sources(raw) if index]
    return Indexes(
        indexes=tuple(index for own, index in listed if not own),
        explicit=tuple(index for own, index in listed if own),
    )


def general_indexes(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the indexes that any package may come from, in their order; "" is the default one.

    A source called pypi replaces that.
    """
    listed = [(source["name"], index) for source, index in _sources(raw) if not source.get("include_packages")]
    if not any(name == "pypi" for name, _ in listed):
        listed.insert(0, ("pypi", ""))
    return tuple(index for _, index in listed)


def pin(raw: Mapping[str, Any], package: str) -> str:
    """Return the index that a package comes from alone, by the patterns of the sources; "" if there is none."""
    for source, index in _sources(raw):
        patterns = source.get("include_packages", ())
        if any(fnmatchcase(package, normalized_pattern(pattern)) for pattern in patterns):
            return index
    return ""


def normalized_pattern(pattern: str) -> str:
    """Return a pattern of names as indexes compare names."""
    return re.sub(r"[-_.]+", "-", pattern).lower()


def _sources(raw: Mapping[str, Any]) -> tuple[tuple[dict[str, Any], str], ...]:
    """Return the sources with the index of each (`NAME=URL`), "" for PyPI."""
    found = []
    for source in named_indexes(table_in(raw, "tool", "pdm").get("source")):
        url = with_variables(source["url"])
        found.append((source, "" if is_pypi(url) else f"{source['name']}={url}"))
    return tuple(found)
