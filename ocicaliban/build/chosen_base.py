"""Choose the base image of a project: the declared one, or another whose Python is the one that its files ask for."""

from __future__ import annotations

import re

from attrs import frozen

from ocicaliban.build import base_image
from ocicaliban.build.base import python_choice
from ocicaliban.build.base.python_choice import Choice, WantedPython
from ocicaliban.build.base.python_table import PythonTable, load_table
from ocicaliban.build.request import PlanRequest
from ocicaliban.dependencies.environment import DeclaredEnvironment
from ocicaliban.dependencies.python_requirement import PythonRequirement
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Base
from ocicaliban.model.project import Project
from ocicaliban.model.recipe import Recipe, Value
from ocicaliban.project.lockfile import Lock
from ocicaliban.recipes import catalog, params
from ocicaliban.reporter import Reporter

_TABLE = "base/pythons.toml"


@frozen(kw_only=True)
class BaseRequest:
    """Whose base image to choose: the plan that is asked for, its project and recipes, what its files declare."""

    plan: PlanRequest
    project: Project
    recipes: tuple[Recipe, ...]
    environment: DeclaredEnvironment
    lock: Lock


def choose_base(request: BaseRequest, reporter: Reporter) -> Base:
    """Return the base image: from the lock if the lock still holds, else resolved if the plan may resolve.

    `reporter` gets a line if the base is not the declared one. Raises UsageError if no base has the Python that the
    project's files ask for, and OcicalibanError if the image cannot be fetched or made.
    """
    recipe = _recipe(request)
    given = request.project.layers.get(recipe.name, {})
    values = params.resolve(recipe, given, request.plan.variant)
    declared = _declared_base(recipe, given, values)
    wanted = _wanted(str(values.get("python", "")), recipe, request.environment)
    if not wanted.requirements:
        locked = _locked_base(request, declared, wanted)
        return locked or _resolved(request, Choice(base=declared), reporter)
    table = load_table(catalog.builtin_layers() / _TABLE)
    own = _locked_base(request, declared, WantedPython())
    python = own.python if own else ""
    choice = python_choice.choose(declared, wanted, table, given=_is_given(request, given), python=python)
    if choice.managed:
        raise python_choice.misfit(declared, choice.python, wanted, table)
    if choice.line:
        reporter.say(choice.line)
    return _locked_base(request, choice.base, wanted) or _checked(_resolved(request, choice, reporter), wanted, table)


def _recipe(request: BaseRequest) -> Recipe:
    recipe = next((recipe for recipe in request.recipes if recipe.provides == "base"), None)
    if recipe is None:
        raise UsageError("the mode lists no recipe that provides the base image", 'put "base" first in its list')
    return recipe


def _declared_base(recipe: Recipe, given: dict[str, object], values: dict[str, Value]) -> Base:
    if values.get("bootstrap", "") and "image" in given and values["image"] != recipe.params["image"].default:
        raise UsageError(f"layers.{recipe.name} has both an image and a bootstrap", "remove one of them")
    return base_image.declared(str(values["image"]), str(values.get("bootstrap", "")))


def _is_given(request: BaseRequest, given: dict[str, object]) -> bool:
    """Whether the user has chosen an image for the variant."""
    image = given.get("image")
    return bool({request.plan.variant, "all"} & set(image)) if isinstance(image, dict) else image is not None


def _wanted(own: str, recipe: Recipe, environment: DeclaredEnvironment) -> WantedPython:
    """Return what is asked of the Python: by the recipe's parameter, which is `own`, or else by the project's files."""
    if own:
        text = own.strip()
        if re.fullmatch(r"\d+\.\d+", text):
            text = f"=={text}.*"
        elif re.fullmatch(r"\d+\.\d+\.\d+", text):
            text = f"=={text}"
        place = f"layers.{recipe.name}.python in ocicaliban.toml"
        return WantedPython(requirements=(PythonRequirement(place=place, specifier=text, pinned=True),))
    if environment.declaration and environment.declaration.BRINGS_PYTHON:
        return WantedPython()
    return WantedPython(requirements=environment.python)


def _locked_base(request: BaseRequest, base: Base, wanted: WantedPython) -> Base | None:
    """Return the base image in the lock if it still is `base` and its Python fits, else None.

    The lock of the other variant counts too: often both have the same base.
    """
    held, variant = request.lock.base, request.plan.variant
    if request.plan.fresh and variant not in held:
        return None
    pinned = (held[name] for name in (variant, "cpu", "gpu") if name in held)
    suite = base.kind == "bootstrap"
    return next(
        (each for each in pinned if base_image.still_holds(each, base) and wanted.fits(each.python, any_micro=suite)),
        None,
    )


def _resolved(request: BaseRequest, choice: Choice, reporter: Reporter) -> Base:
    if not request.plan.resolve:
        return choice.base
    return base_image.resolved(choice.base, fresh=request.plan.fresh, reporter=reporter)


def _checked(base: Base, wanted: WantedPython, table: PythonTable) -> Base:
    """Return a base whose Python fits, as far as it is known. Raises UsageError if it does not."""
    if base.python and not wanted.fits(base.python, any_micro=base.kind == "bootstrap"):
        raise python_choice.misfit(base, base.python, wanted, table)
    return base
