"""What a provider of an input is: the kind of input, what it is asked with, and what it gives."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import evolve, field, frozen

from ocicaliban.build.request import PlanRequest
from ocicaliban.dependencies.environment import DeclaredEnvironment
from ocicaliban.dependencies.indexes import Indexes
from ocicaliban.model.image import Base, MadeTree, Tree
from ocicaliban.model.project import Instance, Project
from ocicaliban.model.recipe import Recipe, Value, Variant
from ocicaliban.project.lockfile import Lock, Resolution
from ocicaliban.recipes import params
from ocicaliban.reporter import Reporter


@frozen(kw_only=True)
class Provided:
    """What a provider gives.

    `values` are what recipes can refer to, as `${NAME}` or in `when`; they must not depend on which recipe asks.
    `instances` are the layers that a recipe with this input makes, or None if it makes one. `trees` are what a step can
    copy, `trees_read` the folders that were read for them, and `made_trees` those that do not exist yet. `resolutions`
    is the provider's section of the lock. `indexes` are the package indexes that an installation needs, and `downloads`
    the bytes of the large packages that it downloads, by name. `packages` is how many packages of the project's
    environment it brings.
    """

    values: Mapping[str, Value] = field(factory=dict)
    instances: tuple[Instance, ...] | None = None
    trees: tuple[Tree, ...] = ()
    trees_read: tuple[Tree, ...] = ()
    made_trees: tuple[MadeTree, ...] = ()
    resolutions: Mapping[str, Resolution] = field(factory=dict)
    indexes: Indexes = field(factory=Indexes)
    downloads: Mapping[str, int] = field(factory=dict)
    packages: int = 0


@frozen(kw_only=True)
class InputParameters:
    """The parameters of the recipes of a mode that have one kind of input. The first recipe with a name wins."""

    recipes: tuple[Recipe, ...]
    values: Mapping[str, Value]

    def text(self, name: str) -> str:
        """Return a parameter as a string, "" if no recipe has it."""
        return str(self.values.get(name, ""))

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list parameter, () if no recipe has it."""
        value = self.values.get(name, ())
        return value if isinstance(value, tuple) else ()

    def setting(self, name: str) -> str:
        """Return the name of a parameter in the project's configuration, for a message."""
        recipe = next((recipe for recipe in self.recipes if name in recipe.params), self.recipes[0])
        return f"layers.{recipe.name}.{name}"


def input_parameters(
    kind: str, project: Project, recipes: tuple[Recipe, ...], variant: Variant
) -> InputParameters | None:
    """Return the parameters of the recipes that have this kind of input; None if the mode has no such recipe."""
    asking = tuple(recipe for recipe in recipes if kind in (*recipe.inputs, *recipe.former_inputs))
    if not asking:
        return None
    values: dict[str, Value] = {}
    for recipe in asking:
        values = params.resolve(recipe, project.layers.get(recipe.name, {}), variant) | values
    return InputParameters(recipes=asking, values=values)


@frozen(kw_only=True)
class PlanContext:
    """What providers work with.

    `command` is what a container starts. `environment` is what the project's files declare. `lock` is the project's
    lock, with the base image of this plan. `provided` has what the providers before this one gave, by kind.
    """

    request: PlanRequest
    project: Project
    recipes: tuple[Recipe, ...]
    command: tuple[str, ...]
    base: Base
    lock: Lock
    reporter: Reporter
    environment: DeclaredEnvironment = field(factory=DeclaredEnvironment)
    provided: Mapping[str, Provided] = field(factory=dict)

    @property
    def variant(self) -> Variant:
        """Whether the image is for a machine with a GPU."""
        return self.request.variant

    @property
    def environment_base(self) -> Base:
        """The base image as resolvers see it: with the Python of the environment, if conda's packages bring one."""
        python = self.conda_python
        return evolve(self.base, python=python) if python else self.base

    @property
    def dependencies(self) -> Resolution | None:
        """The project's locked dependencies, None if it has none."""
        return next(iter(self.provided["requirements"].resolutions.values()), None)

    @property
    def conda_python(self) -> str:
        """The version of the Python among conda's packages, "" if there is none."""
        return str(self.provided["conda"].values["conda_python"]) if "conda" in self.provided else ""

    @property
    def conda_modules(self) -> tuple[str, ...]:
        """The Python packages that conda installs, as NAME==VERSION, if its Python is the environment's."""
        modules = self.provided["conda"].values["conda_modules"] if self.conda_python else ()
        return modules if isinstance(modules, tuple) else ()

    @property
    def mounts_project(self) -> bool:
        """Whether a recipe of the mode mounts the project's folder."""
        return any(mount.startswith("${project}:") for recipe in self.recipes for mount in recipe.launch.mounts)

    @property
    def secret_files(self) -> tuple[Path, ...]:
        """The files of the build secrets, which must not enter an image."""
        return secret_files(self.project)

    @property
    def allowed_secrets(self) -> tuple[str, ...]:
        """The files that may enter the image with credentials, relative to the project."""
        named = (*self.project.allow_secrets, *self.request.allow_secrets)
        return tuple(posixpath.normpath(name) for name in named)

    def parameters(self, kind: str) -> InputParameters | None:
        """Return the parameters of the recipes that have this kind of input; None if the mode has no such recipe."""
        return input_parameters(kind, self.project, self.recipes, self.variant)


@frozen(kw_only=True)
class Provider:
    """The one place that knows a kind of input.

    `provide` is called if a recipe of the mode has this input, or if the provider is `always` asked; the parameters
    are those of the recipe. It raises UsageError for a mistake in them. Otherwise, or if the plan reads no contents
    and the provider `reads_contents`, recipes get the values of `empty`. `lock_section` is the name of its section in
    the lock. `layers` says for people what a recipe with this input makes layers of.
    """

    kind: str
    provide: Callable[[PlanContext, InputParameters | None], Provided]
    empty: Provided
    always: bool = False
    reads_contents: bool = True
    lock_section: str = ""
    layers: str = ""


def secret_files(project: Project) -> tuple[Path, ...]:
    """Return the files of the build secrets of a project, in the order of its configuration."""
    return tuple(project.root / os.path.expanduser(file) for file in project.secrets.values())
