"""What the locks of other tools have in common that were made from the pyproject.toml beside them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

from ocicaliban.dependencies.declaration import Declaration, add_text
from ocicaliban.errors import UsageError
from ocicaliban.formats.toml import read_toml

_EMPTY = re.compile(r"^package\s*=\s*\[\s*\]", re.M)


def holds_packages(text: str) -> bool:
    """Whether the text of a lock has packages. A damaged one may have some."""
    if "[[package]]" in text or "[metadata]" not in text:
        return True
    return re.search(r"^package\b", text, re.M) is not None and not _EMPTY.search(text)


class PyprojectLock(Declaration):
    """A lock that a tool made from a pyproject.toml."""

    LOCK: ClassVar[bool] = True

    def covers(self) -> tuple[str, ...]:
        """Return pyproject.toml, which the lock was made from."""
        return ("pyproject.toml",)

    def texts(self) -> dict[str, str]:
        """Return the lock and the pyproject.toml beside it."""
        texts: dict[str, str] = {}
        add_text(texts, self.path, self.root)
        add_text(texts, self._manifest, self.root)
        return texts

    @property
    def _manifest(self) -> Path:
        return self.path.with_name("pyproject.toml")

    def _read_manifest(self) -> dict[str, Any]:
        if not self._manifest.is_file():
            message = f"{self.FILE} has no pyproject.toml beside it"
            raise UsageError(message, "copy the project's pyproject.toml, too")
        return read_toml(self._manifest)[1]
