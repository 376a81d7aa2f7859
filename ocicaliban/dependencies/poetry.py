"""[tool.poetry] of a pyproject.toml, without a lock."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from ocicaliban.dependencies import own_requirements, poetry_project
from ocicaliban.dependencies.declaration import Declaration, ResolutionTarget, manifest
from ocicaliban.dependencies.indexes import Indexes, is_pypi, with_options
from ocicaliban.dependencies.locked_packages import marker_environment
from ocicaliban.dependencies.own_requirements import OwnRequirements
from ocicaliban.dependencies.python_requirement import PythonRequirement
from ocicaliban.errors import UsageError
from ocicaliban.formats.toml import read_toml
from ocicaliban.model.recipe import Variant


class PoetryProject(Declaration):
    """The dependencies and groups that Poetry would lock."""

    FILE: ClassVar[str] = "pyproject.toml"
    TOOL: ClassVar[str] = "poetry"
    TABLE: ClassVar[str] = "tool.poetry"
    PROJECT: ClassVar[bool] = True

    @classmethod
    def find(cls, root: Path) -> Self | None:
        """Return the declaration, or None if [tool.poetry] declares no dependencies."""
        declaration = super().find(root)
        return declaration if declaration and cls.reads(declaration.path) else None

    @classmethod
    def reads(cls, path: Path) -> bool:
        """Whether a file is a pyproject.toml whose [tool.poetry] declares dependencies."""
        return path.name == cls.FILE and path.is_file() and poetry_project.is_poetry(manifest(path.parent))

    def indexes(self) -> Indexes:
        """Return the sources of [tool.poetry], each of which is asked only for packages that were found there."""
        own = poetry_project.indexes(manifest(self.path.parent))
        return with_options(own, self.pip_options(), self.root)

    def resolved_extras(self, extras: tuple[str, ...], variant: Variant) -> tuple[str, ...]:
        """Return the given extras and the variant's. Raises UsageError for one that the file does not declare."""
        return poetry_project.with_variant(read_toml(self.path)[1], extras, variant)

    def resolved_groups(self, groups: tuple[str, ...]) -> tuple[str, ...]:
        """Return the given groups, and all that are not optional. Raises UsageError for an undeclared one."""
        return poetry_project.with_default_groups(read_toml(self.path)[1], groups)

    def python_requirements(self) -> tuple[PythonRequirement, ...]:
        """Return what [project] and [tool.poetry.dependencies] say."""
        return poetry_project.python_requirements(manifest(self.path.parent))

    def resolve(self, target: ResolutionTarget, preferred: str) -> str:
        """Return what uv resolves from the dependencies, with the groups and extras of the target.

        Raises UsageError if uv cannot look for what they ask for.
        """
        own = own_of(self.path, target.groups, target.extras)
        text = own_requirements.compile_own(self, own, target, preferred)
        package = poetry_project.read_package(self.path)
        wanted = poetry_project.wanted_dependencies(package, target.groups, target.extras)
        if wrong := poetry_project.outside(text, wanted, marker_environment(target.base)):
            message = f"{self.shown} excludes {wrong}, which is the version that uv found"
            raise UsageError(message, "run `poetry lock`, or write the constraint without ||")
        return text


def own_of(path: Path, groups: tuple[str, ...], extras: tuple[str, ...]) -> OwnRequirements:
    """Return Poetry's dependencies as requirements, with the sources of [tool.poetry]."""
    raw = read_toml(path)[1]
    wanted = list(poetry_project.wanted_dependencies(poetry_project.read_package(path), groups, extras))
    sources = {source["name"].lower(): source for source in poetry_project.sources(raw)}
    pins: dict[str, str] = {}
    for dependency in wanted:
        source = sources.get((dependency.source_name or "").lower())
        if source and not is_pypi(source["url"]):
            pins[dependency.name] = f"{source['name']}={source['url']}"
    with poetry_project.readable(path.name):
        lines = own_requirements.unique(map(poetry_project.requirement_line, wanted))
    return OwnRequirements(
        lines=lines,
        indexes=poetry_project.general_indexes(raw),
        pins=pins,
    )
