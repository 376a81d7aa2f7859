"""cog.yaml, in which a model for Replicate declares its environment."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

from ocicaliban.dependencies.declaration import Declaration, ResolutionTarget, add_text
from ocicaliban.dependencies.python_requirement import PythonRequirement, of_version, requirement
from ocicaliban.errors import UsageError
from ocicaliban.formats.toml import read_text, table_in
from ocicaliban.formats.yaml import NotYaml, parse_yaml

_VERSION = re.compile(r"\bpython_version[\"']?\s*:\s*([\d.]+)")
_UNREAD = ("run", "pre_install", "cuda", "cudnn")


class CogYaml(Declaration):
    """The Python packages that the table `build` of cog.yaml lists, or the list of requirements that it names."""

    FILE: ClassVar[str] = "cog.yaml"
    TOOL: ClassVar[str] = "cog"

    @classmethod
    def find(cls, root: Path) -> Self | None:
        """Return the declaration, or None if there is no file."""
        declaration = super().find(root)
        if declaration:
            declaration._build()
        return declaration

    def lists_dependencies(self) -> bool:
        """Whether it lists packages or names a list of requirements."""
        build = self._build()
        return bool(build.get("python_packages") or build.get("python_requirements"))

    def covers(self) -> tuple[str, ...]:
        """Return the list of requirements that it names."""
        named = self._build().get("python_requirements")
        return (named,) if isinstance(named, str) and not self._packages() else ()

    def debian_packages(self) -> tuple[str, ...]:
        """Return its system packages."""
        return _texts(self._build().get("system_packages"))

    def unread_parts(self) -> tuple[str, ...]:
        """Return the keys that have no effect: commands of the build, and the version of CUDA."""
        return tuple(f"'build.{key}' of {self.shown}" for key in _UNREAD if self._build().get(key))

    def python_requirements(self) -> tuple[PythonRequirement, ...]:
        """Return its python_version."""
        version = self._build().get("python_version")
        if isinstance(version, float):  # 3.10 without quotes is the number 3.1; cog reads its text
            match = _VERSION.search(read_text(self.path))
            version = match[1] if match else version
        return requirement(f"{self.shown}: python_version", of_version(str(version or "")), pinned=True)

    def requirement_lists(self) -> dict[str, str]:
        """Return the text of the list that it names, with those which that includes, by their paths."""
        return {name: text for name, text in self.texts().items() if name != self.shown}

    def texts(self) -> dict[str, str]:
        """Return the file, and the list of requirements that it names."""
        texts = super().texts()
        if named := self._named():
            add_text(texts, named, self.root)
        return texts

    def resolve(self, target: ResolutionTarget, preferred: str) -> str:
        """Return the locked requirements. Raises UsageError if it names a list that does not exist."""
        named = self._named()
        if named and not named.is_file():
            raise UsageError(f"{self.shown}: there is no file '{self._build()['python_requirements']}'", "correct it")
        with TemporaryDirectory(prefix="ocicaliban-") as folder:
            listed = Path(folder) / "requirements.txt"
            listed.write_text("".join(f"{package}\n" for package in self._packages()))
            return self.compiled(target, preferred, (listed, *([named] if named else [])))

    def _named(self) -> Path | None:
        named = self._build().get("python_requirements")
        return self.path.parent / named if isinstance(named, str) and named else None

    def _packages(self) -> tuple[str, ...]:
        return _texts(self._build().get("python_packages"))

    def _build(self) -> dict[str, Any]:
        """Return the table `build`. Raises UsageError if the file is not YAML."""
        try:
            raw = parse_yaml(read_text(self.path))
        except NotYaml as exc:
            place = f"{self.path}:{exc.line}" if exc.line else str(self.path)
            raise UsageError(f"{place}: not valid YAML: {exc}", "correct the file") from exc
        return table_in(raw, "build") if isinstance(raw, dict) else {}


def _texts(values: object) -> tuple[str, ...]:
    return tuple(map(str, values)) if isinstance(values, list) else ()
