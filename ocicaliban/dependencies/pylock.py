"""pylock.toml (PEP 751)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ocicaliban.dependencies.declaration import Declaration, ResolutionTarget
from ocicaliban.dependencies.python_requirement import PythonRequirement, of_toml_head
from ocicaliban.errors import UsageError
from ocicaliban.formats.toml import read_toml
from ocicaliban.model.image import Base

if TYPE_CHECKING:
    from packaging.pylock import Package


class PylockToml(Declaration):
    """The versions that any tool has locked in the standard form."""

    FILE: ClassVar[str] = "pylock.toml"
    LOCK: ClassVar[bool] = True

    @classmethod
    def reads(cls, path: Path) -> bool:
        """Whether the file is called pylock.toml or pylock.NAME.toml."""
        return path.name.startswith("pylock.") and path.suffix == ".toml"

    def python_requirements(self) -> tuple[PythonRequirement, ...]:
        """Return the lock's requires-python."""
        return of_toml_head(self.path, self.shown)

    def resolve(self, target: ResolutionTarget, preferred: str) -> str:
        """Return what the lock holds for the target. Raises UsageError if it is not valid or does not fit."""
        return applicable(read_toml(self.path)[1], target.base, target.extras)


def applicable(raw: Mapping[str, object], base: Base, extras: tuple[str, ...]) -> str:
    """Return the requirements of a pylock.toml that apply to the base's Python and these extras; pure.

    Raises UsageError if it is not valid, or does not declare an extra.
    """
    from packaging.pylock import Pylock, PylockValidationError

    try:
        lock = Pylock.from_dict(raw)
    except PylockValidationError as exc:
        raise UsageError(f"pylock.toml is not valid: {exc}", "write it again, for example with `uv export`") from exc
    unknown = set(extras) - set(lock.extras or ())
    if unknown:
        raise UsageError(f"pylock.toml declares no extra '{sorted(unknown)[0]}'", f"it has: {lock.extras or 'none'}")
    if base.python and lock.requires_python and not lock.requires_python.contains(base.python):
        raise UsageError(
            f"pylock.toml requires Python {lock.requires_python}, but the base image has {base.python}",
            "choose another base in [layers.base]",
        )
    environment = {
        "python_version": ".".join(base.python.split(".")[:2]),
        "python_full_version": base.python,
        "implementation_name": "cpython",
        "implementation_version": base.python,
        "platform_python_implementation": "CPython",
        "os_name": "posix",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": base.machine,
        "extras": frozenset(extras),
        "dependency_groups": frozenset(lock.default_groups or ()),
    }
    return "".join(
        _requirement(package)
        for package in lock.packages
        if package.marker is None or package.marker.evaluate(environment, context="lock_file")  # type: ignore[arg-type]
    )


def _requirement(package: Package) -> str:
    """Return a package as a requirement with its hashes."""
    hashes: set[str] = set()
    for archive in (*(package.wheels or ()), package.sdist, package.archive):
        if archive is not None:
            hashes |= {f"{name}:{value}" for name, value in archive.hashes.items() if name == "sha256"}
    if package.directory is not None:
        head = package.directory.path
        head = head if head.startswith((".", "/")) else f"./{head}"
    elif package.vcs is not None:
        head = f"{package.name} @ {package.vcs.type}+{package.vcs.url or package.vcs.path}@{package.vcs.commit_id}"
    elif package.archive is not None:
        head = f"{package.name} @ {package.archive.url or package.archive.path}"
    else:
        head = f"{package.name}=={package.version}"
    return " \\\n    ".join([head, *(f"--hash={value}" for value in sorted(hashes))]) + "\n"
