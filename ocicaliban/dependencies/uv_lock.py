"""uv.lock, with the pyproject.toml beside it."""

from __future__ import annotations

from typing import ClassVar

from ocicaliban.dependencies.declaration import (
    Declaration,
    ResolutionTarget,
    add_build_files,
    add_text,
    check_requires_python,
    is_dynamic,
    manifest,
)
from ocicaliban.dependencies.pyproject import declared_extras
from ocicaliban.formats.toml import read_toml
from ocicaliban.model.image import Base
from ocicaliban.model.recipe import Variant


class UvLock(Declaration):
    """The versions that uv has locked."""

    FILE: ClassVar[str] = "uv.lock"

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

    def check_python(self, base: Base) -> None:
        """Raise UsageError if the lock's requires-python does not fit the base image's Python."""
        check_requires_python(self.path.name, read_toml(self.path)[1].get("requires-python"), base)

    def resolve(self, target: ResolutionTarget, preferred: str) -> str:
        """Return what the lock holds for these extras. Raises UsageError if the lock is out of date."""
        from ocicaliban.dependencies import uv  # most plans resolve nothing

        return uv.exported_lock(self.root, target.extras)
