"""The files that only choose a Python: .python-version and runtime.txt."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from attrs import evolve, frozen

from ocicaliban.dependencies.declaration import manifest
from ocicaliban.dependencies.python_requirement import PythonRequirement, is_other_python, of_version, requirement
from ocicaliban.formats.file_faults import check_link
from ocicaliban.project.root import searched

NAMES = (".python-version", "runtime.txt")

_R = re.compile(r"r-(\d[\w.]*)?.*", re.I)
_ENVIRONMENT = re.compile(r"(\d[\w.+-]*)/envs/\S+")
"""pyenv's long name of a virtual environment, which begins with the version of its Python."""
_RANGE = re.compile(r"[<>=!~]")


@frozen(kw_only=True)
class VersionFile:
    """What a file chooses: requirements of Python, or `why` they are none; both are empty if it leaves the choice."""

    python: tuple[PythonRequirement, ...] = ()
    why: str = ""


def read_version(path: Path, shown: str) -> VersionFile:
    """Return what a version file chooses: its first line, and the first word of it unless it is a range."""
    lines = (
        line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    )
    text = next(filter(None, lines), "")
    if _RANGE.match(text):
        return VersionFile(python=requirement(shown, text))
    word = next(iter(text.split()), "")
    if match := _ENVIRONMENT.fullmatch(word):
        word = match[1]
    if is_other_python(word):
        return VersionFile(python=(PythonRequirement(place=shown, specifier="", other=word),))
    if found := requirement(shown, of_version(word), pinned=True):
        return VersionFile(python=found)
    if word in ("", "system"):
        return VersionFile()
    if match := _R.fullmatch(word):
        asked = f"R {match[1]}" if match[1] else "R"
        return VersionFile(
            why=f"which asks for {asked}: images have Python;"
            ' [layers.apt] packages = ["r-base"] in ocicaliban.toml adds Debian\'s R'
        )
    return VersionFile(
        why=f"as '{word}' is no version of Python;"
        ' write one into it, or into ocicaliban.toml: [layers.base] python = "3.11"'
    )


def read_versions(root: Path, there: frozenset[str], folders: Iterable[str]) -> dict[str, VersionFile]:
    """Return what each version file chooses: in the folder `root`, which holds the names `there`, and in `folders`.

    Without a .python-version in `root`, the nearest one in a folder above counts too, as it does for pyenv and uv.
    """
    paths = [name for name in NAMES if name in there]
    paths += [f"{folder}/runtime.txt" for folder in folders if folder in there]
    found = {path: read_version(root / path, path) for path in paths if (root / path).is_file()}
    if NAMES[0] not in there and (above := _above(root)):
        shown = os.path.relpath(above, root)
        found[shown] = _of_above(root, shown, read_version(above, shown))
    return found


def _above(root: Path) -> Path | None:
    """Return the nearest .python-version in a folder above, None if there is none."""
    folders, in_git = searched(root)
    for folder in root.parents:
        if (path := folder / NAMES[0]).is_file():
            return path
        if in_git and folder in folders:
            check_link(path)
    return None


def _of_above(root: Path, shown: str, found: VersionFile) -> VersionFile:
    """Return what a file above the project chooses for it.

    It counts in the project's repository, unless the project has a [project]: then uv does not look above it. Another
    one is this user's own, and the project would run with another Python elsewhere.
    """
    folders, in_git = searched(root)
    inside = in_git and (root / shown).resolve().parent in folders
    if inside and "project" not in manifest(root):
        return found
    if not found.python or not inside:
        asked = next((each.other or each.specifier.lstrip("= ").removesuffix(".*") for each in found.python), "")
        remedy = f'; to use it, write [layers.base] python = "{asked}" into ocicaliban.toml' if asked else ""
        return VersionFile(why=f"which is not the project's{remedy}") if asked else VersionFile()
    return evolve(
        found, python=(), why="as [project] is below it; requires-python or a .python-version beside it counts"
    )
