"""The header of a script that declares the script's own environment (PEP 723)."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

from ocicaliban.dependencies import script_settings
from ocicaliban.dependencies.declaration import Declaration, ResolutionTarget, add_text, manifest
from ocicaliban.dependencies.indexes import Indexes, indexes_in
from ocicaliban.dependencies.python_requirement import PythonRequirement, requirement
from ocicaliban.errors import UsageError
from ocicaliban.formats.toml import parse_toml, read_toml, table_in
from ocicaliban.model.recipe import Variant

_OPENING = "# /// script"
_CLOSING = "# ///"
_LARGEST = 1_000_000


class ScriptHeader(Declaration):
    """The dependencies that a script declares for itself. They are all that it gets."""

    ALONE: ClassVar[bool] = True

    @classmethod
    def find(cls, root: Path) -> Self | None:
        """Return None: a header is for its script, and no file of the project's folder has it."""
        return None

    @classmethod
    def reads(cls, path: Path) -> bool:
        """Whether the file is a Python program, and not the project's setup.py."""
        return path.suffix == ".py" and path.name != "setup.py"

    @classmethod
    def of_script(cls, root: Path, path: Path) -> Self | None:
        """Return the declaration of a script, or None if it has no header."""
        return cls(root=root, path=path) if header_of(path) else None

    def texts(self) -> dict[str, str]:
        """Return the header, the lock of the script that `uv lock --script` writes, and uv's settings."""
        texts = {self.shown: header_of(self.path)}
        add_text(texts, self._lock, self.root)
        add_text(texts, self.root / "uv.toml", self.root)
        if settings := script_settings.of_project(table_in(manifest(self.root), "tool", "uv")):
            texts["[tool.uv]"] = json.dumps(settings, sort_keys=True, default=str)
        return texts

    def uv_settings(self) -> dict[str, Any]:
        """Return uv's settings in the header, and those of the project that count for a script, as `uv run` does."""
        header = table_in(self._values(), "tool", "uv")
        file = self.root / "uv.toml"
        project = read_toml(file)[1] if file.is_file() else table_in(manifest(self.root), "tool", "uv")
        return script_settings.joined(
            script_settings.absolute(header, self.path.parent), script_settings.absolute(project, self.root)
        )

    def indexes(self) -> Indexes:
        """Return the package indexes that the header and the project name."""
        return indexes_in([self.uv_settings()], self.root)

    def resolved_extras(self, extras: tuple[str, ...], variant: Variant) -> tuple[str, ...]:
        """Return (): extras are the project's, which is no part of the script's environment."""
        return ()

    def resolved_groups(self, groups: tuple[str, ...]) -> tuple[str, ...]:
        """Return (): groups are the project's, too."""
        return ()

    def python_requirements(self) -> tuple[PythonRequirement, ...]:
        """Return the header's requires-python."""
        return requirement(f"{self.shown}: requires-python", self._values().get("requires-python"))

    def resolve(self, target: ResolutionTarget, preferred: str) -> str:
        """Return what the script's lock holds, or else what uv resolves for the header."""
        import tomli_w  # most plans resolve nothing

        from ocicaliban.dependencies import local_folders, uv

        if self._lock.is_file():
            return uv.exported_script(self.path)
        project = {"name": "ocicaliban-script", "version": "0", "dependencies": self._values().get("dependencies", [])}
        # In a folder of its own: uv would take the constraints of the project in the current one.
        with TemporaryDirectory(prefix="ocicaliban-") as folder:
            path = Path(folder) / "pyproject.toml"
            path.write_text(tomli_w.dumps({"project": project, "tool": {"uv": self.uv_settings()}}))
            text = self.compiled(target, preferred, (path,), cwd=path.parent)
            return local_folders.moved(text, path.parent, self.root)

    @property
    def _lock(self) -> Path:
        return self.path.with_name(f"{self.path.name}.lock")

    def _values(self) -> dict[str, Any]:
        """Return the values in the header. Raises UsageError if it is not TOML."""
        lines = (re.sub(r"^# ?", "", line) for line in header_of(self.path).splitlines())
        try:
            return parse_toml("\n".join(lines))
        except ValueError as exc:
            name = os.path.relpath(self.path, self.root)
            raise UsageError(f"{name}: the script's header (PEP 723) is not TOML: {exc}", "correct the header") from exc


def header_of(path: Path) -> str:
    """Return the lines of a script between those that open and close its header; "" if it has none.

    Raises UsageError if it has two.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(_LARGEST)
    except OSError:
        return ""
    if _OPENING not in text:
        return ""
    found: list[str] = []
    lines = [line.rstrip() for line in text.splitlines()]
    starts = [number for number, line in enumerate(lines) if line == _OPENING]
    for start in starts:
        end = start + 1
        while end < len(lines) and (lines[end] == "#" or lines[end].startswith("# ")):
            end += 1
        # The last closing line counts: a line in between may look like one.
        block = lines[start + 1 : end]
        if _CLOSING in block:
            last = len(block) - 1 - block[::-1].index(_CLOSING)
            found.append("\n".join(block[:last]) + "\n")
    if len(found) > 1:
        raise UsageError(f"{path.name} has two headers '{_OPENING}'", "remove one of them")
    return found[0] if found else ""
