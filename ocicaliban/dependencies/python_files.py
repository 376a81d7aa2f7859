"""The files that only choose a Python: .python-version and runtime.txt."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ocicaliban.dependencies.python_requirement import PythonRequirement, is_other_python, of_version, requirement
from ocicaliban.errors import UsageError

NAMES = (".python-version", "runtime.txt")


def read_version(path: Path, shown: str) -> tuple[PythonRequirement, ...]:
    """Return the Python that a version file chooses, or () if it names none: an environment's name, or R.

    Raises UsageError if it asks for a Python that no image has, such as PyPy.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    first = next((line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")), "")
    if is_other_python(first):
        raise UsageError(f"{shown} asks for {first}, and images have CPython", f"write a version into {shown}, as 3.11")
    if re.match(r"[<>=!~]", first):
        return requirement(shown, first)
    return requirement(shown, of_version(first), pinned=True)


def read_versions(
    root: Path, there: frozenset[str], folders: Iterable[str]
) -> dict[str, tuple[PythonRequirement, ...]]:
    """Return what each version file chooses: in the folder `root`, which holds the names `there`, and in `folders`."""
    paths = [name for name in NAMES if name in there]
    paths += [f"{folder}/runtime.txt" for folder in folders if folder in there]
    return {path: read_version(root / path, path) for path in paths if (root / path).is_file()}
