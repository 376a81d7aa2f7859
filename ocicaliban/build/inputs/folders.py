"""Read the project's folder and its folders of data."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ocicaliban.errors import UsageError
from ocicaliban.model.project import Project
from ocicaliban.project import lockfile, source_tree
from ocicaliban.project.config import setting_place
from ocicaliban.system import files


def memo_file(root: Path, folder: str = "") -> Path:
    """Return the file that remembers the digests of the files in a folder of the project in `root`."""
    return files.cache() / "trees" / hashlib.sha256(os.fsencode(f"{root}\0{folder}")).hexdigest()[:32]


def data_folders(project: Project, dirs: tuple[str, ...]) -> tuple[str, ...]:
    """Return the folders of data, relative to the project: those of its configuration and `dirs`.

    Raises UsageError for one that is not a folder inside the project.
    """
    folders = []
    root = project.root.resolve()
    for number, name in enumerate((*project.dirs, *dirs)):
        folder = (project.root / name).resolve()
        if os.path.isdir(folder) and folder.is_relative_to(root) and folder != root:
            folders.append(str(folder.relative_to(root)))
            continue
        configured = number < len(project.dirs)
        place = f"{setting_place(project.root, ('dirs', number))}: dirs" if configured else "-d"
        if not folder.is_relative_to(root):
            mount = f'--podman-args "-v {folder}:/usr/app/{folder.name}:ro"'
            raise UsageError(f"{place}: the folder '{name}' is outside the project", f"mount it instead: {mount}")
        if folder == root:
            raise UsageError(f"{place}: the folder of data '{name}' is the project itself", "name a folder in it")
        what = "dirs lists folders" if configured else "-d takes a folder"
        raise UsageError(f"{place}: there is no folder '{name}' in the project", f"{what} inside the project")
    return tuple(dict.fromkeys(folders))


def not_source(folders: tuple[str, ...]) -> tuple[str, ...]:
    """Return the paths that are never part of the source, whatever the ignore files say."""
    return (*folders, *lockfile.NAMES)


def left_out(project: Project, dirs: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the paths in the project's folder that the source in an image lacks (see `source_tree.left_out`).

    Folders of data, in `dirs` too, are not among them: they have layers of their own.
    """
    exclude = not_source(data_folders(project, dirs))
    return source_tree.left_out(project.root, memo=memo_file(project.root), exclude=exclude)
