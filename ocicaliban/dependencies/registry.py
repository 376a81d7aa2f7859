"""All ways of declaring dependencies, in their order: the first that a project has is taken."""

from __future__ import annotations

import os
from pathlib import Path

from ocicaliban.dependencies.cog import CogYaml
from ocicaliban.dependencies.conda.conda_lock import CondaLock, ExplicitLock
from ocicaliban.dependencies.conda.environment_yml import EnvironmentYml
from ocicaliban.dependencies.conda.pixi import PixiLock, PixiManifest, PixiPyproject
from ocicaliban.dependencies.declaration import Declaration
from ocicaliban.dependencies.hatch import HatchEnvironment
from ocicaliban.dependencies.pdm import PdmProject
from ocicaliban.dependencies.pdm_lock import PdmLock
from ocicaliban.dependencies.pipfile import Pipfile
from ocicaliban.dependencies.pipfile_lock import PipfileLock
from ocicaliban.dependencies.poetry import PoetryProject
from ocicaliban.dependencies.poetry_lock import PoetryLock
from ocicaliban.dependencies.pylock import PylockToml
from ocicaliban.dependencies.pyproject import PyprojectToml
from ocicaliban.dependencies.requirements_txt import RequirementsList
from ocicaliban.dependencies.script_header import ScriptHeader
from ocicaliban.dependencies.setup_cfg import SetupCfg
from ocicaliban.dependencies.setup_py import SetupScript
from ocicaliban.dependencies.uv_lock import UvLock
from ocicaliban.formats.sizes import check_size

# The folders binder/ and .binder/ come between HatchEnvironment and CogYaml (see `survey`).
WAYS: tuple[type[Declaration], ...] = (
    UvLock,
    PylockToml,
    PoetryLock,
    PdmLock,
    PipfileLock,
    CondaLock,
    ExplicitLock,
    PixiLock,
    RequirementsList,
    PixiPyproject,
    PoetryProject,
    PdmProject,
    PyprojectToml,
    Pipfile,
    SetupScript,
    SetupCfg,
    EnvironmentYml,
    PixiManifest,
    HatchEnvironment,
    CogYaml,
    ScriptHeader,
)


NAMES = frozenset(name for way in WAYS for name in way.names() if name)
"""The names of all files that are a way of declaring dependencies."""


def found_in(root: Path) -> tuple[Declaration, ...]:
    """Return the declarations of the project in `root`, in the order of the ways.

    Raises UsageError for a file that is larger than any that declares something.
    """
    there = names_in(root)
    for name in sorted(there & NAMES):
        check_size(root / name)
    asked = (way.find(root) for way in WAYS if not there.isdisjoint(way.names()))
    return tuple(filter(None, asked))


def names_in(folder: Path) -> frozenset[str]:
    """Return the names in a folder; none if there is no such folder."""
    try:
        return frozenset(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()


def find_declaration(root: Path) -> Declaration | None:
    """Return the declaration of the project in `root`, or None if it declares no dependencies."""
    return next(iter(found_in(root)), None)


def declaration_in(root: Path, path: Path) -> Declaration:
    """Return the declaration in a file that the project's configuration names. uv judges a file of no known form."""
    # The files of some ways may have any name; a list of requirements most of all.
    reading = (way for way in WAYS if way.reads(path))
    ways = sorted(reading, key=lambda way: (path.name not in way.names(), way is RequirementsList))
    for way in ways:
        found = way.find(path.parent) if way.names() != (path.name,) or len(ways) > 1 else None
        if found and found.path == path:
            return way(root=root, path=path)
    return (ways[0] if ways else Declaration)(root=root, path=path)
