"""The files that only choose a Python: .python-version and runtime.txt."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ocicaliban.dependencies.python_requirement import PythonRequirement, of_version, requirement

NAMES = (".python-version", "runtime.txt")


def read_version(path: Path, shown: str) -> tuple[PythonRequirement, ...]:
    """Return the Python that a version file chooses, or () if it names none: an environment's name, or R."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    first = next((line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")), "")
    return requirement(shown, of_version(first), pinned=True)


def read_versions(
    root: Path, there: frozenset[str], folders: Iterable[str]
) -> dict[str, tuple[PythonRequirement, ...]]:
    """Return what each version file chooses: in the folder `root`, which holds the names `there`, and in `folders`."""
    paths = [name for name in NAMES if name in there]
    paths += [f"{folder}/runtime.txt" for folder in folders if folder in there]
    return {path: read_version(root / path, path) for path in paths if (root / path).is_file()}
