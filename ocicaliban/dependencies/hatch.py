"""The default environment of Hatch, in pyproject.toml or hatch.toml."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

from ocicaliban.dependencies import dependency_groups
from ocicaliban.dependencies.declaration import ResolutionTarget, add_text, manifest
from ocicaliban.dependencies.pyproject import PyprojectToml, declared_extras
from ocicaliban.dependencies.python_requirement import PythonRequirement, of_version, requirement
from ocicaliban.formats.toml import read_toml, table_in
from ocicaliban.model.recipe import Variant

_DEFAULT = "default"
_LISTS = ("dependencies", "extra-dependencies")


class HatchEnvironment(PyprojectToml):
    """What `hatch run` installs: the dependencies of the default environment, and those of the project itself."""

    FILE: ClassVar[str] = "pyproject.toml"
    NAMES: ClassVar[tuple[str, ...]] = ("pyproject.toml", "hatch.toml")
    TOOL: ClassVar[str] = "hatch"
    PROJECT: ClassVar[bool] = False

    @classmethod
    def find(cls, root: Path) -> Self | None:
        """Return the declaration, or None if the default environment of Hatch declares nothing."""
        for name in cls.NAMES:
            declaration = cls(root=root, path=root / name)
            if declaration.path.is_file() and (declaration._packages() or declaration._features()):
                return declaration
        return None

    @property
    def shown(self) -> str:
        """The table and its file, and [project] if the project is installed too."""
        if self.path.name != self.FILE:
            own = f"[envs.default] of {self.path.name}"
            return f"{self.FILE} and {own}" if self._with_project() else own
        own = f"[tool.hatch.envs.default] of {self.path.name}"
        return f"[project] and {own}" if self._with_project() else own

    def lists_dependencies(self) -> bool:
        """Return True: `find` has looked for them."""
        return True

    def covers(self) -> tuple[str, ...]:
        """Return the project's files, whose dependencies are installed too."""
        return ("pyproject.toml", "hatch.toml", "setup.py", "setup.cfg") if self._with_project() else ()

    def unread_parts(self) -> tuple[str, ...]:
        """Return the other environments that declare dependencies, and a matrix of the default one."""
        environments = self._environments()
        table = "envs" if self.path.name == "hatch.toml" else "tool.hatch.envs"
        others = [
            name
            for name, each in environments.items()
            if name != _DEFAULT and isinstance(each, dict) and any(each.get(key) for key in _LISTS)
        ]
        parts = [f"[{table}.{name}]" for name in others]
        if environments[_DEFAULT].get("matrix"):
            parts.append(f"the matrix of [{table}.{_DEFAULT}]")
        return tuple(parts)

    def python_requirements(self) -> tuple[PythonRequirement, ...]:
        """Return the python of the environment, and requires-python."""
        python = of_version(str(self._environments()[_DEFAULT].get("python", "")))
        own = requirement(f"{self.path.name}: tool.hatch.envs.default.python", python, pinned=True)
        return (*own, *self._project().python_requirements())

    def texts(self) -> dict[str, str]:
        """Return the project's files, and hatch.toml."""
        texts = self._project().texts()
        add_text(texts, self.path, self.root)
        return texts

    def resolved_extras(self, extras: tuple[str, ...], variant: Variant) -> tuple[str, ...]:
        """Return the given extras, the variant's, and the features of the environment."""
        wanted = tuple(sorted({*extras, *self._features()}))
        return declared_extras(self._project().path, wanted, variant) if self._with_project() else extras

    def resolved_groups(self, groups: tuple[str, ...]) -> tuple[str, ...]:
        """Return the given groups: Hatch installs none by default."""
        return dependency_groups.checked(groups, manifest(self.root), self.shown)

    def resolve(self, target: ResolutionTarget, preferred: str) -> str:
        """Return the locked requirements of the environment and of the project."""
        with TemporaryDirectory(prefix="ocicaliban-") as folder:
            listed = Path(folder) / "requirements.txt"
            listed.write_text("".join(f"{package}\n" for package in self._packages()))
            project = self._project().compiled_files() if self._with_project() else ()
            return self.compiled(target, preferred, (*project, listed))

    @property
    def groups_file(self) -> Path:
        """The project's pyproject.toml."""
        return self._project().path

    def _project(self) -> PyprojectToml:
        return PyprojectToml(root=self.root, path=self.path.with_name("pyproject.toml"))

    def _with_project(self) -> bool:
        environment = self._environments()[_DEFAULT]
        left_out = environment.get("detached") is True or environment.get("skip-install") is True
        return not left_out and bool(table_in(manifest(self.path.parent), "project"))

    def _packages(self) -> tuple[str, ...]:
        environment = self._environments()[_DEFAULT]
        lists = (environment.get(key) for key in _LISTS)
        root = str(self.path.parent)
        return tuple(
            str(each).replace("{root:uri}", f"file://{root}").replace("{root}", root)
            for listed in lists
            if isinstance(listed, list)
            for each in listed
        )

    def _features(self) -> tuple[str, ...]:
        features = self._environments()[_DEFAULT].get("features")
        return tuple(map(str, features)) if isinstance(features, list) else ()

    def _environments(self) -> dict[str, Any]:
        """Return the table of the environments, in which there is a table `default`."""
        if not self.path.is_file():
            return {_DEFAULT: {}}
        raw = read_toml(self.path)[1]
        keys = ("envs",) if self.path.name == "hatch.toml" else ("tool", "hatch", "envs")
        return {**table_in(raw, *keys), _DEFAULT: table_in(raw, *keys, _DEFAULT)}
