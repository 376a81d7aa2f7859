"""Finds recipes and modes: the project's, the user's, the built-in ones; the first of a name wins."""

from __future__ import annotations

from pathlib import Path

from ocicaliban.errors import SettingError, UsageError, nearest
from ocicaliban.model.project import Project
from ocicaliban.model.recipe import Recipe
from ocicaliban.project.config import setting_place
from ocicaliban.recipes import params
from ocicaliban.recipes.loader import load_modes, load_recipe
from ocicaliban.system import files


def builtin_layers() -> Path:
    """The folder of the built-in recipes: in the package when installed from a wheel, else beside it."""
    here = Path(__file__).resolve().parents[1]
    inside = here / "layers"
    return inside if inside.is_dir() else here.parent / "layers"


def layer_folders(project: Project) -> tuple[tuple[str, Path], ...]:
    """Where recipes may lie, first to last, each with the word for its origin."""
    return (
        ("project", project.root / "layers"),
        ("user", files.config() / "layers"),
        ("built-in", builtin_layers()),
    )


def names(project: Project) -> tuple[tuple[str, str, Path], ...]:
    """All recipes that can be had: name, origin and folder, by name."""
    found: dict[str, tuple[str, Path]] = {}
    for origin, folder in layer_folders(project):
        if folder.is_dir():
            for entry in sorted(folder.iterdir()):
                if (entry / "layer.toml").is_file():
                    found.setdefault(entry.name, (origin, entry))
    return tuple((name, *found[name]) for name in sorted(found))


def folder(project: Project, name: str) -> Path:
    """Where the recipe called `name` lies; raises UsageError with the nearest name when there is none."""
    known = {known: place for known, _, place in names(project)}
    if name not in known:
        raise UsageError(f"there is no recipe '{name}'", nearest(name, known))
    return known[name]


def find(project: Project, name: str) -> Recipe:
    """The recipe called `name`; raises UsageError with the nearest name when there is none."""
    for _, folder in layer_folders(project):
        if (folder / name / "layer.toml").is_file():
            origin = next(o for o, f in layer_folders(project) if f == folder)
            return load_recipe(folder / name, origin)
    raise UsageError(f"there is no recipe '{name}'", nearest(name, [known for known, _, _ in names(project)]))


def modes(project: Project) -> dict[str, tuple[str, ...]]:
    """The built-in modes and the project's own, which win."""
    return load_modes(builtin_layers() / "modes.toml") | project.modes


def recipes_for(project: Project, mode: str) -> tuple[Recipe, ...]:
    """The recipes of a mode, as listed; what the project gives to any recipe is checked.

    Raises UsageError for an unknown mode, recipe or parameter and for a wrong value, with file and line.
    """
    known = modes(project)
    if mode not in known:
        raise UsageError(f"there is no mode '{mode}'", nearest(mode, sorted(known)))
    every = [name for name, _, _ in names(project)]
    listed = {name: _listed(project, mode, name, every) for name in known[mode]}
    for name, given in project.layers.items():
        if name not in every:
            place = setting_place(project.root, ("layers", name))
            raise UsageError(f"{place}: [layers.{name}]: there is no such recipe", nearest(name, every))
        try:
            params.check(listed[name] if name in listed else find(project, name), given)
        except SettingError as fault:
            raise UsageError(f"{setting_place(project.root, fault.keys)}: {fault.message}", fault.hint) from fault
    return tuple(listed[name] for name in known[mode])


def _listed(project: Project, mode: str, name: str, every: list[str]) -> Recipe:
    if name not in every:
        place = f"{setting_place(project.root, ('modes', mode))}: " if mode in project.modes else ""
        raise UsageError(f"{place}the mode '{mode}' lists '{name}': there is no such recipe", nearest(name, every))
    return find(project, name)
