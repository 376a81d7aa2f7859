"""pylock.toml (PEP 751)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from ocicaliban.dependencies import locked_packages, pdm_project, poetry_project
from ocicaliban.dependencies.declaration import Declaration, ResolutionTarget, add_text, is_dynamic, manifest
from ocicaliban.dependencies.indexes import is_pypi, without_credentials
from ocicaliban.dependencies.locked_packages import LockedPackage
from ocicaliban.dependencies.locked_requirements import normalized
from ocicaliban.dependencies.python_requirement import PythonRequirement, of_toml_head
from ocicaliban.errors import UsageError, nearest
from ocicaliban.formats.toml import parse_toml, read_toml, table_in
from ocicaliban.model.image import Base
from ocicaliban.model.recipe import Variant

if TYPE_CHECKING:
    from packaging.pylock import Package, Pylock

_AGAIN = "write it again, for example with `uv export --format pylock.toml`"
_COMMANDS = {
    "uv": "uv export --format pylock.toml -o pylock.toml",
    "pdm": "pdm export -f pylock -o pylock.toml",
    "pip": "pip lock -e . -o pylock.toml",
}
_PYPI_HOSTS = ("files.pythonhosted.org", "pypi.org", "pypi.python.org")

_AUTHOR = re.compile(r'^created-by\s*=\s*["\']([^"\']*)["\']', re.M)
_TOOLS = ("uv", "pdm", "poetry", "pipenv", "pixi", "pip")


class PylockToml(Declaration):
    """The versions that any tool has locked in the standard form."""

    FILE: ClassVar[str] = "pylock.toml"
    LOCK: ClassVar[bool] = True

    @classmethod
    def reads(cls, path: Path) -> bool:
        """Whether the file is called pylock.toml or pylock.NAME.toml."""
        return path.name.startswith("pylock.") and path.suffix == ".toml"

    def tool(self) -> str:
        """Return the tool that the lock names as its author."""
        with self.path.open(encoding="utf-8", errors="replace") as file:
            match = _AUTHOR.search(file.read(4096))
        return next((tool for tool in _TOOLS if match and tool in match[1].lower()), "pylock.toml")

    def python_requirements(self) -> tuple[PythonRequirement, ...]:
        """Return the lock's requires-python."""
        return of_toml_head(self.path, self.shown)

    def covers(self) -> tuple[str, ...]:
        """Return pyproject.toml, if it declares what the lock must hold."""
        return ("pyproject.toml",) if self._is_of_project else ()

    def texts(self) -> dict[str, str]:
        """Return the lock, and the pyproject.toml beside it, with which it is compared."""
        texts = super().texts()
        if self._is_of_project:
            add_text(texts, self.path.with_name("pyproject.toml"), self.root)
        return texts

    def lists_dependencies(self) -> bool:
        """Whether the lock holds a package."""
        return "packages" in self.path.read_text(encoding="utf-8-sig", errors="replace")

    def resolved_extras(self, extras: tuple[str, ...], variant: Variant) -> tuple[str, ...]:
        """Return the given extras and the variant's. Raises UsageError for one that the lock does not declare."""
        declared = self._head("extras")
        given = {normalized(extra) for extra in extras}
        if unknown := sorted(given - {*declared}):
            raise UsageError(f"{self.shown} declares no extra '{unknown[0]}'", nearest(unknown[0], declared))
        return tuple(sorted(given | ({variant} & {*declared})))

    def resolved_groups(self, groups: tuple[str, ...]) -> tuple[str, ...]:
        """Return the given groups and the default ones. Raises UsageError for one that the lock does not declare."""
        declared, default = self._head("dependency-groups"), self._head("default-groups")
        given = {normalized(group) for group in groups}
        if unknown := sorted(given - {*declared, *default}):
            raise UsageError(f"{self.shown} declares no group '{unknown[0]}'", nearest(unknown[0], declared))
        return tuple(sorted({*given, *default}))

    def _head(self, key: str) -> tuple[str, ...]:
        """Return a list of names at the head of the lock. Planning asks each time, and the lock may be long."""
        text = self.path.read_text(encoding="utf-8-sig", errors="replace").partition("\n[[packages]]")[0]
        try:
            names = parse_toml(text).get(key)
        except ValueError as exc:
            raise UsageError(f"{self.shown} is not valid TOML: {exc}", _AGAIN) from exc
        return tuple(normalized(str(name)) for name in names) if isinstance(names, list) else ()

    def resolve(self, target: ResolutionTarget, preferred: str) -> str:
        """Return what the lock holds for the target.

        Raises UsageError if it is not valid, or does not fit the target or the pyproject.toml beside it.
        """
        from ocicaliban.dependencies.host_settings import read_host_settings

        host = read_host_settings()
        indexes = (host.index_url, *host.extra_index_urls, *self.indexes().indexes)
        hosts = {urlsplit(index.partition("=")[2] or index).hostname or "" for index in indexes}
        raw = read_toml(self.path, _AGAIN)[1]
        packages = tuple(_applicable(raw, target, hosts))
        self._check_project(raw, packages, target)
        return locked_packages.requirements(packages)

    def _check_project(
        self, raw: Mapping[str, object], packages: Sequence[LockedPackage], target: ResolutionTarget
    ) -> None:
        """Raise UsageError if the lock was made for another state of the pyproject.toml beside it."""
        from ocicaliban.dependencies import agreement

        if not self._is_of_project:
            return
        hint = f"`{_COMMANDS.get(self.tool(), _COMMANDS['uv'])}` writes it again"
        environment = locked_packages.marker_environment(target.base)
        if missing := agreement.unmet(self._project_lines(target.extras, target.groups), packages, environment):
            message = f"{self.shown} is not up to date with pyproject.toml: it does not hold {missing}"
            raise UsageError(message, hint)
        wanted = table_in(manifest(self.path.parent), "project").get("requires-python")
        locked = raw.get("requires-python")
        if isinstance(wanted, str) and isinstance(locked, str) and agreement.allows_more(locked, wanted):
            message = f"{self.shown} is not up to date with pyproject.toml: it is for Python {locked}, not {wanted}"
            raise UsageError(message, hint)

    @property
    def _is_of_project(self) -> bool:
        """Whether it is the lock of the pyproject.toml beside it, which spells its requirements out.

        A lock of another name (pylock.docs.toml) holds what its author has chosen.
        """
        raw = manifest(self.path.parent)
        return self.path.name == self.FILE and (
            poetry_project.is_poetry(raw) or ("project" in raw and not is_dynamic(raw))
        )

    def _project_lines(self, extras: tuple[str, ...], groups: tuple[str, ...]) -> tuple[str, ...]:
        """Return what the project beside the lock requires with these extras and groups."""
        raw = manifest(self.path.parent)
        if poetry_project.is_poetry(raw):
            from ocicaliban.dependencies import poetry  # few locks have such a project

            known = tuple(group for group in groups if group in poetry_project.declared_groups(raw))
            return poetry.own_of(self.path.with_name("pyproject.toml"), known, extras).lines
        optional = pdm_project.extras(raw)
        named = (line for extra in extras for line in optional.get(normalized(extra), ()))
        of_groups = (line for group in groups for line in pdm_project.group_lines(raw, group))
        lines = (*pdm_project.group_lines(raw, pdm_project.DEFAULT), *map(str, named), *of_groups)
        from ocicaliban.dependencies import agreement

        settings = table_in(raw, "tool", "uv")
        changed = ("override-dependencies", "exclude-dependencies")
        return agreement.without(lines, (name for key in changed for name in agreement.named_in(settings.get(key))))


def applicable(raw: Mapping[str, object], target: ResolutionTarget, hosts: Collection[str] = ()) -> str:
    """Return the requirements of a pylock.toml for the target's Python, extras and groups; pure.

    `hosts` are those of the indexes that are asked for every package. Raises UsageError if the lock is not valid.
    """
    return locked_packages.requirements(_applicable(raw, target, hosts))


def _applicable(raw: Mapping[str, object], target: ResolutionTarget, hosts: Collection[str]) -> Iterator[LockedPackage]:
    """Yield the packages of a pylock.toml that apply to the target. Raises UsageError if the lock is not valid."""
    from packaging.pylock import Pylock, PylockValidationError

    try:
        lock = Pylock.from_dict(raw)
    except PylockValidationError as exc:
        raise UsageError(f"pylock.toml is not valid: {exc}", _AGAIN) from exc
    _check_environment(lock, target.base)
    environment: dict[str, Any] = {
        **locked_packages.marker_environment(target.base),
        "extras": frozenset(target.extras),
        "dependency_groups": frozenset(target.groups),
    }
    for package in lock.packages:
        if package.marker is None or package.marker.evaluate(environment, context="lock_file"):
            yield _locked(package, target.base, {*_PYPI_HOSTS, *hosts})


def _check_environment(lock: Pylock, base: Base) -> None:
    """Raise UsageError if a lock is not made for the base image's Python and platform."""
    if base.python and lock.requires_python and not lock.requires_python.contains(base.python):
        raise UsageError(
            f"pylock.toml requires Python {lock.requires_python}, but the base image has {base.python}",
            "choose another base in [layers.base]",
        )
    environment = locked_packages.marker_environment(base)
    if lock.environments and not any(marker.evaluate(dict(environment)) for marker in lock.environments):
        raise UsageError(f"pylock.toml is not made for Python {base.python} on {base.platform}", _AGAIN)


def _locked(package: Package, base: Base, hosts: Collection[str]) -> LockedPackage:
    """Return a package of the lock with its hashes and where it comes from."""
    hashes = tuple(
        f"{name}:{value}"
        for archive in (*(package.wheels or ()), package.sdist, package.archive)
        if archive is not None
        for name, value in archive.hashes.items()
    )
    name, directory, vcs, archive = package.name, package.directory, package.vcs, package.archive
    if directory is not None:
        path = "/".join(filter(None, [directory.path.rstrip("/"), directory.subdirectory]))
        return LockedPackage(name=name, path=path or ".", editable=bool(directory.editable))
    if vcs is not None:
        url = locked_packages.git_url(vcs.url or vcs.path or "", vcs.commit_id, vcs.subdirectory or "")
        return LockedPackage(name=name, url=url if vcs.type == "git" else f"{vcs.type}{url.removeprefix('git')}")
    if archive is not None:
        return LockedPackage(name=name, hashes=hashes, url=archive.url or "", path=archive.path or "")
    index = package.index or ""
    if not index and (url := _foreign_archive(package, base, hosts)):
        return LockedPackage(name=name, version=str(package.version), url=url, hashes=hashes)
    own = "" if not index or is_pypi(index) or urlsplit(index).hostname in hosts else without_credentials(index)
    return LockedPackage(name=name, version=str(package.version), hashes=hashes, index=own)


def _foreign_archive(package: Package, base: Base, hosts: Collection[str]) -> str:
    """Return the URL of the archive to install if no index that is asked has the package's archives, else ""."""
    urls = [wheel.url for wheel in package.wheels or ()] + ([package.sdist.url] if package.sdist else [])
    if any(not url or (urlsplit(url).hostname or "") in hosts for url in urls):
        return ""
    from packaging.tags import compatible_tags, cpython_tags
    from packaging.utils import parse_wheel_filename

    version = tuple(int(part) for part in base.python.split(".")[:2])
    minor = int(base.libc.partition(".")[2]) if base.libc.startswith("2.") else 28
    platforms = [f"manylinux_2_{number}_{base.machine}" for number in range(minor, 4, -1)]
    platforms += [f"{name}_{base.machine}" for name in ("manylinux2014", "manylinux2010", "manylinux1", "linux")]
    known = [*cpython_tags(version, platforms=platforms), *compatible_tags(version, platforms=platforms)]
    ranks = {tag: rank for rank, tag in reversed([*enumerate(known)])}
    fitting = [
        (min(ranks[tag] for tag in tags), wheel.url)
        for wheel in package.wheels or ()
        if (tags := [tag for tag in parse_wheel_filename(wheel.filename)[3] if tag in ranks])
    ]
    found = min(fitting)[1] if fitting else package.sdist.url if package.sdist else ""
    return found or ""
