"""Choose the base image of a project: the declared one, or another whose Python is the one that its files ask for."""

from __future__ import annotations

import re

from attrs import frozen

from ocicaliban.build import base_image
from ocicaliban.build.base import managed_python, python_choice
from ocicaliban.build.base.managed_python import ManagedPython
from ocicaliban.build.base.python_choice import Choice, WantedPython
from ocicaliban.build.base.python_probe import NoPython
from ocicaliban.build.base.python_table import PythonTable, load_table
from ocicaliban.build.base.registry import USUAL_SUITE
from ocicaliban.build.request import PlanRequest
from ocicaliban.dependencies.environment import DeclaredEnvironment
from ocicaliban.dependencies.python_requirement import PythonRequirement
from ocicaliban.errors import ToolError, UsageError
from ocicaliban.model.image import Base
from ocicaliban.model.project import Project
from ocicaliban.model.recipe import Recipe, Value
from ocicaliban.project.config import setting_place
from ocicaliban.project.lockfile import Lock
from ocicaliban.recipes import catalog, params
from ocicaliban.reporter import Reporter

_TABLE = "base/pythons.toml"
_USUAL = "==3.12.*"
"""The Python for an image without one, as in the default image, if the project asks for none."""


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
    declared = _declared_base(request, recipe, given, values)
    wanted = _wanted(str(values.get("python", "")), recipe, request.environment)
    table = load_table(catalog.builtin_layers() / _TABLE) if wanted.requirements else PythonTable(date="")
    own = _locked_base(request, declared, WantedPython())
    python = own.python if own and not own.archive else ""
    choice = python_choice.choose(declared, wanted, table, given=_is_given(request, given), python=python)
    if locked := _locked_base(request, choice.base, wanted):
        _tell(choice, locked, wanted, reporter)
        return locked
    if not request.plan.resolve:
        if choice.managed:
            reporter.say(python_choice.managed_line(choice.base, wanted.specifier, choice.python, wanted))
        else:
            _tell(choice, choice.base, wanted, reporter)
        return choice.base
    return _resolved(request, choice, wanted, table, "interpreter" in recipe.inputs, reporter)


def reason(request: BaseRequest) -> str:
    """Return why the project has its Python: what its files or its configuration ask for."""
    recipe = _recipe(request)
    if _brings_python(request.environment):
        return "the conda environment brings it"
    given = params.resolve(recipe, request.project.layers.get(recipe.name, {}), request.plan.variant)
    wanted = _wanted(str(given.get("python", "")), recipe, request.environment)
    return python_choice.what_is_asked(wanted.requirements) or "no file asks for a Python; the base image has it"


def _tell(choice: Choice, base: Base, wanted: WantedPython, reporter: Reporter) -> None:
    """Say what was chosen, if it is not what the project declares."""
    if base.archive:
        reporter.say(python_choice.managed_line(base, base.python, choice.python, wanted))
    elif choice.line:
        reporter.say(choice.line)


def _recipe(request: BaseRequest) -> Recipe:
    recipe = next((recipe for recipe in request.recipes if recipe.provides == "base"), None)
    if recipe is None:
        mode = request.plan.mode
        place = f"{setting_place(request.project.root, ('modes', mode))}: " if mode in request.project.modes else ""
        raise UsageError(
            f"{place}the mode lists no recipe that provides the base image", 'put "base" first in its list'
        )
    return recipe


def _declared_base(request: BaseRequest, recipe: Recipe, given: dict[str, object], values: dict[str, Value]) -> Base:
    """Return the base that the parameters name. Raises UsageError, with file and line, for one that cannot be."""
    key = "bootstrap" if values.get("bootstrap", "") else "image"
    try:
        return _base_of(recipe, given, values)
    except UsageError as fault:
        if key not in given or key in request.plan.settings.get(recipe.name, {}):
            raise  # the command line says it
        place = setting_place(request.project.root, ("layers", recipe.name, key))
        raise UsageError(f"{place}: {fault.message}", fault.hint) from fault


def _base_of(recipe: Recipe, given: dict[str, object], values: dict[str, Value]) -> Base:
    if values.get("bootstrap", "") and "image" in given and values["image"] != recipe.params["image"].default:
        raise UsageError(f"layers.{recipe.name} has both an image and a bootstrap", "remove one of them")
    return base_image.declared(str(values["image"]), str(values.get("bootstrap", "")))


def _is_given(request: BaseRequest, given: dict[str, object]) -> bool:
    """Whether the user has chosen an image for the variant."""
    image = given.get("image")
    return bool({request.plan.variant, "all"} & set(image)) if isinstance(image, dict) else image is not None


def _wanted(own: str, recipe: Recipe, environment: DeclaredEnvironment) -> WantedPython:
    """Return what is asked of the base's Python: by the recipe's parameter, which is `own`, or else by the files."""
    if _brings_python(environment):
        return WantedPython()
    if own:
        text = own.strip()
        if re.fullmatch(r"\d+\.\d+", text):
            text = f"=={text}.*"
        elif re.fullmatch(r"\d+\.\d+\.\d+", text):
            text = f"=={text}"
        place = f"layers.{recipe.name}.python in ocicaliban.toml"
        return WantedPython(requirements=(PythonRequirement(place=place, specifier=text, pinned=True),))
    other = next((each for each in environment.python if each.other), None)
    if other is not None:
        raise UsageError(
            f"{other.place} asks for {other.other}, and images have CPython",
            f"write a version into {other.place}, as 3.11, or into ocicaliban.toml:\n"
            f'[layers.{recipe.name}]\npython = "3.11"',
        )
    return WantedPython(requirements=environment.python)


def _brings_python(environment: DeclaredEnvironment) -> bool:
    """Whether the packages include the Python. They are then checked against the files, and the base is not."""
    return environment.declaration is not None and environment.declaration.BRINGS_PYTHON


def _locked_base(request: BaseRequest, base: Base, wanted: WantedPython) -> Base | None:
    """Return the base image in the lock if it still is `base` and its Python fits, else None.

    The lock of the other variant counts too: often both have the same base.
    """
    held, variant = request.lock.base, request.plan.variant
    if request.plan.fresh and variant not in held:
        return None
    pinned = (held[name] for name in (variant, "cpu", "gpu") if name in held)

    def fits(locked: Base) -> bool:
        return wanted.fits(locked.python, any_micro=locked.kind == "bootstrap" and not locked.archive)

    return next((each for each in pinned if base_image.still_holds(each, base) and fits(each)), None)


def _resolved(
    request: BaseRequest,
    choice: Choice,
    wanted: WantedPython,
    table: PythonTable,
    adds_python: bool,
    reporter: Reporter,
) -> Base:
    """Return the chosen base, resolved, with a Python of uv if its own does not fit and the recipe `adds_python`."""
    if choice.managed and not adds_python:
        raise python_choice.misfit(choice.base, choice.python, wanted, table)
    # An image can be large, so first see whether uv has a Python for it.
    python = _of_uv(request, choice.base, choice.python, wanted, table, reporter) if choice.managed else None
    try:
        suite = python_choice.fitting_suite(wanted, table) if wanted.requirements else USUAL_SUITE
        try:
            base = base_image.resolved(choice.base, fresh=request.plan.fresh, suite=suite, reporter=reporter)
        finally:
            # The choice comes after the lines about the image, and before an error about it.
            if choice.line:
                reporter.say(choice.line)
    except NoPython as exc:
        brings = _brings_python(request.environment)
        if not adds_python and not brings:
            raise
        base = base_image.resolved(choice.base, own_python=False, reporter=reporter)
        if brings:
            return base
        python = python or _instead(request, base, wanted, exc, reporter)
    if base.python and wanted.fits(base.python, any_micro=base.kind == "bootstrap"):
        return base
    wanted.check()
    if not adds_python:
        raise python_choice.misfit(base, base.python, wanted, table)
    python = python or _of_uv(request, base, base.python, wanted, table, reporter)
    chosen = managed_python.added(base, python)
    reporter.say(python_choice.managed_line(chosen, chosen.python, base.python, wanted))
    return chosen


def _of_uv(
    request: BaseRequest, base: Base, own: str, wanted: WantedPython, table: PythonTable, reporter: Reporter
) -> ManagedPython:
    """Return a Python of uv for a base whose own has the version `own`. Raises UsageError if uv cannot get one."""
    try:
        return _fetched(request, wanted.specifier, reporter)
    except ToolError as exc:
        raise python_choice.misfit(base, own, wanted, table, _tried(exc)) from exc


def _instead(
    request: BaseRequest, base: Base, wanted: WantedPython, fault: NoPython, reporter: Reporter
) -> ManagedPython:
    """Return a Python of uv for an image that has none. Raises the error about that if uv cannot get one."""
    try:
        return _fetched(request, wanted.specifier or _USUAL, reporter)
    except ToolError as exc:
        raise ToolError(f"{fault.message}\n{_tried(exc)}", fault.hint, stderr=fault.stderr) from exc


def _tried(fault: ToolError) -> str:
    """Return why uv could not get a Python: the first line of what it said, and the last cause."""
    said = [line.strip() for line in (fault.stderr or fault.message).splitlines() if line.strip()]
    causes = [line.removeprefix("cause: ") for line in said if line.startswith("cause: ")]
    return f"uv cannot download one: {': '.join([said[0].removeprefix('error: '), *causes[-1:]])}"


def _fetched(request: BaseRequest, specifier: str, reporter: Reporter) -> ManagedPython:
    with reporter.making("base", f"fetching Python {specifier} by uv", done="fetched"):
        return managed_python.fetch(specifier, request.plan.root)
