"""requirements.txt, and other lists of requirements."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from ocicaliban.dependencies.declaration import Declaration, add_text, add_uv_settings
from ocicaliban.dependencies.pip_options import is_list


class RequirementsList(Declaration):
    """A list of requirements in pip's form, with the lists that it includes."""

    FILE: ClassVar[str] = "requirements.txt"
    NAMES: ClassVar[tuple[str, ...]] = ("requirements.txt", "requirements.in")
    EXTRAS_HINT: ClassVar[str] = "declare the extras in a pyproject.toml; a requirements.txt cannot declare any"

    @classmethod
    def reads(cls, path: Path) -> bool:
        """Whether the file is a list: any name will do that is not another form's."""
        return is_list(path)

    def requirement_lists(self) -> dict[str, str]:
        """Return the texts of the list and of those that it includes, by their paths in the project."""
        return self._lists()

    def unread_parts(self) -> tuple[str, ...]:
        """Return the options that have no effect on what is installed."""
        return tuple(f"'{option}' of {self.shown}" for option in self.pip_options().harmless)

    def texts(self) -> dict[str, str]:
        """Return the lists and uv's settings."""
        texts = self._lists()
        add_uv_settings(texts, self.root)
        return texts

    def _lists(self) -> dict[str, str]:
        texts: dict[str, str] = {}
        add_text(texts, self.path, self.root)
        return texts
