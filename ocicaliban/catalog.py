"""Finds recipes and modes: the project's, the user's, the built-in ones; the first of a name wins."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path

from ocicaliban.errors import UsageError
from ocicaliban.load import load_modes, load_recipe
from ocicaliban.model import Project, Recipe


def builtin_layers() -> Path:
    """The folder of the built-in recipes: in the package when installed from a wheel, else beside it."""
    here = Path(__file__).resolve().parent
    inside = here / "layers"
    return inside if inside.is_dir() else here.parent / "layers"


def layer_folders(project: Project, environ: Mapping[str, str] = os.environ) -> tuple[tuple[str, Path], ...]:
    """Where recipes may lie, first to last, each with the word for its origin."""
    config = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "~")).expanduser() / ".config")
    return (
        ("project", project.root / "layers"),
        ("user", config / "ocicaliban" / "layers"),
        ("built-in", builtin_layers()),
    )


def _nearest(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(names)}"


def names(project: Project) -> tuple[tuple[str, str, Path], ...]:
    """All recipes that can be had: name, origin and folder, by name."""
    found: dict[str, tuple[str, Path]] = {}
    for origin, folder in layer_folders(project):
        if folder.is_dir():
            for entry in sorted(folder.iterdir()):
                if (entry / "layer.toml").is_file():
                    found.setdefault(entry.name, (origin, entry))
    return tuple((name, *found[name]) for name in sorted(found))


def find(project: Project, name: str) -> Recipe:
    """The recipe called `name`; raises UsageError with the nearest name when there is none."""
    for _, folder in layer_folders(project):
        if (folder / name / "layer.toml").is_file():
            origin = next(o for o, f in layer_folders(project) if f == folder)
            return load_recipe(folder / name, origin)
    known = [known for known, _, _ in names(project)]
    raise UsageError(f"there is no recipe '{name}'", _nearest(name, known))


def modes(project: Project) -> dict[str, tuple[str, ...]]:
    """The built-in modes and the project's own, which win."""
    return load_modes(builtin_layers() / "modes.toml") | project.modes


def recipes_for(project: Project, mode: str) -> tuple[Recipe, ...]:
    """The recipes of a mode, as listed; raises UsageError for an unknown mode or recipe."""
    known = modes(project)
    if mode not in known:
        raise UsageError(f"there is no mode '{mode}'", _nearest(mode, sorted(known)))
    every = {name for name, _, _ in names(project)}
    for name in project.layers:
        if name not in every:
            raise UsageError(
                f"{project.root / 'ocicaliban.toml'}: [layers.{name}]: there is no such recipe",
                _nearest(name, sorted(every)),
            )
    return tuple(find(project, name) for name in known[mode])
