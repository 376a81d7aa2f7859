"""setup.cfg without a setup.py, and without [project] in a pyproject.toml beside it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from ocicaliban.dependencies.python_requirement import PythonRequirement, of_setup_cfg
from ocicaliban.dependencies.setup_metadata import SetupMetadata
from ocicaliban.dependencies.setuptools_project import SetuptoolsProject
from ocicaliban.errors import UsageError
from ocicaliban.formats.file_faults import check_mark

_DECLARING = ("install_requires", "install-requires", "[options.extras_require]")


class SetupCfg(SetuptoolsProject):
    """The dependencies in setup.cfg."""

    FILE: ClassVar[str] = "setup.cfg"

    @classmethod
    def find(cls, root: Path) -> Self | None:
        """Return the declaration, or None if the file does not exist or has only settings of tools."""
        declaration = super().find(root)
        if declaration is None:
            return None
        text = declaration.path.read_text(encoding="utf-8", errors="replace")
        return declaration if any(word in text for word in _DECLARING) else None

    def metadata(self) -> SetupMetadata | None:
        """Return what the file declares. Raises UsageError if it cannot be read."""
        check_mark(self.path)
        metadata = super().metadata()
        if metadata is None and not (self.root / "setup.py").is_file():
            raise UsageError(
                f"{self.shown}: its requirements cannot be read",
                "correct the file, or a file that it names: each of the requirements has a line of its own",
            )
        return metadata

    def python_requirements(self) -> tuple[PythonRequirement, ...]:
        """Return python_requires."""
        return of_setup_cfg(self.root)
