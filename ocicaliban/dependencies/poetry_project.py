"""What [tool.poetry] and [project] of a pyproject.toml declare, as Poetry reads them."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlsplit

from attrs import frozen

from ocicaliban.dependencies import locked_requirements, poetry_unions
from ocicaliban.dependencies.indexes import PYPI, Indexes, is_pypi
from ocicaliban.dependencies.locked_requirements import entries, normalized
from ocicaliban.dependencies.python_requirement import PythonRequirement, requirement
from ocicaliban.errors import UsageError, first_line, nearest
from ocicaliban.formats.toml import read_toml, table_in
from ocicaliban.model.recipe import Variant

if TYPE_CHECKING:
    from poetry.core.constraints.version import VersionConstraint
    from poetry.core.packages.dependency import Dependency
    from poetry.core.packages.project_package import ProjectPackage
    from poetry.core.pyproject.toml import PyProjectTOML

MAIN = "main"
"""Poetry's name for the dependencies that belong to no group."""

_PROJECT_KEYS = ("requires-python", "dependencies", "optional-dependencies")
_LEGACY_KEYS = ("dependencies", "source", "extras", "dev-dependencies")
_PYTHON = "[tool.poetry.dependencies] python"
_CARET = re.compile(r"([~^])([1-9]\d*)(\.\d+)?(\.\d+)?")
_PEP440 = re.compile(r"(==|!=|<=|>=|<|>)\s*\d+(\.\d+)*(\.\*)?")
_CHECK = "`poetry check` explains more"


@frozen
class _Declared:
    """The tables of a pyproject.toml that declare dependencies, for poetry-core."""

    data: dict[str, Any]
    poetry_config: dict[str, Any]


def is_poetry(raw: Mapping[str, Any]) -> bool:
    """Whether a pyproject.toml declares dependencies in Poetry's own form."""
    poetry = table_in(raw, "tool", "poetry")
    return any(key in poetry for key in ("dependencies", "group", "dev-dependencies"))


def faults() -> tuple[type[Exception], ...]:
    """Return what Poetry's own library raises for what it cannot read."""
    import poetry.core  # noqa: F401 - it brings its own copy of lark, which reads markers

    lark: type[Exception] = importlib.import_module("lark.exceptions").LarkError
    return (lark, ValueError, TypeError, LookupError, AttributeError, AssertionError, RecursionError)


@contextlib.contextmanager
def readable(name: str) -> Iterator[None]:
    """Raise UsageError if Poetry's library cannot use the file `name` after all: it checks some values late."""
    known = faults()
    try:
        yield
    except UsageError:
        raise
    except known as exc:
        raise UsageError(f"{name}: Poetry cannot read its dependencies: {first_line(exc)}", _CHECK) from exc


def read_package(path: Path) -> ProjectPackage:
    """Return what the pyproject.toml at `path` declares. Raises UsageError if Poetry cannot read it."""
    from poetry.core.factory import Factory

    raw = read_toml(path)[1]
    project, poetry = table_in(raw, "project"), table_in(raw, "tool", "poetry")
    # The other keys (licence, readme, ...) do not matter here, and need not be valid.
    declared = _Declared(
        data={
            "project": {key: project[key] for key in (*_PROJECT_KEYS, "dynamic") if key in project},
            "dependency-groups": table_in(raw, "dependency-groups"),
        },
        poetry_config={key: poetry[key] for key in (*_LEGACY_KEYS, "group") if key in poetry},
    )
    name = project.get("name") or poetry.get("name")
    package = Factory.get_package(name if isinstance(name, str) else "-", "0")
    with readable(path.name):
        Factory.configure_package(package, cast("PyProjectTOML", declared), path.parent)
    return package


def python_requirements(raw: Mapping[str, Any]) -> tuple[PythonRequirement, ...]:
    """Return what [project] and [tool.poetry.dependencies] say about Python."""
    wanted = table_in(raw, "tool", "poetry", "dependencies").get("python")
    return (
        *requirement("pyproject.toml: requires-python", table_in(raw, "project").get("requires-python")),
        *requirement(f"pyproject.toml: {_PYTHON}", specifiers(wanted, _PYTHON) if isinstance(wanted, str) else None),
    )


def allows(constraint: object, python: str, place: str) -> bool:
    """Whether a version constraint of Poetry allows a Python. `place` names the constraint in an error."""
    from poetry.core.constraints.version import Version

    return _parsed(str(constraint), place).allows(Version.parse(python))


def specifiers(constraint: str, place: str) -> str:
    """Return a version constraint of Poetry (`^3.10`) as PEP 440 specifiers.

    `place` names the constraint in the UsageError for one that Poetry does not know.
    """
    if quick := _CARET.fullmatch(constraint.strip()):  # without poetry-core, whose import takes 0.1 s
        major, minor = quick[2], quick[3]
        last = f"{int(major) + 1}.0" if quick[1] == "^" or not minor else f"{major}.{int(minor[1:]) + 1}"
        return f">={constraint.strip()[1:]},<{last}"
    if all(_PEP440.fullmatch(part.strip()) for part in constraint.split(",")):
        return constraint
    from poetry.core.constraints.version import VersionUnion

    parsed = _parsed(constraint, place)
    if isinstance(parsed, VersionUnion):
        return poetry_unions.of_pythons(parsed)
    text = str(parsed)
    if text == "*" or text[:1] in "<>=!~":
        return text.removeprefix("*")
    # No release is called 3.11 alone: it means any release of 3.11.
    return f"=={text}.*" if re.fullmatch(r"\d+\.\d+", text) else f"=={text}"


def _parsed(constraint: str, place: str) -> VersionConstraint:
    from poetry.core.constraints.version import parse_constraint

    try:
        return parse_constraint(constraint)
    except ValueError as exc:
        raise UsageError(f"{place}: '{constraint}' is not a version constraint: {exc}", _CHECK) from exc


def content_hashes(raw: Mapping[str, Any]) -> frozenset[str]:
    """Return the hashes by which Poetry's versions recognise that a pyproject.toml has not changed since locking."""
    project, poetry = table_in(raw, "project"), table_in(raw, "tool", "poetry")
    hashes = set()
    for groups in ({}, table_in(raw, "dependency-groups")):
        relevant_project = {key: project[key] for key in _PROJECT_KEYS if project.get(key) is not None}
        relevant_poetry = {
            key: poetry.get(key)
            for key in (*_LEGACY_KEYS, "group")
            if poetry.get(key) is not None or (key in _LEGACY_KEYS and not relevant_project and not groups)
        }
        relevant: dict[str, Any] = {"project": relevant_project} if relevant_project else {}
        if groups:
            relevant["dependency-groups"] = groups
        relevant = {**relevant, "tool": {"poetry": relevant_poetry}} if relevant else relevant_poetry
        hashes.add(hashlib.sha256(json.dumps(relevant, sort_keys=True, default=str).encode()).hexdigest())
    return frozenset(hashes)


def with_default_groups(raw: Mapping[str, Any], groups: Iterable[str]) -> tuple[str, ...]:
    """Return the given groups and those that `poetry install` installs: all that are not optional.

    Raises UsageError for one that the pyproject.toml does not declare.
    """
    declared = declared_groups(raw)
    given = {normalized(name) for name in groups}
    if unknown := sorted(given - {MAIN, *declared}):
        raise UsageError(f"pyproject.toml declares no group '{unknown[0]}'", nearest(unknown[0], declared))
    return tuple(sorted((given - {MAIN}) | {name for name, optional in declared.items() if not optional}))


def declared_groups(raw: Mapping[str, Any]) -> dict[str, bool]:
    """Return whether each group is optional, by its normalized name."""
    tables = table_in(raw, "tool", "poetry", "group")
    names = [*tables, *table_in(raw, "dependency-groups")]
    if "dev-dependencies" in table_in(raw, "tool", "poetry"):
        names.append("dev")
    optional = {normalized(name) for name in tables if table_in(tables, name).get("optional")}
    return {normalized(name): normalized(name) in optional for name in names}


def with_variant(raw: Mapping[str, Any], extras: Iterable[str], variant: Variant) -> tuple[str, ...]:
    """Return the extras, and the variant if there is an extra of this name.

    Raises UsageError for an extra that the pyproject.toml does not declare.
    """
    optional = table_in(raw, "project", "optional-dependencies")
    declared = optional
    if not optional and not table_in(raw, "project").get("dependencies"):
        declared = table_in(raw, "tool", "poetry", "extras")
    known = {normalized(name) for name in declared}
    given = {normalized(extra) for extra in extras}
    if unknown := sorted(given - known):
        raise UsageError(f"pyproject.toml declares no extra '{unknown[0]}'", nearest(unknown[0], declared))
    return tuple(sorted(given | ({variant} & known)))


def wanted_dependencies(package: ProjectPackage, groups: Iterable[str], extras: Iterable[str]) -> Iterator[Dependency]:
    """Yield the dependencies of the main group and of these groups, with the optional ones of these extras.

    They carry their markers, and the source and constraint of both tables if [project] and [tool.poetry] have them.
    """
    declared = [
        dependency
        for name in (MAIN, *groups)
        if package.has_dependency_group(name)
        for dependency in package.dependency_group(name).dependencies_for_locking
    ]
    chosen, before = {normalized(extra) for extra in extras}, set[str]()
    while chosen != before:  # an extra may name others of the same project
        before = set(chosen)
        for dependency in declared:
            if dependency.name == package.name and chosen.intersection(dependency.in_extras):
                chosen |= dependency.extras
    for dependency in declared:
        if dependency.name != package.name and (
            not dependency.is_optional() or chosen.intersection(dependency.in_extras)
        ):
            yield dependency


def requirement_line(dependency: Dependency) -> str:
    """Return a dependency as a requirement (PEP 508). Raises UsageError for a union (`||`) of too distant versions."""
    from poetry.core.constraints.version import VersionUnion

    more: list[str] = []
    constraint = dependency.constraint
    if isinstance(constraint, VersionUnion) and not constraint.excludes_single_version:
        try:
            more = poetry_unions.without_gaps(constraint)
        except poetry_unions.TooWide:
            message = f"pyproject.toml: {dependency.pretty_name}: uv cannot look for '{constraint}'"
            raise UsageError(message, "run `poetry lock`, or write it without ||") from None
        dependency = dependency.with_constraint(poetry_unions.around(constraint))
    if dependency.allows_prereleases() and not dependency.is_direct_origin():
        more.insert(0, ">=0.dev0")  # uv takes a pre-release if a specifier names one
    line = dependency.to_pep_508(with_extras=False)
    if not more:
        return line
    head, semicolon, marker = line.partition(" ;")
    name, _, specifiers = head.partition(" (")
    listed = [*more[:1], *filter(None, [specifiers.rstrip(")")]), *more[1:]]
    return f"{name} ({','.join(listed)}){semicolon}{marker}"


def outside(text: str, wanted: Iterable[Dependency], environment: Mapping[str, str]) -> str:
    """Return the first package of locked requirements in a version between the parts of a union, "" if there is none.

    The specifiers that uv gets do not exclude each version that there can be.
    """
    from poetry.core.constraints.version import Version, VersionUnion

    found = {locked_requirements.name(entry): locked_requirements.version(entry) for entry in entries(text)}
    for dependency in wanted:
        version = found.get(dependency.name, "")
        if not isinstance(dependency.constraint, VersionUnion) or not version:
            continue
        if dependency.marker.validate(dict(environment)) and not dependency.constraint.allows(Version.parse(version)):
            return f"{dependency.name}=={version}"
    return ""


def sources(raw: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return the package indexes of [[tool.poetry.source]], with user and password from Poetry's variables."""
    tables = table_in(raw, "tool", "poetry").get("source", [])
    found: list[dict[str, Any]] = []
    for source in tables if isinstance(tables, list) else []:
        if isinstance(source, dict) and isinstance(source.get("name"), str):
            url = PYPI if source["name"].lower() == "pypi" else str(source.get("url", ""))
            found.append({**source, "url": _with_login(source["name"], url)})
    return tuple(found)


def _with_login(name: str, url: str, environ: Mapping[str, str] = os.environ) -> str:
    prefix = "POETRY_HTTP_BASIC_" + re.sub(r"[^A-Z0-9]", "_", name.upper())
    user, password = environ.get(f"{prefix}_USERNAME", ""), environ.get(f"{prefix}_PASSWORD", "")
    if not (user or password) or "@" in urlsplit(url).netloc:
        return url
    return url.replace("://", f"://{quote(user, safe='')}:{quote(password, safe='')}@", 1)


def indexes(raw: Mapping[str, Any]) -> Indexes:
    """Return the package indexes of [[tool.poetry.source]]. Each is asked only for the packages that it had."""
    found = (f"{source['name']}={source['url']}" for source in sources(raw) if not is_pypi(source["url"]))
    return Indexes(explicit=tuple(found))


def general_indexes(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the indexes that any package may come from, in their order; "" is the default one."""
    declared = sources(raw)

    def named(source: Mapping[str, Any]) -> str:
        return "" if is_pypi(source["url"]) else f"{source['name']}={source['url']}"

    def priority(source: Mapping[str, Any]) -> str:
        former = "supplemental" if source.get("secondary") else "default" if source.get("default") else "primary"
        return str(source.get("priority", former)).lower()

    first = [named(source) for wanted in ("default", "primary") for source in declared if priority(source) == wanted]
    last = [named(source) for source in declared if priority(source) in ("supplemental", "secondary")]
    return (*(first or [""]), *last)
