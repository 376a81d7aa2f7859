"""Find the project of the current folder: it may be a folder above, as for git and uv."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from ocicaliban.formats.toml import parse_toml, table_in
from ocicaliban.project.config import CALIBAN, NAME, in_pyproject

DECLARING = (
    *("pyproject.toml", "uv.lock", "pylock.toml", "poetry.lock", "pdm.lock", "Pipfile", "Pipfile.lock"),
    *("requirements.txt", "requirements.in", "requirements", "setup.py", "setup.cfg", "cog.yaml", "binder", ".binder"),
    *("environment.yml", "environment.yaml", "env.yml", "env.yaml", "conda.yml", "conda-lock.yml"),
    *("conda.yaml", "conda-lock.yaml", "conda-linux-64.lock", "conda-linux-aarch64.lock"),
    *("pixi.toml", "pixi.lock"),
)
"""The files and folders by which the top of a project is recognized."""

_WITHOUT_GIT = ("pyproject.toml", "uv.lock")
"""Those that count in a folder above without a git repository: a stray list of requirements makes no project."""


@frozen
class Location:
    """Where a command was started: the project's `root`, and the current `folder` relative to it, "" for the root."""

    root: Path
    folder: str = ""


def locate(start: Path) -> Location:
    """Return the project of the folder `start`.

    That is the nearest folder with our configuration, from `start` upwards. Else it is the uv workspace with the
    member that `start` is in, else the nearest folder that declares dependencies, else `start` itself. A search never
    leaves a git repository, nor takes the user's home folder or one above.
    """
    folders, in_git = searched(start)
    root = (
        _configured(folders)
        or _workspace(folders)
        or _nearest(folders[:1], DECLARING)
        or _nearest(folders, DECLARING if in_git else _WITHOUT_GIT)
        or start
    )
    folder = str(start.relative_to(root))
    return Location(root, "" if folder == "." else folder)


def workspace_root(folder: Path) -> Path | None:
    """Return the root of the uv workspace that a folder is the root or a member of; None if there is none."""
    return _workspace(searched(folder)[0])


def member_folder(root: Path, folder: str) -> str:
    """Return the member of the uv workspace in `root` that a folder is in, both relative to it; "" for the root."""
    place = root / folder
    while place != root:
        if (place / "pyproject.toml").is_file():
            member = place.relative_to(root).as_posix()
            return member if _lists(_table(root), member) else ""
        place = place.parent
    return ""


def searched(start: Path) -> tuple[list[Path], bool]:
    """Return the folders in which a project of `start` may be, the nearest first, and whether they are in git."""
    home = Path(os.path.realpath(os.path.expanduser("~")))
    folders: list[Path] = []
    for folder in (start, *start.parents):
        if folder != start and (folder == Path("/") or home.is_relative_to(folder)):
            break
        folders.append(folder)
        if (folder / ".git").exists():
            return folders, True
    return folders, False


def _nearest(folders: list[Path], names: tuple[str, ...]) -> Path | None:
    return next((folder for folder in folders if any(os.path.lexists(folder / name) for name in names)), None)


def _configured(folders: list[Path]) -> Path | None:
    """Return the nearest folder with our configuration."""
    ours = (NAME, CALIBAN)
    return next((folder for folder in folders if _nearest([folder], ours) or in_pyproject(folder)), None)


def _workspace(folders: list[Path]) -> Path | None:
    """Return the root of the uv workspace whose member is the nearest folder with a pyproject.toml."""
    with_manifest = [folder for folder in folders if (folder / "pyproject.toml").is_file()]
    for folder in with_manifest:
        found = _table(folder)
        if not found:
            continue
        # uv takes the first one above, and no other.
        member = with_manifest[0]
        if folder == member or _lists(found, member.relative_to(folder).as_posix()):
            return folder
        return None
    return None


def _table(folder: Path) -> dict[str, Any]:
    """Return [tool.uv.workspace] in the pyproject.toml of a folder; {} without it, or if the file is no TOML."""
    try:
        text = (folder / "pyproject.toml").read_text(encoding="utf-8-sig", errors="replace")
        return table_in(parse_toml(text), "tool", "uv", "workspace")
    except (OSError, ValueError):
        return {}


def _lists(workspace: dict[str, Any], member: str) -> bool:
    """Whether a workspace has the folder `member`."""

    def matches(key: str) -> bool:
        return any(_fits(pattern, member) for pattern in _texts(workspace.get(key)))

    return matches("members") and not matches("exclude")


def _texts(value: object) -> Iterator[str]:
    yield from (each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def _fits(pattern: str, folder: str) -> bool:
    """Whether a pattern of folders fits one: `**` stands for any number of names, and the rest for a part of a name."""
    names = os.path.normpath(pattern).split("/")
    # `states` are the indexes in `names` that may come next. A regular expression would try all combinations of stars.
    states = _and_without_stars({0}, names)
    for part in os.path.normpath(folder).split("/"):
        stay = {each for each in states if names[each : each + 1] == ["**"]}
        go = {each + 1 for each in states - stay if each < len(names) and fnmatch.fnmatchcase(part, names[each])}
        states = _and_without_stars(stay | go, names)
    return len(names) in states


def _and_without_stars(states: set[int], names: list[str]) -> set[int]:
    found = set(states)
    for number, name in enumerate(names):
        if number in found and name == "**":
            found.add(number + 1)
    return found
