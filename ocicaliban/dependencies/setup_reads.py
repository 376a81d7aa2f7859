"""Find the files of a project from which its setup.py may compute the dependencies."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

_LISTS = (".txt", ".in", ".cfg", ".toml")
_MOST = 200
"""Files that are looked at. A setup.py that names more reads data."""


def files_read(root: Path) -> tuple[Path, ...]:
    """Return the files that setup.py in `root` names, those in folders and patterns that it names, and its own modules.

    A program can read any file in any way. Counted is what its text tells: strings that are the path of a file, of a
    folder (the lists in it) or a pattern, and imports of modules of the project, with what these name in turn.
    """
    found: dict[Path, None] = {}
    pending = [root / "setup.py"]
    while pending and len(found) < _MOST:
        path = pending.pop()
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue
        for other in (*_imported(tree, root), *_named(tree, root)):
            if other not in found and other != root / "setup.py":
                found[other] = None
                if other.suffix == ".py":
                    pending.append(other)
    return tuple(sorted(found))


def _named(tree: ast.Module, root: Path) -> Iterator[Path]:
    words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    for word in words:
        if not word or len(word) > 200 or "\n" in word or "\0" in word or word.startswith(("/", "..")):
            continue
        if "*" in word and "**" not in word:
            yield from (path for path in root.glob(word) if path.suffix in _LISTS and path.is_file())
            continue
        path = root / word
        if path.is_dir() and path != root:
            yield from (each for each in path.iterdir() if each.suffix in _LISTS and each.is_file())
        elif path.suffix in _LISTS and path.is_file():
            yield path


def _imported(tree: ast.Module, root: Path) -> Iterator[Path]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for module in modules:
            parts = module.split(".")
            for length in range(1, len(parts) + 1):
                place = root.joinpath(*parts[:length])
                yield from (path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file())
