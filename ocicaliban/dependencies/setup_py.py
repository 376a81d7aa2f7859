"""setup.py, with the setup.cfg and pyproject.toml beside it."""

from __future__ import annotations

from typing import ClassVar

from attrs import evolve

from ocicaliban.dependencies.declaration import Declaration, ResolutionTarget, add_build_files, add_text
from ocicaliban.dependencies.python_requirement import PythonRequirement, of_setup_cfg, of_setup_script
from ocicaliban.errors import ToolError


class SetupScript(Declaration):
    """The dependencies that setup.py computes."""

    FILE: ClassVar[str] = "setup.py"

    def texts(self) -> dict[str, str]:
        """Return the script, uv's settings, and what the build computes the dependencies from."""
        texts = super().texts()
        add_text(texts, self.root / "pyproject.toml", self.root)
        add_build_files(texts, self.root)
        return texts

    def python_requirements(self) -> tuple[PythonRequirement, ...]:
        """Return the python_requires of setup.py and of the setup.cfg beside it."""
        return (*of_setup_script(self.root), *of_setup_cfg(self.root))

    def resolve(self, target: ResolutionTarget, preferred: str) -> str:
        """Return the locked requirements, with those of the extra `cpu` or `gpu` if the script declares it."""
        # Only running the script tells which extras it declares. uv runs it, so ask for the variant's and see.
        if target.variant not in target.extras:
            try:
                return super().resolve(evolve(target, extras=(*target.extras, target.variant)), preferred)
            except ToolError as exc:
                if f"Requested extra not found: {target.variant}" not in exc.stderr:
                    raise
        return super().resolve(target, preferred)
