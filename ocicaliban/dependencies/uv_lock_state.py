"""Compare a uv.lock with the project that it locks, without uv, which needs a Python that the project allows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet

from ocicaliban.dependencies.locked_requirements import normalized
from ocicaliban.formats.toml import read_toml, table_in

_SOURCES = {"git", "url", "path", "directory", "editable", "virtual"}
"""Keys of a requirement with a source of its own, whose version uv.lock does not repeat."""


def lacks_requirements(root: Path) -> bool:
    """Whether the project in `root` declares a dependency that its uv.lock, here or above, does not have like that."""
    file = root / "pyproject.toml"
    project = table_in(read_toml(file)[1], "project") if file.is_file() else {}
    path = next((folder / "uv.lock" for folder in (root, *root.parents) if (folder / "uv.lock").is_file()), None)
    declared = project.get("dependencies", [])
    if path is None or not isinstance(declared, list) or not isinstance(project.get("name"), str):
        return False
    packages = read_toml(path)[1].get("package", [])
    name = normalized(project["name"])
    own = next((package for package in packages if normalized(str(package.get("name"))) == name), None)
    if own is None:
        return True
    locked = table_in(own, "metadata").get("requires-dist", [])
    return not all(_is_locked(str(line), locked) for line in declared)


def _is_locked(line: str, locked: list[Mapping[str, Any]]) -> bool:
    try:
        wanted = Requirement(line)
    except InvalidRequirement:
        return True  # uv reports it
    same = [entry for entry in locked if normalized(str(entry.get("name"))) == normalized(wanted.name)]
    return any(_SOURCES & {*entry} or SpecifierSet(entry.get("specifier", "")) == wanted.specifier for entry in same)
