"""The scripts by which repo2docker (Binder) prepares and starts a project: `postBuild` and `start`."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ocicaliban.errors import UsageError

FOLDERS = ("binder", ".binder", "")
"""Where such files are looked for: a project with such a folder has them there."""

POSTBUILD = "postBuild"
START = "start"

_PASSES_ON = re.compile(r"\$@|\$\{@|\$\*|sys\.argv|argv")
"""What a script has in it that runs its arguments."""


def find(root: Path, name: str) -> str:
    """Return the path of a file in the project, relative to it; "" if there is none."""
    paths = (os.path.join(folder, name) for folder in FOLDERS)
    return next((path for path in paths if os.path.isfile(root / path)), "")


def start_command(root: Path, app: str) -> tuple[tuple[str, ...], str]:
    """Return the words that come before a command, so that `start` runs it, and the path of `start`.

    `app` is where the container has the project. The words are () if there is no such script, or if it does not run its
    arguments: then it is one that only has the name. Raises UsageError for one with Windows line endings.
    """
    path = find(root, START)
    if not path:
        return (), ""
    text = (root / path).read_bytes().decode("utf-8", "replace")
    if not _PASSES_ON.search(text):
        return (), path
    if text.partition("\n")[0].endswith("\r"):
        raise UsageError(f"'{path}' has Windows line endings, so it cannot be started", f"dos2unix {path}")
    script = f"{app}/{path}"
    first = text.splitlines()[0]
    if not first.startswith("#!"):
        return ("sh", script), path
    if os.access(root / path, os.X_OK):
        return (script,), path
    return (*first[2:].split(), script), path  # repo2docker makes it executable
