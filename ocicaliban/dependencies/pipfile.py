"""Pipfile, without a lock."""

from __future__ import annotations

from typing import Any, ClassVar

from ocicaliban.dependencies import own_requirements, pipenv_project
from ocicaliban.dependencies.declaration import Declaration, ResolutionTarget
from ocicaliban.dependencies.indexes import Indexes
from ocicaliban.dependencies.locked_requirements import normalized
from ocicaliban.dependencies.own_requirements import OwnRequirements, requirement_line
from ocicaliban.dependencies.python_requirement import PythonRequirement
from ocicaliban.formats.toml import table_in
from ocicaliban.model.recipe import Variant


class Pipfile(Declaration):
    """The packages that Pipenv would lock."""

    FILE: ClassVar[str] = "Pipfile"
    TOOL: ClassVar[str] = "pipenv"

    def indexes(self) -> Indexes:
        """Return the sources, each of which is asked only for packages that were found there."""
        return pipenv_project.indexes(pipenv_project.read_pipfile(self.path).get("source"))

    def lists_dependencies(self) -> bool:
        """Whether the file lists a package."""
        raw = pipenv_project.read_pipfile(self.path)
        return any(table_in(raw, name) for name in ("packages", "dev-packages", *pipenv_project.categories(raw)))

    def resolved_extras(self, extras: tuple[str, ...], variant: Variant) -> tuple[str, ...]:
        """Raise UsageError if an extra is asked for, since a Pipfile declares none."""
        return pipenv_project.no_extras(self.shown, extras)

    def resolved_groups(self, groups: tuple[str, ...]) -> tuple[str, ...]:
        """Return the given groups. Raises UsageError for one that the file does not declare."""
        raw = pipenv_project.read_pipfile(self.path)
        held = [*pipenv_project.categories(raw), *([pipenv_project.DEVELOP] if "dev-packages" in raw else [])]
        return pipenv_project.checked_groups(self.shown, groups, held)

    def python_requirements(self) -> tuple[PythonRequirement, ...]:
        """Return the Python of [requires]."""
        return pipenv_project.python_requirements(pipenv_project.read_pipfile(self.path), f"{self.shown}: requires")

    def resolve(self, target: ResolutionTarget, preferred: str) -> str:
        """Return what uv resolves from [packages] and the sections of the target's groups."""
        own = self.own(pipenv_project.read_pipfile(self.path), target.groups)
        return own_requirements.compile_own(self, own, target, preferred)

    def own(self, raw: dict[str, Any], groups: tuple[str, ...]) -> OwnRequirements:
        """Return the packages as requirements, with the sources."""
        sections = ["packages", *map(pipenv_project.section, groups)]
        prereleases = table_in(raw, "pipenv").get("allow_prereleases") is True
        lines: list[str] = []
        chosen: dict[str, str] = {}
        for section in sections:
            for name, wanted in table_in(raw, section).items():
                place = f"{self.shown}: [{section}]"
                lines.append(requirement_line(name, wanted, self.root, place, prereleases=prereleases))
                chosen[normalized(name)] = str(wanted.get("index", "")) if isinstance(wanted, dict) else ""
        named = pipenv_project.named(raw.get("source"))
        return OwnRequirements(
            lines=own_requirements.unique(lines),
            indexes=(next(iter(named.values()), ""),),
            pins={package: named[index] for package, index in chosen.items() if named.get(index)},
        )
