"""What every file that declares a conda environment has in common."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from attrs import field, frozen

from ocicaliban.dependencies.conda.packages import CondaPackage
from ocicaliban.dependencies.declaration import Declaration
from ocicaliban.dependencies.python_requirement import PythonRequirement, requirement
from ocicaliban.errors import UsageError
from ocicaliban.formats.toml import read_text
from ocicaliban.formats.yaml import NotYaml, parse_yaml
from ocicaliban.model.image import Base

_SPEC = re.compile(r"(?:[^\s:]+::)?(?P<name>[A-Za-z0-9_.-]+)\s*(?P<rest>.*)")
_CLAUSE = re.compile(r"(?P<how>===|==|>=|<=|!=|~=|>|<|=)?\s*(?P<version>\d+(?:\.\d+)*)(?P<star>\.?\*)?")


@frozen(kw_only=True)
class CondaEnvironment:
    """What a file says about conda's part of an environment.

    Either `packages` are locked, with the names that each needs in `depends` where that is known, or `specs` are to be
    found in `channels`, by name or address. `cuda` is the version of the driver that the file expects, "" for any.
    """

    channels: tuple[str, ...] = ()
    specs: tuple[str, ...] = ()
    packages: tuple[CondaPackage, ...] = ()
    depends: Mapping[str, tuple[str, ...]] = field(factory=dict)
    cuda: str = ""


class CondaDeclaration(Declaration):
    """A file that declares a conda environment, with Python in it or without.

    The requirements that `resolve` returns are those that pip or uv install beside conda's packages.
    """

    BRINGS_PYTHON: ClassVar[bool] = True

    def environment(self, platform: str, groups: tuple[str, ...]) -> CondaEnvironment:
        """Return conda's part of the environment, for a platform of conda ("linux-64") and dependency groups.

        Raises UsageError for a mistake in the file.
        """
        raise NotImplementedError

    def channels(self) -> tuple[str, ...]:
        """Return the channels that the file names, by name or address: they may hold the password for a package."""
        return ()

    def beside_it(self, name: str) -> str:
        """Return the path of a file that lies beside it, relative to the project."""
        return os.path.normpath(os.path.relpath(self.path.parent / name, self.root))

    def variables(self) -> dict[str, str]:
        """Return the variables that every container of the environment has. Planning asks each time."""
        return {}


def conda_platform(base: Base) -> str:
    """Return the platform of a base image as conda calls it."""
    return {"aarch64": "linux-aarch64"}.get(base.machine, "linux-64")


def read_yaml(path: Path, name: str) -> dict[str, Any]:
    """Return the values of a file, called `name` in messages. Raises UsageError if it is not a table in YAML."""
    try:
        raw = parse_yaml(read_text(path))
    except NotYaml as exc:
        place = f"{name}:{exc.line}" if exc.line else name
        raise UsageError(f"{place}: this is not YAML: {exc}", "correct the file") from exc
    if not isinstance(raw, dict):
        raise UsageError(f"{name}: this is not a table of keys and values", "correct the file")
    return raw


def text_of(value: object) -> str:
    """Return a single value as text, "" for a list or a table: aliases can make those larger than any memory."""
    return "" if isinstance(value, (dict, list, tuple, set)) else str(value)


def spec_of_python(place: str, specs: Iterable[str]) -> tuple[PythonRequirement, ...]:
    """Return what requirements of conda say about Python."""
    for spec in specs:
        match = _SPEC.fullmatch(spec.strip())
        if match and match["name"].lower() == "python":
            return requirement(place, python_specifier(match["rest"]))
    return ()


def python_specifier(version: str) -> str:
    """Return a version of conda ("=3.10", "3.10.*", ">=3.9,<3.12") in PEP 440's form, "" if it has none."""
    # A build may follow: NAME=VERSION=BUILD, or after a blank.
    text = re.sub(r"(?<=[\d*])(?:=|\s+(?=[^\s\d<>=!~,])).*", "", version.strip())
    found: list[str] = []
    for clause in text.split(","):
        match = _CLAUSE.fullmatch(clause.strip())
        if match is None:
            return ""
        how, number = match["how"] or "=", match["version"]
        if how in ("=", "==", "==="):
            # The patch release does not count, as in .python-version.
            found.append(f"=={'.'.join(number.split('.')[:2])}.*")
        else:
            found.append(how + number + (".*" if match["star"] and how == "!=" else ""))
    return ",".join(found)
