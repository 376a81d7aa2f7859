"""setup.py, with the setup.cfg and pyproject.toml beside it."""

from __future__ import annotations

from typing import ClassVar

from ocicaliban.dependencies.python_requirement import PythonRequirement, of_setup_cfg, of_setup_script
from ocicaliban.dependencies.setuptools_project import SetuptoolsProject


class SetupScript(SetuptoolsProject):
    """The dependencies that setup.py spells out or computes."""

    FILE: ClassVar[str] = "setup.py"

    def covers(self) -> tuple[str, ...]:
        """Return setup.cfg, which setuptools reads as well."""
        return ("setup.cfg",)

    def python_requirements(self) -> tuple[PythonRequirement, ...]:
        """Return the python_requires of setup.py and of the setup.cfg beside it."""
        return (*of_setup_script(self.root), *of_setup_cfg(self.root))
