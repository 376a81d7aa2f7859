"""Find the folders of packages: a path is relative to the file that names it.

uv writes the path of a package in a folder as the file does that names it. If that is the pyproject.toml of another
package, the path is relative to this package's folder, and uv's result does not say so. Its pylock.toml does.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ocicaliban.dependencies.installable import local_path
from ocicaliban.dependencies.locked_requirements import entries

_LOCAL = re.compile(r"(?:-e|--editable)[ =]|\.{1,2}(?:/|$)|[\w.-]+/|[\w.-]+\s*(?:\[[^]]*\]\s*)?@\s*(?:file:|\.{0,2}/)")
"""How a line of a list begins that may name a folder."""


def relative_paths(text: str) -> tuple[str, ...]:
    """Return the relative paths of packages among locked requirements, in their order."""
    found = (local_path(_requirement(entry)) for entry in entries(text))
    return tuple(path for path in found if path is not None and not path.startswith("/"))


def of_pylock(packages: Sequence[Mapping[str, Any]], folder: Path) -> tuple[Path, ...]:
    """Return the folders of packages in a pylock.toml that was written into `folder`."""
    paths = (str(package["directory"]["path"]) for package in packages if "directory" in package)
    return tuple(Path(os.path.realpath(folder / path)) for path in paths)


def placed(text: str, root: Path, folders: Sequence[Path]) -> str:
    """Return locked requirements with paths that are relative to `root`, given the real `folders` of the packages."""
    left = list(folders)
    place: dict[int, Path] = {}
    paths = relative_paths(text)
    for number, path in enumerate(paths):
        if (real := Path(os.path.realpath(root / path))) in left:
            left.remove(real)
            place[number] = real
    for number, path in enumerate(paths):
        tail = re.sub(r"^(?:\.{1,2}/)+", "", path).strip("/")
        found = next((folder for folder in left if number not in place and f"{folder}/".endswith(f"/{tail}/")), None)
        if found:
            left.remove(found)
            place[number] = found
    lines: list[str] = []
    number = 0
    for entry in entries(text):
        named = local_path(_requirement(entry))
        if named is not None and not named.startswith("/"):
            if number in place and Path(os.path.realpath(root / named)) != place[number]:
                entry = entry.replace(named, os.path.relpath(place[number], os.path.realpath(root)), 1)
            number += 1
        lines.append(entry)
    return "".join(lines)


def moved(text: str, place: Path, root: Path) -> str:
    """Return locked requirements with paths relative to `root` in the place of those relative to `place`."""
    lines: list[str] = []
    for entry in entries(text):
        path = local_path(_requirement(entry))
        if path is not None:
            there = os.path.realpath(place / path)
            entry = entry.replace(path, f"./{os.path.relpath(there, os.path.realpath(root))}", 1)
        lines.append(entry)
    return "".join(lines)


def beside_list(line: str, path: Path, root: Path) -> str:
    """Return a line of the list at `path`, with a local path made absolute that exists beside the list alone.

    pip and uv take it as relative to the current folder, which is the project's `root` or that of the list.
    """
    what = _requirement(line.partition(" #")[0])
    # A word alone is the name of a package, and other options than -e have paths of their own.
    local = local_path(what) if _LOCAL.match(what) else None
    if local is None or local.startswith("/") or (root / local).exists() or not (path.parent / local).exists():
        return line
    return line.replace(local, os.path.normpath(path.parent.absolute() / local), 1)


def _requirement(entry: str) -> str:
    """Return an entry without hashes and marker."""
    return entry.split(" \\\n")[0].strip().partition(" ;")[0].strip()
