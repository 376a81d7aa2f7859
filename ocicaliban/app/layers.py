"""List, describe and copy recipes."""

from __future__ import annotations

import shutil
from pathlib import Path

from ocicaliban.app import place
from ocicaliban.build.inputs.registry import layer_words
from ocicaliban.errors import OcicalibanError
from ocicaliban.model.project import Project
from ocicaliban.project.config import load_project
from ocicaliban.recipes import catalog, describe


def listed() -> list[tuple[str, str, str]]:
    """Return the name, origin and summary of each recipe of the project in the current folder."""
    project = load_project(place.project_root())
    return [(name, origin, catalog.find(project, name).summary) for name, origin, _ in catalog.names(project)]


def described(name: str) -> tuple[str, ...]:
    """Return what a recipe is for, its parameters and its steps, in lines. Raises UsageError if there is none."""
    project = load_project(place.project_root())
    recipe = catalog.find(project, name)
    modes = [mode for mode, recipes in sorted(catalog.modes(project).items()) if name in recipes]
    return describe.recipe_lines(recipe, str(_folder(project, name)), modes, layer_words(recipe))


def eject(name: str) -> Path:
    """Copy a recipe into the project's layers/ folder, and return the copy.

    Raises UsageError if there is no such recipe, OcicalibanError if the project has a copy already.
    """
    project = load_project(place.project_root())
    catalog.find(project, name)
    target = project.root / "layers" / name
    if target.exists():
        raise OcicalibanError(f"{target} exists already", "edit it, or remove it first")
    shutil.copytree(_folder(project, name), target)
    return target


def _folder(project: Project, name: str) -> Path:
    return next(folder for known, _, folder in catalog.names(project) if known == name)
