"""Find what a project's files want of this machine outside of the project: the user allows that once.

Someone who runs a project that others wrote looks at its code, if at all, and not at its recipes. They must not mount
the user's home folder into a container unasked.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from attrs import frozen

from ocicaliban.build.inputs.provider import secret_files
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Launch, Plan, Run
from ocicaliban.model.project import Project, RunSettings
from ocicaliban.model.recipe import Recipe
from ocicaliban.model.resources import parse_mount
from ocicaliban.project import config
from ocicaliban.recipes import catalog, loader
from ocicaliban.recipes.catalog import BUILT_IN
from ocicaliban.system import files

_LONGEST = 800
"""Characters of a mount. The user must see all of it."""


@frozen(kw_only=True)
class Demand:
    """Something outside of the project that a file of the project wants.

    `what` says for people what it is, and decides together with `digest`, that of the scripts which see it, whether it
    is the one that was allowed. `place` names the file that wants it. A `build` needs it, or a container.
    """

    kind: Literal["mount", "capability", "secret", "folder", "option", "variable"]
    what: str
    place: str
    digest: str = ""

    @property
    def build(self) -> bool:
        """Whether it is for the build of an image."""
        return self.kind in ("secret", "folder")

    @property
    def identity(self) -> str:
        """What must be equal for the user to have allowed it."""
        return f"{self.kind} {self.what}{f' sha256:{self.digest}' if self.digest else ''}"


def of_plan(
    project: Project, plan: Plan, launches: Iterable[tuple[Recipe, Launch]], folders: Iterable[Path]
) -> tuple[Demand, ...]:
    """Return what a plan wants. `launches` are what its recipes add, `folders` those that its steps see.

    Raises UsageError for a mount that is too long to be shown.
    """
    chosen = plan.mode in project.modes
    found = [
        *_of_launches(project, launches, chosen=chosen),
        *_of_secrets(project, plan),
        *_of_folders(project, folders),
    ]
    return tuple(dict.fromkeys(found))


def of_settings(root: Path, settings: RunSettings) -> tuple[Demand, ...]:
    """Return what the tables `run` of the project in `root` want for its containers."""
    outside = [what for volume in settings.volumes if (what := _outside(root, volume))]
    if not (outside or settings.pass_env or settings.podman_args):
        return ()
    place = _settings_file(root)
    found = [Demand(kind="mount", what=what, place=place) for what in outside]
    found += [Demand(kind="variable", what=name, place=place) for name in settings.pass_env]
    if settings.podman_args:
        found.append(Demand(kind="option", what=_short(shlex.join(settings.podman_args)), place=place))
    return tuple(found)


def _settings_file(root: Path) -> str:
    """Return the name of the file with the project's settings, ocicaliban.toml or pyproject.toml."""
    return config.settings_file(root)[0].name


def _of_launches(project: Project, launches: Iterable[tuple[Recipe, Launch]], *, chosen: bool) -> Iterator[Demand]:
    """Yield what the recipes want for a container; `chosen` says that the project lists the mode's recipes itself."""
    for recipe, launch in launches:
        if recipe.origin == BUILT_IN:
            continue  # they mount the project alone
        place = f"layers/{recipe.name}/layer.toml" if recipe.origin == "project" else f"your recipe '{recipe.name}'"
        for template, mount in zip(recipe.launch.mounts, launch.mounts, strict=False):
            # What users mount by recipes of their own is their wish, unless the project decides what that is, or when.
            if (recipe.origin == "project" or chosen or "${" in template) and (what := _outside(project.root, mount)):
                yield Demand(kind="mount", what=what, place=place)
        if recipe.origin == "project" or chosen:
            for name in sorted({*launch.capabilities} - _built_in_capabilities(recipe.name)):
                yield Demand(kind="capability", what=name, place=place)


def _built_in_capabilities(name: str) -> frozenset[str]:
    """Return the capabilities that a built-in recipe has: a copy of it in a project may have these, too."""
    folder = catalog.builtin_layers() / name
    if not (folder / loader.FILE).is_file():
        return frozenset()
    return frozenset(loader.load_recipe(folder, BUILT_IN).launch.capabilities)


def _outside(root: Path, mount: str) -> str:
    """Return a mount with the real path of its source, "" if that lies in the project."""
    parsed = parse_mount(mount)
    if parsed is None or not os.path.isabs(parsed.source):
        return _short(mount)  # a volume, which other projects may use too, or something that podman alone understands
    source = os.path.realpath(parsed.source)
    # Other options of podman's may name more folders, as `upperdir` does.
    if _is_below(source, os.path.realpath(root)) and {*parsed.options} <= {"ro", "rw", "O", "U", "z", "Z"}:
        return ""
    return _short(":".join([source, parsed.target, *filter(None, [",".join(parsed.options)])]))


def _short(mount: str) -> str:
    """Return a mount. Raises UsageError if it is too long for the user to see all of it."""
    if len(mount) > _LONGEST:
        raise UsageError(f"a recipe mounts a path of {len(mount)} characters: {mount[:100]}...", "give a shorter path")
    return mount


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _of_secrets(project: Project, plan: Plan) -> Iterator[Demand]:
    for name, file in zip(project.secrets, secret_files(project), strict=True):
        real = os.path.realpath(file)
        steps = [
            step for layer in plan.layers for step in layer.steps if isinstance(step, Run) and name in step.secrets
        ]
        if steps and not _is_below(real, os.path.realpath(project.root)):
            seen = json.dumps([[step.script, step.env, step.files] for step in steps])
            digest = hashlib.sha256(seen.encode("utf-8", "surrogateescape")).hexdigest()
            place = _settings_file(project.root)
            yield Demand(kind="secret", what=f"{real} as {name}", place=place, digest=digest)


def _of_folders(project: Project, folders: Iterable[Path]) -> Iterator[Demand]:
    """Yield the folders of packages that a build sees, and that are not beside the project or its repository.

    A package beside it is usual, as in `-e ../library`. In the home folder, and above it, everything lies beside
    everything.
    """
    home = os.path.realpath(os.path.expanduser("~"))
    checkout = _checkout(os.path.realpath(project.root), home)
    beside = os.path.dirname(checkout)
    inside = [checkout if _is_below(home, beside) else beside, os.path.realpath(files.cache())]
    for each in folders:
        real = os.path.realpath(each)
        if not any(_is_below(real, folder) for folder in inside):
            yield Demand(kind="folder", what=real, place="the dependencies")


def _checkout(root: str, home: str) -> str:
    """Return the top folder of the repository in which the project lies; of a project without one the project.

    Some keep their settings in a repository that is the home folder: the project is no part of that.
    """
    folder = root
    while not _is_below(home, folder):
        if os.path.lexists(os.path.join(folder, ".git")):
            return folder
        folder = os.path.dirname(folder)
    return root


def lines(demands: Iterable[Demand]) -> tuple[str, ...]:
    """Return a line for each demand."""
    words = {
        "mount": "mounts",
        "capability": "capability",
        "secret": "build secret",
        "folder": "reads",
        "option": "podman run",
        "variable": "your variable",
    }
    return tuple(f"{words[each.kind]} {each.what} ({each.place})" for each in demands)
