"""Locked requirements as text in uv's form: its entries, which an image can install, a pylock.toml as such; pure."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ocicaliban.errors import UsageError
from ocicaliban.model.image import Base

if TYPE_CHECKING:
    from packaging.pylock import Package

_LOCAL = re.compile(r"^(?:-e |--editable )?\s*(?:[A-Za-z0-9._-]+\s*@\s*)?(file://\S+|\.{1,2}(?:/\S*)?|/\S+)")


def entries(text: str) -> tuple[str, ...]:
    """The entries, each one with its hashes on indented lines."""
    found: list[str] = []
    for line in text.splitlines():
        if found and line[:1] in (" ", "\t"):
            found[-1] += f"{line}\n"
        elif line.strip() and not line.startswith("#"):
            found.append(f"{line}\n")
    return tuple(found)


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def normalized(name: str) -> str:
    """A package's name as indexes compare it (PyPA's name normalization)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def name(entry: str) -> str:
    """The name of the package in an entry, normalized; empty for a path."""
    match = _NAME.match(entry)
    return normalized(match[0]) if match else ""


def declared_hashes(texts: Iterable[str]) -> dict[str, frozenset[str]]:
    """The hashes that requirements files give a package, by its name; none for a package without."""
    found: dict[str, frozenset[str]] = {}
    for text in texts:
        for line in re.sub(r"\\\r?\n", " ", text).splitlines():
            hashes = frozenset(value.lower() for value in re.findall(r"--hash[= ]\s*(\w+:[0-9A-Fa-f]+)", line))
            if hashes and (package := name(line.strip())):
                found[package] = found.get(package, frozenset()) | hashes
    return found


def with_declared_hashes(text: str, declared: Mapping[str, frozenset[str]]) -> str:
    """The entries with those of their hashes alone that are `declared` for the package, where any are.

    uv takes hashes from the index and forgets the declared ones, which say what somebody looked at. Raises UsageError
    for a package of which no declared hash is among them.
    """
    kept: list[str] = []
    for entry in entries(text):
        wanted = declared.get(name(entry))
        if wanted is None:
            kept.append(entry)
            continue
        head, *hashes = (line.strip().removesuffix("\\").strip() for line in entry.splitlines())
        hashes = [line for line in hashes if line.removeprefix("--hash=") in wanted]
        if not hashes:
            raise UsageError(
                f"no archive of {head.split(' ;')[0]} has a hash that the requirements declare for it",
                "the declared hashes are wrong or not sha256, or the index has other files than it had: look into it",
            )
        kept.append(" \\\n    ".join([head, *hashes]) + "\n")
    return "".join(kept)


def installable(text: str, root: Path) -> str:
    """The entries without the project in the folder `root` itself, whose files a layer of their own brings.

    Raises UsageError for what cannot be had in the image: other folders and version control, which have no hash, and
    single archives of this machine.
    """
    from urllib.parse import unquote, urlsplit

    kept: list[str] = []
    for entry in entries(text):
        if local := _LOCAL.match(entry):
            folder = Path(os.path.normpath(root / unquote(urlsplit(local[1]).path)))
            if folder == root:
                continue
            if "--hash" in entry:
                # A build step sees folders of packages and indexes of this machine, and no single file.
                links = os.path.relpath(folder.parent, root) if folder.is_relative_to(root) else str(folder.parent)
                raise UsageError(
                    f"the dependency '{entry.split()[0]}' is a file of this machine, which no build step sees",
                    f"write '--find-links {links}' and, on a line of its own, NAME==VERSION",
                )
            raise UsageError(
                f"the dependency '{entry.split(' ;')[0].strip()}' is a folder, which has no hash",
                "a package inside the project is importable as it is; name its own dependencies instead",
            )
        elif "--hash" not in entry and re.search(r"@\s*(?:git|hg|svn|bzr)\+", entry):
            raise UsageError(
                f"the dependency '{entry.strip()}' comes from version control, which has no hash",
                "name an archive of that commit: NAME @ https://github.com/OWNER/NAME/archive/COMMIT.zip",
            )
        kept.append(entry)
    return "".join(kept)


def from_pylock(raw: Mapping[str, object], base: Base, extras: tuple[str, ...], root: Path) -> str:
    """The entries of a pylock.toml (PEP 751) that apply to the base's Python and these extras.

    Raises UsageError when it is not valid, or declares no such extra.
    """
    from packaging.pylock import Pylock, PylockValidationError

    try:
        lock = Pylock.from_dict(raw)
    except PylockValidationError as exc:
        raise UsageError(f"pylock.toml is not valid: {exc}", "write it anew, for example with `uv export`") from exc
    unknown = set(extras) - set(lock.extras or ())
    if unknown:
        raise UsageError(f"pylock.toml declares no extra '{sorted(unknown)[0]}'", f"it has: {lock.extras or 'none'}")
    if base.python and lock.requires_python and not lock.requires_python.contains(base.python):
        raise UsageError(
            f"pylock.toml requires Python {lock.requires_python}, and the base has {base.python}", "take another base"
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
    found = [
        _entry(package)
        for package in lock.packages
        if package.marker is None or package.marker.evaluate(environment, context="lock_file")  # type: ignore[arg-type]
    ]
    return installable("".join(found), root)


def _entry(package: Package) -> str:
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
