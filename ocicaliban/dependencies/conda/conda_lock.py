"""conda-lock.yml, the lock of conda-lock for several platforms, and the lists of addresses (@EXPLICIT) for one."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from attrs import evolve

from ocicaliban.dependencies.conda.declaration import (
    CondaDeclaration,
    CondaEnvironment,
    conda_platform,
    python_specifier,
    read_yaml,
    text_of,
)
from ocicaliban.dependencies.conda.environment_yml import EnvironmentYml
from ocicaliban.dependencies.conda.packages import PYTHON, CondaPackage
from ocicaliban.dependencies.declaration import ResolutionTarget, add_text
from ocicaliban.dependencies.locked_packages import LockedPackage, marker_environment
from ocicaliban.dependencies.locked_requirements import normalized
from ocicaliban.dependencies.python_requirement import PythonRequirement, requirement
from ocicaliban.errors import UsageError, nearest
from ocicaliban.formats.toml import read_text
from ocicaliban.model.image import Base

_PYTHON_ENTRY = re.compile(r"^- name: python\n(?:  [^\n]*\n)*?  version: ['\"]?([\d.]+)", re.M)
_SOURCES = re.compile(r"^  sources:\n((?:  - [^\n]+\n)+)", re.M)
_DEFAULT = ("main", "dev")
"""The categories that `conda-lock install` installs."""

_AGAIN = "write it again, for example: conda-lock lock"


class CondaLock(CondaDeclaration):
    """The packages of conda and of PyPI that conda-lock has locked."""

    FILE: ClassVar[str] = "conda-lock.yml"
    NAMES: ClassVar[tuple[str, ...]] = ("conda-lock.yml", "conda-lock.yaml")
    LOCK: ClassVar[bool] = True
    TOOL: ClassVar[str] = "conda-lock"

    @classmethod
    def reads(cls, path: Path) -> bool:
        """Whether a file that a setting names is one: conda-lock.yml, or NAME.conda-lock.yml."""
        return path.name.endswith(cls.NAMES)

    def covers(self) -> tuple[str, ...]:
        """Return the files that the lock was made from."""
        match = _SOURCES.search(self._text())
        names = [line.removeprefix("  - ").strip(" '\"") for line in match[1].splitlines()] if match else []
        return tuple(map(self.beside_it, names))

    def python_requirements(self) -> tuple[PythonRequirement, ...]:
        """Return the version of Python that is locked."""
        match = _PYTHON_ENTRY.search(self._text())
        return requirement(f"{self.shown}: python", python_specifier(match[1]) if match else "")

    def texts(self) -> dict[str, str]:
        """Return the lock, and the files that it was made from, with which it is compared."""
        texts: dict[str, str] = {}
        for name in (self.beside_it(self.path.name), *self.covers()):
            add_text(texts, self.root / name, self.root)
        return texts

    def resolved_groups(self, groups: tuple[str, ...]) -> tuple[str, ...]:
        """Return the given categories, `main` and `dev`. Raises UsageError for one that the lock does not have."""
        known = set(re.findall(r"^  category: ['\"]?([\w-]+)", self._text(), re.M)) if groups else set()
        for name in groups:
            if name not in known:
                raise UsageError(f"{self.shown} has no category '{name}'", nearest(name, sorted(known)))
        return tuple(sorted({*_DEFAULT, *groups}))

    def environment(self, platform: str, groups: tuple[str, ...]) -> CondaEnvironment:
        """Return the locked conda packages. Raises UsageError if the lock has none for the platform, or is damaged."""
        entries = [*self._entries(platform, groups, "conda")]
        depends = {text_of(each["name"]): tuple(map(str, each.get("dependencies") or ())) for each in entries}
        packages = tuple(map(_package, entries))
        for source in self._sources():
            _check_specs(self.shown, source, packages, platform, "run `conda-lock lock`")
        return CondaEnvironment(packages=packages, depends=depends)

    def _sources(self) -> Iterator[EnvironmentYml]:
        """Yield the environment.yml files that the lock was made from, as far as they are there."""
        for path in (self.root / name for name in self.covers()):
            if path.is_file() and EnvironmentYml.reads(path):
                yield EnvironmentYml(root=self.root, path=path)

    def resolve(self, target: ResolutionTarget, preferred: str) -> str:
        """Return the locked packages of PyPI, with their hashes. Raises UsageError if the lock is damaged."""
        platform = conda_platform(target.base)
        entries = [*self._entries(platform, target.groups, "pip")]
        held = [(text_of(each["name"]), text_of(each["version"])) for each in entries]
        held += [(text_of(each["name"]), text_of(each["version"])) for each in self._entries(platform, (), "conda")]
        for source in self._sources():
            _check_pip(self.shown, source, held, target.base, "run `conda-lock lock`")
        return "".join(map(self._requirement, sorted(entries, key=lambda each: normalized(text_of(each["name"])))))

    def _text(self) -> str:
        return self.path.read_text(encoding="utf-8", errors="replace")

    def _entries(self, platform: str, groups: tuple[str, ...], manager: str) -> Iterator[dict[str, Any]]:
        raw = read_yaml(self.path, self.shown)
        packages = raw.get("package")
        if raw.get("version") != 1 or not isinstance(packages, list):
            raise UsageError(f"{self.shown}: this is no lock of version 1 with a list 'package'", _AGAIN)
        for each in packages:
            if not isinstance(each, dict) or not {"name", "version", "url", "platform", "hash"} <= {*each}:
                raise UsageError(f"{self.shown}: an entry of 'package' is not complete", _AGAIN)
        platforms = sorted({text_of(each["platform"]) for each in packages})
        if platform not in platforms:
            raise UsageError(
                f"{self.shown} locks no packages for {platform}, only for {', '.join(platforms) or 'nothing'}",
                f"conda-lock lock --platform {platform}",
            )
        chosen = {*_DEFAULT, *groups}
        for each in packages:
            here = each["platform"] == platform and each.get("manager", "conda") == manager
            if here and each.get("category", "main") in chosen:
                yield each

    def _requirement(self, entry: Mapping[str, Any]) -> str:
        """Return a package of PyPI as a requirement with its hash."""
        name, version, url = (text_of(entry[key]) for key in ("name", "version", "url"))
        sha256 = _hash(entry, "sha256")
        if not sha256:
            raise UsageError(f"{self.shown}: {name} of PyPI has no sha256", _AGAIN)
        return wheel_requirement(name, version, url, sha256)


def _check_specs(
    lock: str, source: EnvironmentYml, packages: tuple[CondaPackage, ...], platform: str, again: str
) -> None:
    """Raise UsageError if an environment.yml asks for a package of conda that the lock does not hold."""
    from ocicaliban.dependencies.conda import agreement

    specs = agreement.for_platform(source.environment(platform, ()).specs, read_text(source.path), platform)
    agreement.check(specs, packages, platform, lock, source.shown, again)


def _check_pip(lock: str, source: EnvironmentYml, held: Iterable[tuple[str, str]], base: Base, again: str) -> None:
    """Raise UsageError if the section pip of an environment.yml asks for a package that the lock does not hold.

    `held` are the names and versions of the locked packages. Packages from elsewhere than an index are not compared.
    """
    from ocicaliban.dependencies import agreement
    from ocicaliban.dependencies.conda import agreement as conda_agreement

    lines = conda_agreement.for_platform(source.pip_lines(), read_text(source.path), conda_platform(base))
    packages = [LockedPackage(name=name, version=version) for name, version in held]
    compared = [line for line in lines if "@" not in line and "://" not in line]
    if missing := agreement.unmet(compared, packages, marker_environment(base)):
        raise UsageError(f"{lock} is not up to date with {source.shown}: it does not hold {missing} of pip", again)


def wheel_requirement(name: str, version: str, url: str, sha256: str) -> str:
    """Return a locked package of PyPI as a requirement; one that lies elsewhere is named by its address."""
    from_pypi = re.match(r"https://(?:files\.pythonhosted\.org|pypi\.org|pypi\.python\.org)/", url)
    head = f"{normalized(name)}=={version}" if from_pypi else f"{normalized(name)} @ {url.split('#')[0]}"
    return f"{head} \\\n    --hash=sha256:{sha256}\n"


def _package(entry: Mapping[str, Any]) -> CondaPackage:
    package = CondaPackage(url=text_of(entry["url"]), sha256=_hash(entry, "sha256"), md5=_hash(entry, "md5"))
    depends = {*map(str, entry.get("dependencies") or ())}
    return evolve(package, module=bool(depends & {"python", "python_abi"}) or package.looks_like_module)


def _hash(entry: Mapping[str, Any], kind: str) -> str:
    hashes = entry["hash"]
    return text_of(hashes.get(kind) or "").lower() if isinstance(hashes, dict) else ""


class ExplicitLock(CondaDeclaration):
    """A list of packages by their addresses, as `conda list --explicit` and `conda-lock -k explicit` write it."""

    FILE: ClassVar[str] = "conda-linux-64.lock"
    NAMES: ClassVar[tuple[str, ...]] = (
        "conda-linux-64.lock",
        "conda-linux-aarch64.lock",
        "spec-file.txt",
        "explicit.txt",
    )
    LOCK: ClassVar[bool] = True
    TOOL: ClassVar[str] = "conda-lock"

    @classmethod
    def find(cls, root: Path) -> Self | None:
        """Return the declaration, or None if no file of these names has a line @EXPLICIT."""
        paths = (root / name for name in cls.names())
        return next((cls(root=root, path=path) for path in paths if path.is_file() and cls.reads(path)), None)

    @classmethod
    def reads(cls, path: Path) -> bool:
        """Whether a file that a setting names is one, by its line @EXPLICIT."""
        if path.suffix not in (".txt", ".lock") or not path.is_file():
            return False
        return re.search(r"^@EXPLICIT\s*$", path.read_text(encoding="utf-8", errors="replace"), re.M) is not None

    def python_requirements(self) -> tuple[PythonRequirement, ...]:
        """Return the version of Python in the list."""
        version = next((each.version for each in self._packages() if each.name == PYTHON), "")
        return requirement(f"{self.shown}: python", python_specifier(version))

    def covers(self) -> tuple[str, ...]:
        """Return the environment.yml beside the list, which the list must fit."""
        source = self._source()
        return (source.shown,) if source else ()

    def _source(self) -> EnvironmentYml | None:
        found = EnvironmentYml.find(self.path.parent)
        return EnvironmentYml(root=self.root, path=found.path) if found else None

    def texts(self) -> dict[str, str]:
        """Return the list, and the environment.yml beside it, with which it is compared."""
        texts = {self.shown: self._text()}
        if source := self._source():
            add_text(texts, source.path, self.root)
        return texts

    def environment(self, platform: str, groups: tuple[str, ...]) -> CondaEnvironment:
        """Return the listed packages. Raises UsageError if they are for another platform."""
        found = tuple(self._packages())
        wrong = next((each for each in found if each.subdir not in (platform, "noarch")), None)
        if wrong:
            raise UsageError(f"{self.shown}: {wrong.url} is not for {platform}", f"make a list for {platform}")
        if source := self._source():
            _check_specs(self.shown, source, found, platform, self._again(source))
        return CondaEnvironment(packages=found, depends={PYTHON: _NEEDED_BY_PYTHON})

    def resolve(self, target: ResolutionTarget, preferred: str) -> str:
        """Return the packages of PyPI, which conda-lock writes as comments."""
        lines = re.findall(r"^# pip (\S+) @ ([^#\s]+)#sha256=([0-9a-f]{64})\s*$", self._text(), re.M)
        if source := self._source():
            held = [(name, _wheel_version(url)) for name, url, _ in lines]
            held += [(each.name, each.version) for each in self._packages()]
            _check_pip(self.shown, source, held, target.base, self._again(source))
        return "".join(wheel_requirement(name, _wheel_version(url), url, sha256) for name, url, sha256 in sorted(lines))

    def _again(self, source: EnvironmentYml) -> str:
        return (
            f"make the list again, for example: conda-lock -k explicit; or, to use {source.shown}, in ocicaliban.toml:"
            f' [layers.python] requirements = "{source.shown}"'
        )

    def _text(self) -> str:
        return self.path.read_text(encoding="utf-8", errors="surrogateescape")

    def _packages(self) -> Iterable[CondaPackage]:
        for line in self._text().splitlines():
            if "://" not in line or line.startswith(("#", "@")):
                continue
            url, _, value = line.strip().partition("#")
            value = value.lower()
            sha256 = value.removeprefix("sha256:")
            package = CondaPackage(
                url=url, sha256=sha256 if len(sha256) == 64 else "", md5=value if len(value) == 32 else ""
            )
            yield evolve(package, module=package.looks_like_module)


_NEEDED_BY_PYTHON = (
    "_libgcc_mutex", "_openmp_mutex", "bzip2", "ca-certificates", "icu", "ld_impl_linux-64",
    "ld_impl_linux-aarch64", "libexpat", "libffi", "libgcc", "libgcc-ng", "libgomp", "liblzma", "libmpdec",
    "libnsl", "libsqlite", "libstdcxx", "libstdcxx-ng", "libuuid", "libxcrypt", "libzlib", "ncurses", "openssl",
    "python_abi", "readline", "sqlite", "tk", "tzdata", "xz", "zlib", "zstd",
)  # fmt: skip
"""What Python needs to start, by name: a list of addresses does not tell what needs what."""


def _wheel_version(url: str) -> str:
    """Return the version in the name of a wheel or source archive."""
    match = re.match(r"[^-]+-([^-]+?)(?:-|\.tar|\.zip)", posixpath.basename(url))
    return match[1] if match else ""
