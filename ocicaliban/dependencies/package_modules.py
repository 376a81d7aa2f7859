"""Whether a build backend finds the modules of a package by the package's name. One that does not refuses to build."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ocicaliban.dependencies.package_files import PackageFolder
from ocicaliban.formats.toml import read_toml, table_in


def missing_modules(folder: PackageFolder) -> str:
    """Return why the backend has nothing to install, "" if it has something, or decides by other rules.

    setuptools is asked itself (see `package_discovery`).
    """
    path = folder.path / "pyproject.toml"
    raw = read_toml(path)[1] if path.is_file() else {}
    module = re.sub(r"[-_.]+", "_", folder.build.name).lower()
    wanted = _CANDIDATES.get(folder.build.tool, _none)(raw, module)
    if not wanted or _any_of(wanted, folder.names):
        return ""
    return f"{folder.build.tool.split('_')[0]} finds no module of its name ({' or '.join(wanted)})"


def _any_of(wanted: Iterable[str], names: Mapping[str, bool]) -> bool:
    lowered = {path.lower() for path in names}
    return any(path in lowered for path in wanted)


def _none(raw: Mapping[str, Any], module: str) -> tuple[str, ...]:
    return ()


def _of_poetry(raw: Mapping[str, Any], module: str) -> tuple[str, ...]:
    if "packages" in table_in(raw, "tool", "poetry"):
        return ()
    return module, f"{module}.py", f"src/{module}", f"src/{module}.py"


def _of_hatchling(raw: Mapping[str, Any], module: str) -> tuple[str, ...]:
    build = table_in(raw, "tool", "hatch", "build")
    keys = {*build, *table_in(build, "targets", "wheel")}
    if keys & {"packages", "include", "only-include", "force-include", "bypass-selection", "hooks", "sources"}:
        return ()
    return f"{module}/__init__.py", f"src/{module}/__init__.py", f"{module}.py"


def _of_flit(raw: Mapping[str, Any], module: str) -> tuple[str, ...]:
    named = table_in(raw, "tool", "flit", "module").get("name")
    if named or table_in(raw, "tool", "flit", "metadata"):
        return ()
    return module, f"{module}.py", f"src/{module}", f"src/{module}.py"


def _of_uv(raw: Mapping[str, Any], module: str) -> tuple[str, ...]:
    settings = table_in(raw, "tool", "uv", "build-backend")
    if {"module-name", "namespace"} & {*settings}:
        return ()
    root = str(settings.get("module-root", "src"))
    return (f"{root}/{module}/__init__.py" if root else f"{module}/__init__.py",)


_CANDIDATES = {
    "poetry": _of_poetry,
    "hatchling": _of_hatchling,
    "flit_core": _of_flit,
    "flit": _of_flit,
    "uv_build": _of_uv,
}
"""What each backend looks for, by its top-level module; () if the project names its modules."""
