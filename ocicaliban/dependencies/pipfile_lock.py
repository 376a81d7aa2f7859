"""Pipfile.lock, with the Pipfile beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from ocicaliban.dependencies import locked_packages, pipenv_project
from ocicaliban.dependencies.declaration import Declaration, ResolutionTarget, add_text
from ocicaliban.dependencies.indexes import Indexes, without_credentials
from ocicaliban.dependencies.locked_packages import LockedPackage
from ocicaliban.dependencies.locked_requirements import normalized
from ocicaliban.dependencies.own_requirements import requirement_line
from ocicaliban.dependencies.python_requirement import PythonRequirement
from ocicaliban.errors import UsageError
from ocicaliban.formats.jsonc import parse_json
from ocicaliban.formats.toml import read_text, table_in
from ocicaliban.model.recipe import Variant

_LOCK = "run `pipenv lock`"
_DEFAULT = "default"


class PipfileLock(Declaration):
    """The versions that Pipenv has locked."""

    FILE: ClassVar[str] = "Pipfile.lock"
    LOCK: ClassVar[bool] = True
    TOOL: ClassVar[str] = "pipenv"

    def indexes(self) -> Indexes:
        """Return the sources. Each is asked only for the packages that are locked from it."""
        return pipenv_project.indexes(table_in(self._read(), "_meta").get("sources"))

    def covers(self) -> tuple[str, ...]:
        """Return the Pipfile, which the lock was made from."""
        return ("Pipfile",)

    def texts(self) -> dict[str, str]:
        """Return the lock and the Pipfile beside it."""
        texts: dict[str, str] = {}
        add_text(texts, self.path, self.root)
        add_text(texts, self._pipfile, self.root)
        return texts

    def resolved_extras(self, extras: tuple[str, ...], variant: Variant) -> tuple[str, ...]:
        """Raise UsageError if an extra is asked for, since a Pipfile declares none."""
        return pipenv_project.no_extras(self.shown, extras)

    def resolved_groups(self, groups: tuple[str, ...]) -> tuple[str, ...]:
        """Return the given groups. Raises UsageError for one that the lock does not hold."""
        held = [name for name in self._read() if name not in ("_meta", _DEFAULT)]
        return pipenv_project.checked_groups(self.shown, groups, held)

    def python_requirements(self) -> tuple[PythonRequirement, ...]:
        """Return the Python of the lock's _meta."""
        return pipenv_project.python_requirements(table_in(self._read(), "_meta"), f"{self.shown}: requires")

    def resolve(self, target: ResolutionTarget, preferred: str) -> str:
        """Return what the lock holds for the target.

        The lock may be made for another state of the Pipfile, as long as its packages fit. Raises UsageError if they do
        not, or if it is damaged.
        """
        lock = self._read()
        try:
            if self._pipfile.is_file() and not self._is_current():
                self._check_direct(lock, target.groups)
            return locked_packages.requirements(_packages(lock, target, self._elsewhere(target)))
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise locked_packages.damaged(self.shown, exc, _LOCK) from exc

    def is_out_of_date(self) -> bool:
        """Whether the Pipfile has changed since."""
        return self._pipfile.is_file() and bool(self._digest) and not self._is_current()

    @property
    def _digest(self) -> object:
        return table_in(self._read(), "_meta", "hash").get("sha256")

    def _is_current(self) -> bool:
        return self._digest in pipenv_project.content_hashes(pipenv_project.read_pipfile(self._pipfile))

    def lists_dependencies(self) -> bool:
        """Whether the lock holds a package."""
        raw = self._read()
        return _DEFAULT not in raw or any(table_in(raw, name) for name in raw if name != "_meta")

    def _check_direct(self, lock: Mapping[str, Any], groups: tuple[str, ...]) -> None:
        """Raise UsageError if a package in the Pipfile is not in the lock, in a form and version that it asks for."""
        pipfile = pipenv_project.read_pipfile(self._pipfile)
        for section, ours in [(_DEFAULT, "packages"), *((name, pipenv_project.section(name)) for name in groups)]:
            held = {normalized(name): info for name, info in table_in(lock, section).items()}
            for name, wanted in table_in(pipfile, ours).items():
                line = requirement_line(name, wanted, self.root, f"Pipfile: [{ours}]")
                table = wanted if isinstance(wanted, dict) else {}
                if normalized(name) not in held or not _is_held(line, table, held[normalized(name)]):
                    asked = f"{line} from {table['index']}" if "index" in table else line
                    raise UsageError(
                        f"{self.shown} is not up to date with the Pipfile: it does not hold {asked}".strip(), _LOCK
                    )

    def _elsewhere(self, target: ResolutionTarget) -> frozenset[str]:
        """Return the packages that the Pipfile wants in other environments alone, such as on Windows."""
        from packaging.requirements import Requirement

        if not self._pipfile.is_file():
            return frozenset()
        pipfile, environment = pipenv_project.read_pipfile(self._pipfile), _environment(target)
        applies: dict[str, bool] = {}
        for section in ("packages", *map(pipenv_project.section, target.groups)):
            for name, wanted in table_in(pipfile, section).items():
                line = requirement_line(name, wanted, self.root, f"Pipfile: [{section}]")
                marker = Requirement(line).marker
                key = normalized(name)
                applies[key] = applies.get(key, False) or marker is None or marker.evaluate(environment)
        return frozenset(name for name, is_here in applies.items() if not is_here)

    @property
    def _pipfile(self) -> Path:
        return self.path.with_name("Pipfile")

    def _read(self) -> dict[str, Any]:
        try:
            raw = parse_json(read_text(self.path))
        except ValueError as exc:
            line = getattr(exc, "lineno", 0)
            place = f"{self.shown}:{line}" if line else self.shown
            raise UsageError(f"{place}: this is not JSON, so the lock is damaged or not complete", _LOCK) from exc
        if not isinstance(raw, dict):
            raise UsageError(f"{self.shown} is damaged: it holds no table", _LOCK)
        for section, packages in raw.items():
            if not isinstance(packages, dict):
                raise UsageError(f"{self.shown} is damaged: '{section}' is not a table", _LOCK)
            for name, info in packages.items() if section != "_meta" else ():
                if not isinstance(info, dict):
                    raise UsageError(f"{self.shown} is damaged: '{name}' in '{section}' is not a table", _LOCK)
        return raw


def _is_held(line: str, wanted: Mapping[str, Any], info: Mapping[str, Any]) -> bool:
    """Whether a package of the lock is what an entry of the Pipfile asks for; `line` is the entry as a requirement."""
    from packaging.requirements import Requirement

    from ocicaliban.dependencies import agreement

    if "index" in wanted and info.get("index", wanted["index"]) != wanted["index"]:
        return False
    if not {*map(str, wanted.get("extras", ()))} <= {*map(str, info.get("extras", ()))}:
        return False
    asked = Requirement(line)
    if not asked.url:
        version = info.get("version", "").removeprefix("==")
        elsewhere = bool({"git", "path", "file"} & {*info})
        return not elsewhere and (version in ("", "*") or asked.specifier.contains(version, prereleases=True))
    if asked.url.startswith("file:"):
        return bool(info.get("path") or info.get("file", "").startswith(("file:", ".", "/")))
    if not {"git", "path", "file"} & {*info}:
        return False
    return not agreement.unmet([line.partition(" ;")[0]], [_locked(asked.name, info, {})], {})


def _environment(target: ResolutionTarget) -> dict[str, str]:
    return dict(locked_packages.marker_environment(target.base))


def _packages(lock: Mapping[str, Any], target: ResolutionTarget, elsewhere: frozenset[str]) -> Iterator[LockedPackage]:
    """Yield what `pipenv sync` would install in the target.

    Pipenv loses the marker of some packages that the machine on which it locks does not need, and gives them no
    version. They are left out if the Pipfile wants them `elsewhere` alone.
    """
    from packaging.markers import Marker

    environment = _environment(target)
    indexes = pipenv_project.named(table_in(lock, "_meta").get("sources"))
    chosen: dict[str, LockedPackage] = {}
    for section in (_DEFAULT, *target.groups):
        for name, info in table_in(lock, section).items():
            if normalized(name) in elsewhere and info.get("version") == "*":
                continue
            if "markers" not in info or Marker(info["markers"]).evaluate(environment):
                chosen.setdefault(normalized(name), _locked(name, info, indexes))
    yield from chosen.values()


def _locked(name: str, info: Mapping[str, Any], indexes: Mapping[str, str]) -> LockedPackage:
    """Return a package of the lock with its hashes and where it comes from."""
    key = normalized(name)
    hashes = tuple(info.get("hashes", ()))
    if "git" in info:
        return LockedPackage(
            name=key, url=locked_packages.git_url(info["git"], info["ref"], info.get("subdirectory", ""))
        )
    place = info.get("path") or info.get("file") or ""
    if "://" in place and not place.startswith("file://"):
        return LockedPackage(name=key, url=place, hashes=hashes)
    if place:
        path = place.removeprefix("file://")
        return LockedPackage(name=key, path=path, editable=bool(info.get("editable")), hashes=hashes)
    version = info.get("version", "")
    if not version.startswith("=="):
        raise UsageError(f"Pipfile.lock has no version of {name} for the image's Python and platform", _LOCK)
    # A package that names no index comes from the first one.
    index = indexes.get(info.get("index", ""), next(iter(indexes.values()), ""))
    return LockedPackage(name=key, version=version.lstrip("="), hashes=hashes, index=without_credentials(index))
