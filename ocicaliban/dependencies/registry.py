"""All ways of declaring dependencies, in their order: the first that a project has is taken."""

from __future__ import annotations

import os
from pathlib import Path

from ocicaliban.dependencies.conda.conda_lock import CondaLock, ExplicitLock
from ocicaliban.dependencies.conda.environment_yml import EnvironmentYml
from ocicaliban.dependencies.conda.pixi import PixiLock, PixiManifest, PixiPyproject
from ocicaliban.dependencies.declaration import Declaration, manifest, table
from ocicaliban.dependencies.pdm import PdmProject
from ocicaliban.dependencies.pdm_lock import PdmLock
from ocicaliban.dependencies.pipfile import Pipfile
from ocicaliban.dependencies.pipfile_lock import PipfileLock
from ocicaliban.dependencies.poetry import PoetryProject
from ocicaliban.dependencies.poetry_lock import PoetryLock
from ocicaliban.dependencies.pylock import PylockToml
from ocicaliban.dependencies.pyproject import PyprojectToml
from ocicaliban.dependencies.requirements_txt import RequirementsList
from ocicaliban.dependencies.setup_cfg import SetupCfg
from ocicaliban.dependencies.setup_py import SetupScript
from ocicaliban.dependencies.uv_lock import UvLock

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
)

_NOT_READ: tuple[str, ...] = ()


def found_in(root: Path) -> tuple[Declaration, ...]:
    """Return the declarations of the project in `root`, in the order of the ways. The first is the source."""
    try:
        there = {*os.listdir(root)}
    except NotADirectoryError:
        return ()
    asked = (way.find(root) for way in WAYS if not there.isdisjoint(way.names()))
    return tuple(filter(None, asked))


def find_declaration(root: Path) -> Declaration | None:
    """Return the declaration of the project in `root`, or None if it declares no dependencies."""
    return next(iter(found_in(root)), None)


def declaration_in(root: Path, path: Path) -> Declaration:
    """Return the declaration in a file that the project's configuration names. uv judges a file of no known form."""
    way = next((way for way in WAYS if way.reads(path)), Declaration)
    return way(root=root, path=path)


def unread_file(root: Path) -> str:
    """Return the name of a file that declares dependencies in a way that is not read; "" if there is none."""
    if table(manifest(root), "tool", "poetry"):
        return "the [tool.poetry] of pyproject.toml"
    return next((name for name in _NOT_READ if (root / name).is_file()), "")
