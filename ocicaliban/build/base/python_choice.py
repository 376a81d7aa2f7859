"""Choose a base image whose Python fits what a project's files ask for; pure."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from ocicaliban.build.base.python_table import IMAGES, PythonTable
from ocicaliban.dependencies.python_requirement import PythonRequirement
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Base

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

_EXACT = r"={2,3}\s*(\d+\.\d+)\.\d+"
_ANY_MICRO = r"==\s*(\d+\.\d+)\.\*"
_KEY = '[layers.base]\npython = "3.11"'


@frozen(kw_only=True)
class WantedPython:
    """All that a project's files ask of its Python."""

    requirements: tuple[PythonRequirement, ...] = ()

    def fits(self, version: str, *, any_micro: bool = False) -> bool:
        """Whether a version of Python suits all requirements; with `any_micro` the last number of a pin does not count.

        Raises UsageError for a requirement that is not a set of specifiers.
        """
        return not self.against(version, any_micro=any_micro)

    def against(self, version: str, *, any_micro: bool = False) -> tuple[PythonRequirement, ...]:
        """Return the requirements that a version of Python does not suit."""
        return tuple(each for each in self.requirements if not _allows(each, version, any_micro))

    def minors(self, minors: Iterable[int]) -> tuple[int, ...]:
        """Return those Pythons 3.x, given as their x, of which a version suits all requirements."""
        return tuple(minor for minor in minors if any(self.fits(f"3.{minor}.{micro}") for micro in range(31)))

    @property
    def specifier(self) -> str:
        """All requirements as one set of specifiers."""
        return ",".join(dict.fromkeys(each.specifier for each in self.requirements))

    def check(self) -> None:
        """Raise UsageError if no version of Python suits all requirements, with the places that exclude each other."""
        known = [f"3.{minor}.{micro}" for minor in range(31) for micro in range(31)]
        known += [match[0].lstrip("= ") for each in self.requirements if (match := re.match(_EXACT, each.specifier))]
        allowed = {each: {version for version in known if _allows(each, version, False)} for each in self.requirements}
        for each, versions in allowed.items():
            if not versions:
                raise UsageError(f"{_asks(each)}, and there is no such Python 3", f"correct it, or write {_KEY}")
        for one, other in combinations(self.requirements, 2):
            if not allowed[one] & allowed[other]:
                raise UsageError(
                    f"two files ask for different Pythons: {_asks(one)}, and {_asks(other)}",
                    f"correct one of them, or choose a version in ocicaliban.toml, for example:\n{_KEY}",
                )
        if self.requirements and not set.intersection(*allowed.values()):
            raise UsageError(
                f"no version of Python suits all files: {what_is_asked(self.requirements)}", "correct one of them"
            )


@frozen(kw_only=True)
class Choice:
    """A base image, and what to say of it ("" for nothing).

    `python` is the version of its Python if its name tells it, else "". With `managed` that Python does not fit, and
    uv has to install another one.
    """

    base: Base
    python: str = ""
    managed: bool = False
    line: str = field(default="")


def choose(declared: Base, wanted: WantedPython, table: PythonTable, *, given: bool, python: str = "") -> Choice:
    """Return the base image for a project that declares `declared`, or has it by default.

    An image that is `given` by the user is kept. `python` is the version of its Python if something better than its
    name tells it. Raises UsageError if the requirements exclude each other.
    """
    python = python or table.python_of(declared)
    kept = Choice(base=declared, python=python)
    if not wanted.requirements or not python or wanted.fits(python):
        return kept
    wanted.check()
    if declared.kind == "bootstrap":
        suite = _suite(declared, wanted, table)
        if suite is None:
            return evolve(kept, managed=True)
        if suite.base.reference == declared.reference:
            return evolve(suite, line=f"{_named(suite)}; {what_is_asked(wanted.against(python))}")
        return evolve(suite, line=_because(suite, kept, wanted))
    if not given and (image := next(fitting_images(wanted, table), None)):
        return evolve(image, line=_because(image, kept, wanted))
    if table.may_have(declared, wanted.fits):
        return Choice(base=declared)
    return evolve(kept, managed=True)


def _suite(declared: Base, wanted: WantedPython, table: PythonTable) -> Choice | None:
    """Return the suite to bootstrap: the declared one if it fits, else the newest; None if none fits."""
    pythons = sorted(table.suites.items(), key=lambda item: _numbers(item[1]), reverse=True)
    known = [(declared.reference, table.python_of(declared)), *((f"debian:{suite}", has) for suite, has in pythons)]
    for any_micro in (False, True):
        for reference, python in known:
            if python and wanted.fits(python, any_micro=any_micro):
                return Choice(base=Base(kind="bootstrap", reference=reference), python=python)
    return None


def fitting_suite(wanted: WantedPython, table: PythonTable) -> str:
    """Return the newest suite of Debian whose Python fits, as `bootstrap` names it; "" if none fits."""
    suite = _suite(Base(kind="bootstrap", reference=""), wanted, table)
    return suite.base.reference if suite else ""


def fitting_images(wanted: WantedPython, table: PythonTable) -> Iterator[Choice]:
    """Yield the default images whose Python fits, the newest first."""
    pins = (match[0].lstrip("= ") for each in wanted.requirements if (match := re.fullmatch(_EXACT, each.specifier)))
    for tag, python in (*table.newer_tags(pins), *table.image_tags()):
        if wanted.fits(python):
            yield Choice(base=Base(kind="registry", reference=f"{IMAGES}:{tag}"), python=python)


# --- what to say ---


def managed_line(base: Base, python: str, own: str, wanted: WantedPython) -> str:
    """Return the line for a base in which uv installs a Python; `own` is the version of the base's, "" for unknown."""
    against = wanted.against(own) if own else wanted.requirements
    why = f", because {what_is_asked(against)}" if against else ""
    return f"base: {short_name(base)} with Python {python} from uv{why}{f', and it has {_short(own)}' if own else ''}"


def misfit(base: Base, python: str, wanted: WantedPython, table: PythonTable, why: str = "") -> UsageError:
    """Return the error for a base whose Python does not fit, with the lines to write; `why` says what was tried."""
    message = f"{what_is_asked(wanted.against(python))}, but the base image {short_name(base)} has {python}"
    return UsageError("\n".join(filter(None, [message, why])), hint(base, wanted, table))


def hint(base: Base, wanted: WantedPython, table: PythonTable) -> str:
    """Return the lines to write for a base whose Python fits."""
    lines: list[str] = []
    if suite := fitting_suite(wanted, table):
        lines.append(f'bootstrap = "{suite}"')
    if image := next(fitting_images(wanted, table), None):
        lines.append(f'image = "{short_name(image.base)}"')
    if base.kind != "bootstrap":
        lines.reverse()
    if not lines:
        return "name a base image with this Python: [layers.base] image = ..."
    other = f"\nor, instead of it: {lines[1]}" if lines[1:] else ""
    instead = ", in the place of bootstrap" if base.kind == "bootstrap" and lines[0].startswith("image") else ""
    return f"in ocicaliban.toml{instead}:\n[layers.base]\n{lines[0]}{other}"


def short_name(base: Base) -> str:
    """Return the name of a base as users write it."""
    return base.reference.removeprefix("docker.io/library/").removeprefix("docker.io/")


def _because(chosen: Choice, declared: Choice, wanted: WantedPython) -> str:
    asking = what_is_asked(wanted.against(declared.python))
    return f"{_named(chosen)}, because {asking}, and {short_name(declared.base)} has {_short(declared.python)}"


def _named(choice: Choice) -> str:
    exact = choice.base.kind == "bootstrap" and choice.python
    return f"base: {short_name(choice.base)}, Python {exact or _short(choice.python)}"


def what_is_asked(requirements: tuple[PythonRequirement, ...]) -> str:
    """Return what the requirements ask for, with those together that ask for the same."""
    places: dict[str, list[str]] = {}
    for each in requirements:
        places.setdefault(_shown(each), []).append(each.place)
    asked: list[str] = []
    for text, (*others, last) in places.items():
        asking = f"{', '.join(others)} and {last} ask" if others else f"{last} asks"
        asked.append(f"{asking} for Python {text}")
    return ", and ".join(asked)


def _asks(requirement: PythonRequirement) -> str:
    return what_is_asked((requirement,))


def _shown(requirement: PythonRequirement) -> str:
    """Return a set of specifiers as people write it."""
    text = requirement.specifier
    if match := re.fullmatch(_ANY_MICRO, text):
        return match[1]
    return text.lstrip("= ") if requirement.pinned else text


def _short(python: str) -> str:
    return ".".join(python.split(".")[:2])


# --- versions ---


@functools.lru_cache(maxsize=64)
def _specifiers(text: str) -> SpecifierSet:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(text)


@functools.lru_cache(maxsize=2048)
def _version(text: str) -> Version | str:
    """Return the version; the text, which no specifier suits, where it is none."""
    from packaging.version import InvalidVersion, Version

    try:
        return Version(text)
    except InvalidVersion:
        return text


def _allows(requirement: PythonRequirement, version: str, any_micro: bool) -> bool:
    from packaging.specifiers import InvalidSpecifier

    text = requirement.specifier
    if any_micro and requirement.pinned and (match := re.fullmatch(_EXACT, text.strip())):
        text = f"=={match[1]}.*"
    try:
        return _specifiers(text).contains(_version(version), prereleases=True)
    except InvalidSpecifier as exc:
        own = requirement.place.startswith("layers.")
        hint = 'for example python = "3.11"' if own else 'for example requires-python = ">=3.11"'
        raise UsageError(f"{requirement.place}: '{text}' does not name versions of Python", hint) from exc


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
