"""Find recipes and modes: the project's, the user's and the built-in ones. The first with a name wins."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve

from ocicaliban.errors import SettingError, UsageError, nearest
from ocicaliban.model.project import Project
from ocicaliban.model.recipe import Recipe
from ocicaliban.project.config import setting_place
from ocicaliban.recipes import params
from ocicaliban.recipes.loader import FILE, Modes, load_modes, load_recipe
from ocicaliban.system import files

BUILT_IN = "built-in"


def builtin_layers() -> Path:
    """Return the folder of the built-in recipes: in the package if installed from a wheel, else beside it."""
    here = Path(__file__).resolve().parents[1]
    inside = here / "layers"
    return inside if inside.is_dir() else here.parent / "layers"


def layer_folders(project: Project) -> tuple[tuple[str, Path], ...]:
    """Return the folders that may hold recipes, first to last, each with a word for its origin."""
    return (
        ("project", project.root / "layers"),
        ("user", files.config() / "layers"),
        (BUILT_IN, builtin_layers()),
    )


def names(project: Project) -> tuple[tuple[str, str, Path], ...]:
    """Return name, origin and folder of all recipes, sorted by name."""
    recipes: dict[str, tuple[str, Path]] = {}
    for origin, place in layer_folders(project):
        if place.is_dir():
            for entry in sorted(place.iterdir()):
                if (entry / FILE).is_file():
                    recipes.setdefault(entry.name, (origin, entry))
    return tuple((name, *recipes[name]) for name in sorted(recipes))


def folder(project: Project, name: str) -> Path:
    """Return the folder of a recipe. Raises UsageError, with the nearest name, if there is no such recipe."""
    return _origin_and_folder(project, name)[1]


def find(project: Project, name: str) -> Recipe:
    """Return a recipe. Raises UsageError, with the nearest name, if there is no such recipe."""
    origin, place = _origin_and_folder(project, name)
    recipe = load_recipe(place, origin)
    if origin != BUILT_IN and not recipe.inputs and (builtin_layers() / name / FILE).is_file():
        # A copy from before recipes named their inputs takes those of the built-in recipe.
        replaced = load_recipe(builtin_layers() / name, BUILT_IN)
        provides = recipe.provides or replaced.provides
        return evolve(recipe, former_inputs=replaced.inputs, provides=provides)
    return recipe


def _origin_and_folder(project: Project, name: str) -> tuple[str, Path]:
    for origin, place in layer_folders(project):
        if (place / name / FILE).is_file():
            return origin, place / name
    raise UsageError(f"there is no recipe '{name}'", nearest(name, [known for known, _, _ in names(project)]))


def _builtin_modes() -> Modes:
    return load_modes(builtin_layers() / "modes.toml")


def modes(project: Project) -> dict[str, tuple[str, ...]]:
    """Return the recipes of all modes. The project's own modes replace built-in ones of the same name."""
    return _builtin_modes().modes | project.modes


def recipes_for(project: Project, mode: str) -> tuple[Recipe, ...]:
    """Return the recipes of a mode, as listed, and check what the project's configuration says of any recipe.

    Raises UsageError, with file and line, for an unknown mode, recipe or parameter and for a wrong value.
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


def mounting(project: Project, recipes: tuple[Recipe, ...]) -> tuple[Recipe, ...]:
    """Return the recipes as --mount has them: what copies the source is replaced by what mounts it."""
    mount = _builtin_modes().mount
    return tuple(find(project, mount[recipe.provides]) if recipe.provides in mount else recipe for recipe in recipes)


def _listed(project: Project, mode: str, name: str, every: list[str]) -> Recipe:
    if name not in every:
        place = f"{setting_place(project.root, ('modes', mode))}: " if mode in project.modes else ""
        raise UsageError(f"{place}the mode '{mode}' lists '{name}': there is no such recipe", nearest(name, every))
    return find(project, name)
