"""The files that only choose a Python: .python-version and runtime.txt."""

from __future__ import annotations

from pathlib import Path

from ocicaliban.dependencies.python_requirement import PythonRequirement, of_version, requirement

NAMES = (".python-version", "runtime.txt")


def read_version(path: Path, shown: str) -> tuple[PythonRequirement, ...]:
    """Return the Python that a version file chooses, or () if it names none: an environment's name, or R."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    first = next((line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")), "")
    return requirement(shown, of_version(first), pinned=True)


def read_versions(root: Path) -> dict[str, tuple[PythonRequirement, ...]]:
    """Return what each version file in the folder `root` chooses."""
    return {name: read_version(root / name, name) for name in NAMES if (root / name).is_file()}
