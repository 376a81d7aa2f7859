"""Say which Python a package has a wheel for, when its installation fails because there is none for the image's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from ocicaliban.build.base import python_choice
from ocicaliban.build.base.python_choice import WantedPython
from ocicaliban.build.base.python_table import load_table
from ocicaliban.dependencies import wheel_pythons
from ocicaliban.dependencies.indexes import Indexes
from ocicaliban.dependencies.locked_requirements import entries, name, normalized
from ocicaliban.dependencies.python_requirement import PythonRequirement
from ocicaliban.errors import ToolError
from ocicaliban.model.image import Base, PlannedLayer, Run
from ocicaliban.recipes import catalog


@contextlib.contextmanager
def telling(
    base: Base, indexes: Indexes, requirements: tuple[PythonRequirement, ...] = (), locked: str = ""
) -> Iterator[None]:
    """Give a failure of uv in this context the Pythons that have a wheel of the package, if the base's has none.

    `base` has the Python that the packages are installed for. `indexes` are those of the project, and `requirements`
    what it asks of its Python. `locked` are all packages that are installed: a Python must have wheels of them, too.
    """
    try:
        yield
    except ToolError as exc:
        missing = wheel_pythons.missing_wheel(exc.stderr or exc.message)
        if missing is None or not base.python:
            raise
        minors = missing.minors
        if minors is None:
            from ocicaliban.dependencies.host_settings import read_host_settings

            minors = wheel_pythons.ask_index(missing, base.machine, read_host_settings().with_indexes(indexes))
        own = int(base.python.split(".")[1])
        if not minors or own in minors:
            raise
        what = f"{missing.name} {missing.version} has no wheel for Python 3.{own}, but for {_listed(minors)}"
        allowed = WantedPython(requirements=requirements).minors(minors)
        others = "".join(each for each in entries(locked) if name(each) != normalized(missing.name))
        ways: list[str] = []
        if allowed and (all_have := _having_all(allowed, others, base, indexes)):
            ways.append(line_for(base, all_have))
        elif allowed:
            what += "; and none of these has wheels of all the other packages"
        ways.append(f"ask for another version of {missing.name}")
        if "[layers.apt]" in exc.hint:
            ways.append(f"build it: {exc.hint}")
        raise ToolError(f"{what}\n{exc.message}", "\nor ".join(ways), stderr=exc.stderr) from exc


def locked_in(layers: Iterable[PlannedLayer]) -> str:
    """Return the locked requirements that the steps of layers install."""
    steps = (step for layer in layers if "requirements" in layer.kinds for step in layer.steps if isinstance(step, Run))
    return "".join(text for step in steps for name, text in step.files if name == "requirements.txt")


def _having_all(minors: tuple[int, ...], locked: str, base: Base, indexes: Indexes) -> tuple[int, ...]:
    """Return those Pythons 3.x, as their x, for which each of the locked packages has a wheel, or none has any."""
    from ocicaliban.dependencies.host_settings import read_host_settings

    settings = read_host_settings().with_indexes(indexes)
    for having in wheel_pythons.pythons_of_all(locked, base.machine, settings).values():
        minors = tuple(minor for minor in minors if minor in having)
    return minors


def line_for(base: Base, minors: tuple[int, ...]) -> str:
    """Return the line to write for a base with one of the Pythons 3.x: the newest, or one that is easy to get."""
    table = load_table(catalog.builtin_layers() / "base" / "pythons.toml")
    suites = [int(python.split(".")[1]) for python in table.suites.values()]
    if base.kind == "bootstrap" and (easy := [minor for minor in minors if minor in suites]):
        return f'in ocicaliban.toml:\n[layers.base]\npython = "3.{max(easy)}"'
    asked = PythonRequirement(place="", specifier=f"==3.{max(minors)}.*")
    return python_choice.hint(base, WantedPython(requirements=(asked,)), table)


def _listed(minors: tuple[int, ...]) -> str:
    names = [f"3.{minor}" for minor in minors]
    return f"{', '.join(names[:-1])} and {names[-1]}" if names[1:] else names[0]
