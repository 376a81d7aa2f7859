"""environment.yml and its other names, as conda and mamba read them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

from attrs import frozen

from ocicaliban.dependencies.conda.declaration import (
    CondaDeclaration,
    CondaEnvironment,
    read_yaml,
    spec_of_python,
    text_of,
)
from ocicaliban.dependencies.declaration import ResolutionTarget, add_text
from ocicaliban.dependencies.python_requirement import PythonRequirement
from ocicaliban.errors import UsageError

_LIST = re.compile(r"\s*(-r|-c|--requirement|--constraint)[ =]?\s*(\S+)\s*")


@frozen(kw_only=True)
class _Contents:
    """The keys of the file that count. `name` and `prefix` say where conda would put the environment."""

    channels: tuple[str, ...] = ()
    specs: tuple[str, ...] = ()
    pip: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()


class EnvironmentYml(CondaDeclaration):
    """A conda environment, with a section of what pip installs in it."""

    FILE: ClassVar[str] = "environment.yml"
    NAMES: ClassVar[tuple[str, ...]] = (
        "environment.yml",
        "environment.yaml",
        "env.yml",
        "env.yaml",
        "conda.yml",
        "conda.yaml",
    )
    TOOL: ClassVar[str] = "conda"

    @classmethod
    def find(cls, root: Path) -> Self | None:
        """Return the declaration, or None if no file of these names has dependencies.

        Files for other purposes may have the names that are not conda's own.
        """
        for name in cls.names():
            path = root / name
            if not path.is_file():
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
            if text.strip() if name.startswith("environment.") else re.search(r"^dependencies\s*:", text, re.M):
                return cls(root=root, path=path)
        return None

    @classmethod
    def reads(cls, path: Path) -> bool:
        """Whether a file that a setting names is one, by its name: any name in YAML except a lock's."""
        return path.suffix.lower() in (".yml", ".yaml") and not path.stem.lower().endswith("conda-lock")

    def covers(self) -> tuple[str, ...]:
        """Return the lists of requirements that the section pip includes."""
        folder, root = self.path.parent.resolve(), self.root.resolve()
        found = ((folder / match[2]).resolve() for line in self._readable().pip if (match := _LIST.fullmatch(line)))
        return tuple(str(path.relative_to(root)) for path in found if path.is_relative_to(root))

    def python_requirements(self) -> tuple[PythonRequirement, ...]:
        """Return the version of Python that the environment has."""
        return spec_of_python(f"{self.shown}: python", self._readable().specs)

    def lists_dependencies(self) -> bool:
        """Whether the file has a dependency. A damaged one may have some."""
        try:
            contents = self._contents()
        except UsageError:
            return True
        return bool(contents.specs or contents.pip)

    def _readable(self) -> _Contents:
        """Return the contents, and none of a damaged file: a project with another source does not need it."""
        try:
            return self._contents()
        except UsageError:
            return _Contents()

    def texts(self) -> dict[str, str]:
        """Return the file, the lists that its section pip includes, and uv's settings."""
        texts = super().texts()
        for line in self._contents().pip:
            if match := _LIST.fullmatch(line):
                add_text(texts, self.path.parent / match[2], self.root)
        return texts

    def requirement_lists(self) -> dict[str, str]:
        """Return the section pip, and the lists that it includes, by their names in messages."""
        contents = "".join(f"{line}\n" for line in self._contents().pip)
        texts = {name: text for name, text in self.texts().items() if name not in ("uv.toml", "[tool.uv]")}
        return {**texts, self.shown: contents}

    def pip_lines(self) -> tuple[str, ...]:
        """Return the requirements of the section pip, without options and lists that it includes."""
        return tuple(line for line in self._contents().pip if not line.lstrip().startswith("-"))

    def environment(self, platform: str, groups: tuple[str, ...]) -> CondaEnvironment:
        """Return conda's part of the environment. Raises UsageError for a mistake in the file."""
        contents = self._contents()
        return CondaEnvironment(channels=contents.channels, specs=contents.specs)

    def channels(self) -> tuple[str, ...]:
        """Return the file's channels."""
        return self._contents().channels

    def variables(self) -> dict[str, str]:
        """Return the file's `variables`."""
        return dict(self._contents().variables)

    def resolve(self, target: ResolutionTarget, preferred: str) -> str:
        """Return what the section pip needs, locked. Raises ToolError with uv's explanation if that is impossible."""
        lines = self._contents().pip
        if not lines:
            return ""
        with TemporaryDirectory(prefix="ocicaliban-") as folder:
            given = Path(folder) / "requirements.txt"
            given.write_text("".join(f"{_absolute(line, self.path.parent)}\n" for line in lines))
            return self.compiled(target, preferred, (given,))

    def _contents(self) -> _Contents:
        return _contents(read_yaml(self.path, self.shown), self.shown)


def _absolute(line: str, folder: Path) -> str:
    """Return a line of the section pip, with the path of an included list absolute."""
    match = _LIST.fullmatch(line)
    return f"{match[1]} {shlex.quote(str(folder / match[2]))}" if match else line


def _contents(raw: dict[str, Any], name: str) -> _Contents:
    """Return the contents of a file called `name`. Raises UsageError for a mistake in it."""
    specs: list[str] = []
    pip: list[str] = []
    for each in _list(raw, "dependencies", name):
        if isinstance(each, str):
            specs.append(each)
        elif isinstance(each, dict) and set(each) == {"pip"}:
            pip += [text_of(line) for line in (each["pip"] if isinstance(each["pip"], list) else [each["pip"] or ""])]
        elif each is not None:
            raise UsageError(
                f"{name}: dependencies: an entry is neither a package nor the section pip",
                'write a package as text ("numpy>=1.26"), and those of PyPI below "- pip:"',
            )
    variables = raw.get("variables") or {}
    if not isinstance(variables, dict):
        raise UsageError(f"{name}: variables: this is not a table", "write NAME: VALUE")
    return _Contents(
        channels=tuple(text_of(each) for each in _list(raw, "channels", name)),
        specs=tuple(specs),
        pip=tuple(line for line in pip if line.strip()),
        variables=tuple((text_of(key), text_of(value)) for key, value in variables.items()),
    )


def _list(raw: dict[str, Any], key: str, name: str) -> list[Any]:
    value = raw.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise UsageError(
            f"{name}: {key}: {text_of(value)!r} is not a list", f'write each of the {key} on a line with "- " before it'
        )
    return value
