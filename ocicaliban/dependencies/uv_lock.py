"""uv.lock, with the pyproject.toml beside it."""

from __future__ import annotations

from typing import ClassVar

from ocicaliban.dependencies import dependency_groups
from ocicaliban.dependencies.declaration import (
    Declaration,
    ResolutionTarget,
    add_build_files,
    add_text,
    is_dynamic,
    manifest,
)
from ocicaliban.dependencies.pyproject import declared_extras
from ocicaliban.dependencies.python_requirement import PythonRequirement, of_toml_head
from ocicaliban.model.recipe import Variant


class UvLock(Declaration):
    """The versions that uv has locked."""

    FILE: ClassVar[str] = "uv.lock"
    LOCK: ClassVar[bool] = True
    TOOL: ClassVar[str] = "uv"

    def covers(self) -> tuple[str, ...]:
        """Return pyproject.toml, which the lock was made from."""
        return ("pyproject.toml",)

    def texts(self) -> dict[str, str]:
        """Return the lock, pyproject.toml, uv's settings, and what a build computes the dependencies from."""
        texts = super().texts()
        add_text(texts, self.root / "pyproject.toml", self.root)
        if is_dynamic(manifest(self.root)):
            add_build_files(texts, self.root)
        return texts

    def resolved_extras(self, extras: tuple[str, ...], variant: Variant) -> tuple[str, ...]:
        """Return the given extras and the variant's. Raises UsageError for one that pyproject.toml does not declare."""
        path = self.path.with_name("pyproject.toml")
        return declared_extras(path, extras, variant) if path.is_file() else extras

    def resolved_groups(self, groups: tuple[str, ...]) -> tuple[str, ...]:
        """Return the given groups and those that `uv run` installs. Raises UsageError for an undeclared one."""
        return dependency_groups.with_defaults(manifest(self.root), groups, "pyproject.toml")

    def python_requirements(self) -> tuple[PythonRequirement, ...]:
        """Return the lock's requires-python."""
        return of_toml_head(self.path, self.shown)

    def resolve(self, target: ResolutionTarget, preferred: str) -> str:
        """Return what the lock holds for these extras. Raises UsageError if the lock is out of date."""
        from ocicaliban.dependencies import uv  # most plans resolve nothing

        return uv.exported_lock(self.root, target.extras, target.groups)
