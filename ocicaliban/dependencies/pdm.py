"""[tool.pdm] of a pyproject.toml, without a lock."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar, Self

from ocicaliban.dependencies import own_requirements, pdm_project
from ocicaliban.dependencies.declaration import Declaration, ResolutionTarget, manifest
from ocicaliban.dependencies.indexes import Indexes, with_options
from ocicaliban.dependencies.locked_requirements import name
from ocicaliban.dependencies.own_requirements import OwnRequirements
from ocicaliban.dependencies.python_requirement import PythonRequirement, requirement
from ocicaliban.formats.toml import read_toml, table_in
from ocicaliban.model.recipe import Variant


class PdmProject(Declaration):
    """The dependencies and groups that PDM would lock."""

    FILE: ClassVar[str] = "pyproject.toml"
    TOOL: ClassVar[str] = "pdm"
    TABLE: ClassVar[str] = "tool.pdm"
    PROJECT: ClassVar[bool] = True

    @classmethod
    def find(cls, root: Path) -> Self | None:
        """Return the declaration, or None if [tool.pdm] declares nothing that [project] does not."""
        declaration = super().find(root)
        return declaration if declaration and cls.reads(declaration.path) else None

    @classmethod
    def reads(cls, path: Path) -> bool:
        """Whether a file is a pyproject.toml whose [tool.pdm] declares dependencies or indexes."""
        return path.name == cls.FILE and path.is_file() and pdm_project.is_pdm(manifest(path.parent))

    def indexes(self) -> Indexes:
        """Return the sources of [tool.pdm], each of which is asked only for packages that were found there."""
        own = pdm_project.indexes(manifest(self.path.parent))
        return with_options(own, self.pip_options(), self.root)

    def resolved_extras(self, extras: tuple[str, ...], variant: Variant) -> tuple[str, ...]:
        """Return the given extras and the variant's. Raises UsageError for one that the file does not declare."""
        declared, given = pdm_project.checked_extras(read_toml(self.path)[1], extras)
        return tuple(sorted(given | ({variant} & {*declared})))

    def resolved_groups(self, groups: tuple[str, ...]) -> tuple[str, ...]:
        """Return all groups, as `pdm install` does. Raises UsageError if a given one is not declared."""
        raw = read_toml(self.path)[1]
        return tuple(sorted(pdm_project.checked_groups(raw, groups) | {*pdm_project.dev_groups(raw)}))

    def python_requirements(self) -> tuple[PythonRequirement, ...]:
        """Return the requires-python of [project], or of [tool.pdm]."""
        raw = manifest(self.path.parent)
        place = "project" if "project" in raw else "tool"
        table = table_in(raw, "project") if place == "project" else table_in(raw, "tool", "pdm")
        wanted = table.get("requires-python", table.get("python_requires"))
        return requirement("pyproject.toml: requires-python", wanted)

    def resolve(self, target: ResolutionTarget, preferred: str) -> str:
        """Return what uv resolves from the dependencies, with the groups and extras of the target."""
        own = own_of(read_toml(self.path)[1], self.root, target.groups, target.extras)
        return own_requirements.compile_own(self, own, target, preferred)


def own_of(raw: dict[str, Any], root: Path, groups: tuple[str, ...], extras: tuple[str, ...]) -> OwnRequirements:
    """Return PDM's dependencies as requirements, with the sources of [tool.pdm]; pure."""
    wanted = (pdm_project.DEFAULT, *groups, *extras)
    lines = [_plain(line, root) for group in wanted for line in pdm_project.group_lines(raw, group)]
    lines += pdm_project.former_lines(raw, groups, root)
    return OwnRequirements(
        lines=own_requirements.unique(lines),
        indexes=pdm_project.general_indexes(raw),
        pins={name(line): index for line in lines if (index := pdm_project.pin(raw, name(line)))},
    )


def _plain(line: str, root: Path) -> str:
    """Return a requirement without PDM's own forms: a variable for the project's folder, and -e."""
    found = pdm_project.local_path(line, root)
    if found is None:
        return line
    folder = Path(os.path.normpath(root / found[0]))
    package = line.partition("#egg=")[2] or (line.partition("@")[0] if "@" in line else folder.name)
    marker = line.partition(" ;")[2]
    return f"{package.strip()} @ {folder.as_uri()}" + (f" ;{marker}" if marker else "")
