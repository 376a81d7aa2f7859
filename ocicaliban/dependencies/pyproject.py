"""pyproject.toml with a table [project]."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from ocicaliban.dependencies import dependency_groups
from ocicaliban.dependencies.declaration import (
    Declaration,
    add_build_files,
    is_dynamic,
    manifest,
    table,
)
from ocicaliban.dependencies.locked_requirements import normalized
from ocicaliban.dependencies.python_requirement import PythonRequirement, requirement
from ocicaliban.errors import UsageError, nearest
from ocicaliban.formats.toml import read_toml
from ocicaliban.model.recipe import Variant


class PyprojectToml(Declaration):
    """The dependencies of a table [project]."""

    FILE: ClassVar[str] = "pyproject.toml"

    @classmethod
    def find(cls, root: Path) -> Self | None:
        """Return the declaration, or None if there is no file, or neither [project] nor groups of its own in it."""
        declaration = super().find(root)
        if declaration is None:
            return None
        raw = read_toml(declaration.path)[1]
        if "project" in raw:
            return declaration
        # Groups without a project: uv runs scripts in their environment. Beside another declaration they are no source.
        others = (root / "setup.py").is_file() or (root / "setup.cfg").is_file() or table(raw, "tool", "poetry")
        return declaration if dependency_groups.declared(raw) and not others else None

    def texts(self) -> dict[str, str]:
        """Return the file, uv's settings, and what a build computes the dependencies from if they are dynamic."""
        texts = super().texts()
        if is_dynamic(manifest(self.root)):
            add_build_files(texts, self.root)
        return texts

    def resolved_extras(self, extras: tuple[str, ...], variant: Variant) -> tuple[str, ...]:
        """Return the given extras and the variant's. Raises UsageError for one that the file does not declare."""
        return declared_extras(self.path, extras, variant)

    def resolved_groups(self, groups: tuple[str, ...]) -> tuple[str, ...]:
        """Return the given groups and those that `uv run` installs. Raises UsageError for an undeclared one."""
        return dependency_groups.with_defaults(read_toml(self.path)[1], groups, self.shown)

    @property
    def groups_file(self) -> Path:
        """The file itself."""
        return self.path

    def compiled_files(self) -> tuple[Path, ...]:
        """Return the files whose requirements uv resolves. Without [project], uv would build the folder."""
        files = super().compiled_files()
        return files if "project" in read_toml(self.path)[1] else tuple(path for path in files if path != self.path)

    def python_requirements(self) -> tuple[PythonRequirement, ...]:
        """Return requires-python."""
        wanted = table(read_toml(self.path)[1], "project").get("requires-python")
        return requirement(f"{self.shown}: requires-python", wanted)


def declared_extras(path: Path, extras: tuple[str, ...], variant: Variant) -> tuple[str, ...]:
    """Return the extras, and the variant if the pyproject.toml at `path` declares an extra of this name.

    Raises UsageError for an extra that it does not declare, unless its build decides on the extras.
    """
    raw = read_toml(path)[1]
    declared = table(raw, "project", "optional-dependencies")
    known = {normalized(name) for name in declared}
    unknown = sorted(extra for extra in extras if normalized(extra) not in known)
    if unknown and not is_dynamic(raw):
        raise UsageError(f"pyproject.toml declares no extra '{unknown[0]}'", nearest(unknown[0], declared))
    return tuple(sorted({*extras, *([variant] if variant in declared else [])}))
