"""The commands layers list, show and eject."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from ocicaliban.model.project import Project

app = typer.Typer(no_args_is_help=True, help="The recipes that images are made of.")


def _project() -> Project:
    from ocicaliban.project.config import load_project

    return load_project(Path.cwd())


@app.command("list")
def list_() -> None:
    """List the recipes and where they come from."""
    from ocicaliban.jobs import status_table
    from ocicaliban.recipes import catalog

    project = _project()
    rows = [(name, origin, catalog.find(project, name).summary) for name, origin, _ in catalog.names(project)]
    print(*status_table.aligned(rows), sep="\n")


@app.command()
def show(name: str) -> None:
    """Show what a recipe is for, which parameters it takes and what it does."""
    from ocicaliban.build.inputs.registry import layer_words
    from ocicaliban.recipes import catalog, describe

    project = _project()
    recipe = catalog.find(project, name)
    place = next(folder for known, _, folder in catalog.names(project) if known == name)
    modes = [mode for mode, recipes in sorted(catalog.modes(project).items()) if name in recipes]
    print("\n".join(describe.recipe_lines(recipe, str(place), modes, layer_words(recipe))))


@app.command()
def eject(name: str) -> None:
    """Copy a recipe into the project's layers/ folder, to be edited."""
    from ocicaliban.errors import OcicalibanError
    from ocicaliban.recipes import catalog

    project = _project()
    catalog.find(project, name)
    folder = next(folder for known, _, folder in catalog.names(project) if known == name)
    target = project.root / "layers" / name
    if target.exists():
        raise OcicalibanError(f"{target} is there already", "edit it, or remove it first")
    shutil.copytree(folder, target)
    print(target)
