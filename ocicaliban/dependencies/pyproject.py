"""pyproject.toml with a table [project]."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from ocicaliban.dependencies import dependency_groups, pdm_project, poetry_project
from ocicaliban.dependencies.declaration import (
    Declaration,
    ResolutionTarget,
    is_dynamic,
)
from ocicaliban.dependencies.locked_requirements import normalized
from ocicaliban.dependencies.python_requirement import PythonRequirement, requirement
from ocicaliban.dependencies.setuptools_project import SetuptoolsProject
from ocicaliban.errors import UsageError, nearest
from ocicaliban.formats.toml import read_toml, table_in
from ocicaliban.model.recipe import Variant


class PyprojectToml(SetuptoolsProject):
    """The dependencies of a table [project], which may leave some to setuptools or another build."""

    FILE: ClassVar[str] = "pyproject.toml"
    PROJECT: ClassVar[bool] = True

    @classmethod
    def find(cls, root: Path) -> Self | None:
        """Return the declaration, or None if there is no file, or neither [project] nor groups of its own in it."""
        declaration = super().find(root)
        if declaration is None:
            return None
        raw = read_toml(declaration.path)[1]
        if poetry_project.is_poetry(raw) or pdm_project.is_pdm(raw):
            return None  # of another form
        return declaration if "project" in raw or declaration._has_only_groups else None

    @property
    def _has_only_groups(self) -> bool:
        """Whether the file has groups and no project, and none is beside it: uv runs scripts in their environment."""
        raw = read_toml(self.path)[1]
        others = any((self.path.parent / name).is_file() for name in ("setup.py", "setup.cfg"))
        return bool(dependency_groups.declared(raw)) and not (
            others or "project" in raw or table_in(raw, "tool", "poetry")
        )

    @property
    def _is_built(self) -> bool:
        """Whether its dependencies are not in [project], but where its build looks for them."""
        raw = read_toml(self.path)[1]
        return is_dynamic(raw) or not ("project" in raw or self._has_only_groups)

    def covers(self) -> tuple[str, ...]:
        """Return setup.py and setup.cfg, in which setuptools looks for what [project] leaves open."""
        return ("setup.py", "setup.cfg")

    def lists_dependencies(self) -> bool:
        """Whether the project declares a dependency, or a group, or leaves its dependencies to the build."""
        raw = read_toml(self.path)[1]
        project = table_in(raw, "project")
        return bool(project.get("dependencies")) or is_dynamic(raw) or bool(dependency_groups.declared(raw))

    def texts(self) -> dict[str, str]:
        """Return the file, uv's settings, and what a build computes the dependencies from if they are dynamic."""
        if self._is_built:
            return super().texts()
        return Declaration.texts(self)

    def resolved_extras(self, extras: tuple[str, ...], variant: Variant) -> tuple[str, ...]:
        """Return the given extras and the variant's. Raises UsageError for one that the file does not declare."""
        return (
            super().resolved_extras(extras, variant) if self._is_built else declared_extras(self.path, extras, variant)
        )

    def resolved_groups(self, groups: tuple[str, ...]) -> tuple[str, ...]:
        """Return the given groups and those that `uv run` installs. Raises UsageError for an undeclared one.

        Beside a requirements.txt, which is for pip, none is installed by default.
        """
        if self.beside:
            return super().resolved_groups(groups)
        return dependency_groups.with_defaults(read_toml(self.path)[1], groups, self.shown)

    @property
    def groups_file(self) -> Path:
        """The file itself."""
        return self.path

    def compiled_files(self) -> tuple[Path, ...]:
        """Return the files whose requirements uv resolves. Without [project], uv would build the folder."""
        files = super().compiled_files()
        return files[1:] if self._has_only_groups else files

    def resolve(self, target: ResolutionTarget, preferred: str) -> str:
        """Return the locked requirements. Raises ToolError with the explanation of uv or of the build."""
        found = super().resolve(target, preferred) if self._is_built else Declaration.resolve(self, target, preferred)
        if self.member and "build-system" in read_toml(self.path)[1]:
            found += f"-e ./{self.member}\n"
        return found

    def python_requirements(self) -> tuple[PythonRequirement, ...]:
        """Return requires-python."""
        wanted = table_in(read_toml(self.path)[1], "project").get("requires-python")
        return requirement(f"{self.shown}: requires-python", wanted)


def declared_extras(path: Path, extras: tuple[str, ...], variant: Variant) -> tuple[str, ...]:
    """Return the extras, and the variant if the pyproject.toml at `path` declares an extra of this name.

    Raises UsageError for an extra that it does not declare, unless its build decides on the extras.
    """
    raw = read_toml(path)[1]
    declared = table_in(raw, "project", "optional-dependencies")
    known = {normalized(name) for name in declared}
    unknown = sorted(extra for extra in extras if normalized(extra) not in known)
    if unknown and not is_dynamic(raw):
        raise UsageError(f"pyproject.toml declares no extra '{unknown[0]}'", nearest(unknown[0], declared))
    return tuple(sorted({*extras, *([variant] if variant in declared else [])}))
