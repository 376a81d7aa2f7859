"""What a Pipfile declares, as Pipenv reads it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ocicaliban.dependencies.indexes import Indexes, is_pypi
from ocicaliban.dependencies.locked_requirements import normalized
from ocicaliban.dependencies.own_requirements import named_indexes, with_variables
from ocicaliban.dependencies.python_requirement import PythonRequirement, of_version, requirement
from ocicaliban.errors import UsageError, nearest
from ocicaliban.formats.toml import read_toml, table_in

DEVELOP = "develop"
"""The lock's name for [dev-packages]."""

_NO_CATEGORIES = ("source", "packages", "dev-packages", "requires", "scripts", "pipfile", "pipenv", "default", DEVELOP)
_DEVELOP_NAMES = ("dev", "dev-packages", DEVELOP)
_PYPI = {"name": "pypi", "url": "https://pypi.org/simple", "verify_ssl": True}


def read_pipfile(path: Path) -> dict[str, Any]:
    """Return the values of a Pipfile. Raises UsageError if it is damaged, or a section is no table of packages."""
    raw = read_toml(path)[1]
    for name in ("packages", "dev-packages", *categories(raw)):
        if not isinstance(raw.get(name, {}), dict):
            raise UsageError(
                f"{path.name}: '{name}' is not a table of packages", f'write [{name}], and below it: NAME = "*"'
            )
    return raw


def content_hashes(raw: Mapping[str, Any]) -> frozenset[str]:
    """Return the hashes by which Pipenv's versions recognise that a Pipfile has not changed since locking."""

    def with_names(section: Any) -> Any:
        return {normalized(name): value for name, value in section.items()} if isinstance(section, dict) else section

    hashes = set()
    for convert in (with_names, lambda section: section):
        content = {
            "_meta": {"sources": raw.get("source", [_PYPI]), "requires": raw.get("requires", {})},
            "default": convert(raw.get("packages", {})),
            "develop": convert(raw.get("dev-packages", {})),
            **{name: convert(raw[name]) for name in categories(raw)},
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
        hashes.add(hashlib.sha256(text.encode()).hexdigest())
    return frozenset(hashes)


def categories(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of a Pipfile's sections of packages that Pipenv does not know by itself."""
    return tuple(name for name in raw if name not in _NO_CATEGORIES)


def section(group: str) -> str:
    """Return the section of a Pipfile for a group of its lock."""
    return "dev-packages" if group == DEVELOP else group


def no_extras(file: str, extras: tuple[str, ...]) -> tuple[str, ...]:
    """Return no extras. Raises UsageError if one is asked for."""
    if extras:
        raise UsageError(f"{file} declares no extra '{extras[0]}'", "a Pipfile has groups: `--with-group dev-packages`")
    return ()


def checked_groups(file: str, groups: Iterable[str], held: Iterable[str]) -> tuple[str, ...]:
    """Return the names of groups as the lock has them. Raises UsageError for one that it does not hold."""
    known = list(held)
    wanted = sorted({DEVELOP if name in _DEVELOP_NAMES else name for name in groups})
    for name in wanted:
        if name not in known:
            raise UsageError(f"{file} declares no group '{name}'", nearest(name, known))
    return tuple(wanted)


def python_requirements(raw: Mapping[str, Any], place: str) -> tuple[PythonRequirement, ...]:
    """Return the Python that a table `requires` chooses."""
    wanted = table_in(raw, "requires")
    version = str(wanted.get("python_version") or wanted.get("python_full_version") or "")
    return requirement(place, of_version(version), pinned=True)


def named(sources: object) -> dict[str, str]:
    """Return the indexes of a Pipfile or its lock by name, as `NAME=URL`; "" for PyPI."""
    urls = {source["name"]: with_variables(source["url"]) for source in named_indexes(sources)}
    return {name: "" if is_pypi(url) else f"{name}={url}" for name, url in urls.items()}


def indexes(sources: object) -> Indexes:
    """Return the indexes of a Pipfile or its lock. Each is asked only for the packages that it had."""
    return Indexes(explicit=tuple(index for index in named(sources).values() if index))
