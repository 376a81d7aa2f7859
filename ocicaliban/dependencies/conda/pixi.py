"""pixi.toml, or [tool.pixi] in pyproject.toml, with pixi.lock or without."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

from ocicaliban.dependencies import locked_packages
from ocicaliban.dependencies.conda.conda_lock import wheel_requirement
from ocicaliban.dependencies.conda.declaration import (
    CondaDeclaration,
    CondaEnvironment,
    conda_platform,
    python_specifier,
)
from ocicaliban.dependencies.conda.packages import CondaPackage
from ocicaliban.dependencies.declaration import ResolutionTarget, add_text
from ocicaliban.dependencies.locked_packages import LockedPackage
from ocicaliban.dependencies.python_requirement import PythonRequirement, requirement
from ocicaliban.errors import UsageError
from ocicaliban.formats.toml import read_toml, table_in

MANIFEST, PYPROJECT, LOCK = "pixi.toml", "pyproject.toml", "pixi.lock"
_DEFAULT = "default"


def find_manifest(root: Path) -> Path | None:
    """Return the file in a folder that declares a workspace of pixi, or None."""
    if (root / MANIFEST).is_file():
        return root / MANIFEST
    path = root / PYPROJECT
    if path.is_file() and table_in(read_toml(path)[1], "tool", "pixi"):
        return path
    return None


class _Pixi(CondaDeclaration):
    """What a workspace of pixi declares, locked or not."""

    TOOL: ClassVar[str] = "pixi"

    @property
    def manifest_path(self) -> Path:
        """The file that declares the workspace."""
        return find_manifest(self.path.parent) or self.path

    def contents(self) -> Mapping[str, Any]:
        """Return what the workspace declares."""
        path = self.manifest_path
        if path.name == LOCK:
            return {}
        raw = read_toml(path)[1]
        return table_in(raw, "tool", "pixi") if path.name == PYPROJECT else raw

    def texts(self) -> dict[str, str]:
        """Return the manifest, and the lock if there is one."""
        texts = super().texts()
        for name in (MANIFEST, LOCK, PYPROJECT):
            if name != PYPROJECT or self.manifest_path.name == PYPROJECT:
                add_text(texts, self.path.parent / name, self.root)
        return texts

    def python_requirements(self) -> tuple[PythonRequirement, ...]:
        """Return the version of Python that the workspace asks for. A damaged manifest is told where it is needed."""
        try:
            raw = self.contents()
        except UsageError:
            return ()
        tables = (table_in(raw, "dependencies"), table_in(raw, "feature", _DEFAULT, "dependencies"))
        spec = next((each["python"] for each in tables if "python" in each), "")
        version = spec.get("version", "") if isinstance(spec, dict) else spec
        return requirement(f"{self.shown}: python", python_specifier(str(version)))

    def variables(self) -> dict[str, str]:
        """Return the variables of [activation.env]."""
        return {str(name): str(value) for name, value in table_in(self.contents(), "activation", "env").items()}

    def channels(self) -> tuple[str, ...]:
        """Return the workspace's channels."""
        return tuple(channel_names(self.contents()))

    def unread_parts(self) -> tuple[str, ...]:
        """Return the tasks: a command starts a module or a program. A lock leaves them to its manifest."""
        try:
            tasks = self.path == self.manifest_path and table_in(self.contents(), "tasks")
        except UsageError:
            return ()
        shown = f"[tool.pixi.tasks] of {PYPROJECT}" if self.path.name == PYPROJECT else f"[tasks] of {MANIFEST}"
        return (shown,) if tasks else ()

    def resolved_groups(self, groups: tuple[str, ...]) -> tuple[str, ...]:
        """Return the given environments: one at most, as pixi activates one. Without any it is `default`."""
        if len(groups) > 1:
            raise UsageError(f"{self.shown}: only one environment of pixi can be installed", "give one --with-group")
        return groups


class PixiLock(_Pixi):
    """The packages that pixi has locked."""

    FILE: ClassVar[str] = LOCK
    LOCK: ClassVar[bool] = True

    def covers(self) -> tuple[str, ...]:
        """Return the manifest that the lock was made from."""
        names = (MANIFEST, PYPROJECT) if self.manifest_path.name == PYPROJECT else (MANIFEST,)
        return tuple(map(self.beside_it, names))

    def environment(self, platform: str, groups: tuple[str, ...]) -> CondaEnvironment:
        """Return the locked conda packages. Raises OcicalibanError if the lock has none for the platform."""
        from ocicaliban.dependencies.conda.solve import described_package  # most plans resolve nothing

        said = self._read(platform, groups)["packages"]
        depends = {each["name"]: tuple(each["depends"]) for each in said}
        packages = tuple(map(described_package, said))
        self._check_manifest(packages, platform, groups)
        return CondaEnvironment(packages=packages, depends=depends)

    def _check_wheels(self, said: Mapping[str, Any], target: ResolutionTarget) -> None:
        """Raise UsageError if the manifest asks for a package of PyPI that the lock does not hold."""
        from ocicaliban.dependencies import agreement
        from ocicaliban.dependencies.conda.solve import described_package

        path = self.manifest_path
        if path == self.path:
            return
        way = PixiPyproject if path.name == PYPROJECT else PixiManifest
        manifest = way(root=self.root, path=path)
        lines = manifest.pypi_lines(conda_platform(target.base), target.groups)
        overrides = manifest.overrides(conda_platform(target.base), target.groups)
        # One of conda's packages may be the one that is asked for.
        held = [
            LockedPackage(name=each.name, version=each.version) for each in map(described_package, said["packages"])
        ]
        for wheel in said["wheels"]:
            place = "" if "://" in wheel["location"] else wheel["location"]
            held.append(LockedPackage(name=wheel["name"], version="" if place else wheel["version"], path=place))
        named = {*agreement.named_in(lines)}
        lines = [*agreement.without(lines, agreement.named_in(overrides))]
        lines += [line for line in overrides if named & {*agreement.named_in([line])}]
        direct = [line for line in lines if " @ " not in line]
        if missing := agreement.unmet(direct, held, locked_packages.marker_environment(target.base)):
            raise UsageError(
                f"{self.shown} is not up to date with {path.name}: it does not hold {missing}", "run `pixi lock`"
            )

    def _check_manifest(self, packages: tuple[CondaPackage, ...], platform: str, groups: tuple[str, ...]) -> None:
        """Raise UsageError if the manifest asks for a package that the lock does not hold."""
        from ocicaliban.dependencies.conda import agreement

        path = self.manifest_path
        if path != self.path:
            way = PixiPyproject if path.name == PYPROJECT else PixiManifest
            specs = way(root=self.root, path=path).environment(platform, groups).specs
            agreement.check(specs, packages, platform, self.shown, path.name, "run `pixi lock`")

    def resolve(self, target: ResolutionTarget, preferred: str) -> str:
        """Return the locked packages of PyPI. Raises UsageError for one without a hash."""
        lines = []
        said = self._read(conda_platform(target.base), target.groups)
        self._check_wheels(said, target)
        for wheel in sorted(said["wheels"], key=lambda each: each["name"]):
            if wheel["sha256"]:
                lines.append(wheel_requirement(wheel["name"], wheel["version"], wheel["location"], wheel["sha256"]))
            elif "://" in wheel["location"]:
                raise UsageError(f"{self.shown}: {wheel['name']} has no sha256", "run `pixi lock`")
            else:
                lines.append(f"{wheel['name']} @ {_folder(self.path.parent, wheel['location'])}\n")
        return "".join(lines)

    def _read(self, platform: str, groups: tuple[str, ...]) -> dict[str, Any]:
        from ocicaliban.dependencies.conda import calls  # most plans resolve nothing

        environment = next(iter(groups), _DEFAULT)
        return calls.call("pixi", self.shown, platform, lock=str(self.path), environment=environment)


class PixiManifest(_Pixi):
    """The packages that a workspace of pixi asks for, without a lock."""

    FILE: ClassVar[str] = MANIFEST

    def environment(self, platform: str, groups: tuple[str, ...]) -> CondaEnvironment:
        """Return the conda packages that an environment's features ask for."""
        raw = self.contents()
        specs = [
            spec
            for table in self._tables(raw, platform, groups)
            for name, value in table_in(table, "dependencies").items()
            for spec in [_conda_spec(str(name), value, self.shown)]
        ]
        wanted = read_toml(self.path)[1] if self.path.name == PYPROJECT else {}
        if python := table_in(wanted, "project").get("requires-python"):
            specs.append(f"python {python}")
        cuda = table_in(raw, "system-requirements").get("cuda", "")
        return CondaEnvironment(channels=self.channels(), specs=tuple(specs), cuda=str(cuda))

    def resolve(self, target: ResolutionTarget, preferred: str) -> str:
        """Return what the packages of PyPI need, locked. Raises ToolError with uv's explanation."""
        lines = self.pypi_lines(conda_platform(target.base), target.groups)
        if not lines:
            return ""
        from attrs import evolve

        with TemporaryDirectory(prefix="ocicaliban-") as folder:
            given = Path(folder) / "requirements.txt"
            given.write_text("".join(f"{line}\n" for line in (*self.requirement_lists().values(), *lines)))
            overrides = self.overrides(conda_platform(target.base), target.groups)
            if overrides:
                Path(folder, "uv.toml").write_text(f"override-dependencies = {json.dumps(overrides)}\n")
            # The groups are environments of pixi, which uv does not know.
            plain = evolve(target, groups=())
            return self.compiled(plain, preferred, (given,), cwd=Path(folder) if overrides else None)

    def overrides(self, platform: str, groups: tuple[str, ...]) -> list[str]:
        """Return the versions of PyPI's packages that replace all others, as requirements."""
        return [
            _pypi_requirement(str(name), value, self.path.parent, self.shown)
            for table in self._tables(self.contents(), platform, groups)
            for name, value in table_in(table, "pypi-options", "dependency-overrides").items()
        ]

    def pypi_lines(self, platform: str, groups: tuple[str, ...]) -> list[str]:
        """Return the packages of PyPI that an environment's features ask for, as requirements."""
        lines = [
            _pypi_requirement(str(name), value, self.path.parent, self.shown)
            for table in self._tables(self.contents(), platform, groups)
            for name, value in table_in(table, "pypi-dependencies").items()
        ]
        if self.path.name == PYPROJECT:
            declared = table_in(read_toml(self.path)[1], "project").get("dependencies")
            lines += map(str, declared if isinstance(declared, list) else [])
        return lines

    def requirement_lists(self) -> dict[str, str]:
        """Return the indexes of [pypi-options], as pip's options."""
        options = table_in(self.contents(), "pypi-options")
        lines = [f"--index-url {shlex.quote(str(options['index-url']))}"] if "index-url" in options else []
        more = options.get("extra-index-urls")
        lines += [f"--extra-index-url {shlex.quote(str(each))}" for each in more] if isinstance(more, list) else []
        for key, option in (("no-build", "--only-binary"), ("no-binary", "--no-binary")):
            value = options.get(key)
            names = [":all:"] if value is True else value if isinstance(value, list) else []
            lines += [f"{option} {shlex.quote(str(name))}" for name in names]
        return {self.path.name: "\n".join(lines)} if lines else {}

    def _tables(self, raw: Mapping[str, Any], platform: str, groups: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
        """Yield the tables of an environment's features, with those for the platform."""
        name = next(iter(groups), _DEFAULT)
        environments = table_in(raw, "environments")
        if name != _DEFAULT and name not in environments:
            raise UsageError(f"{self.shown} declares no environment '{name}'", f"it has: {', '.join(environments)}")
        chosen = environments.get(name, [])
        features = chosen.get("features", []) if isinstance(chosen, dict) else chosen
        alone = isinstance(chosen, dict) and chosen.get("no-default-feature") is True
        tables = [] if alone else [raw]
        tables += [table_in(raw, "feature", str(each)) for each in features if isinstance(features, list)]
        for table in tables:
            yield table
            for target in ("unix", "linux", platform):
                yield table_in(table, "target", target)


class PixiPyproject(PixiManifest):
    """The same in [tool.pixi] of a pyproject.toml: its [project] is a part of what pixi installs."""

    FILE: ClassVar[str] = PYPROJECT
    TABLE: ClassVar[str] = "tool.pixi"

    @classmethod
    def find(cls, root: Path) -> Self | None:
        """Return the declaration, or None if the folder has no workspace of pixi, or one in a pixi.toml."""
        path = find_manifest(root)
        return cls(root=root, path=path) if path and path.name == PYPROJECT else None

    @classmethod
    def reads(cls, path: Path) -> bool:
        """No file that a setting names: a pyproject.toml may have other tables."""
        return False


def channel_names(raw: Mapping[str, Any]) -> Iterator[str]:
    """Yield the channels of a workspace, by name or address."""
    for table in (table_in(raw, "workspace"), table_in(raw, "project")):
        given = table.get("channels", [])
        for each in given if isinstance(given, list) else []:
            yield str(each.get("channel", "")) if isinstance(each, dict) else str(each)


def _conda_spec(name: str, value: object, file: str) -> str:
    """Return a requirement of conda in one text. Raises UsageError for a package to be built from source."""
    if isinstance(value, str):
        return f"{name} {value}".strip()
    if not isinstance(value, dict) or {"path", "git", "url"} & {*value}:
        raise UsageError(f"{file}: dependencies.{name}: only packages of channels can be installed", "name a version")
    channel = f"{value['channel']}::" if "channel" in value else ""
    parts = [f"{key}='{value[key]}'" for key in ("version", "build", "subdir") if key in value]
    return f"{channel}{name}" + (f"[{', '.join(parts)}]" if parts else "")


def _pypi_requirement(name: str, value: object, folder: Path, file: str) -> str:
    """Return a requirement of PyPI as pip writes it. Raises UsageError for a form that pixi does not know either."""
    if isinstance(value, str):
        return name + _pypi_version(value)
    if not isinstance(value, dict):
        raise UsageError(f"{file}: pypi-dependencies.{name}: this is neither a version nor a table", "correct it")
    extras = value.get("extras")
    head = name + (f"[{','.join(map(str, extras))}]" if isinstance(extras, list) and extras else "")
    marker = f" ; {value['env-markers']}" if "env-markers" in value else ""
    if "path" in value:
        place = _folder(folder, str(value["path"]))
        return f"-e {place}" if value.get("editable") else f"{head} @ {place}{marker}"
    if "git" in value:
        at = next((f"@{value[key]}" for key in ("rev", "tag", "branch") if key in value), "")
        below = f"#subdirectory={value['subdirectory']}" if "subdirectory" in value else ""
        return f"{head} @ git+{str(value['git']).removeprefix('git+')}{at}{below}{marker}"
    if "url" in value:
        return f"{head} @ {value['url']}{marker}"
    return head + _pypi_version(str(value.get("version", "*"))) + marker


def _pypi_version(version: str) -> str:
    text = version.strip()
    return "" if text in ("*", "") else text if re.match(r"[<>=!~]", text) else f"=={text}"


def _folder(root: Path, path: str) -> str:
    return (root / path).resolve().as_uri()
