"""Find the files of a project from which its setup.py may compute the dependencies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ocicaliban.dependencies.build_programs import read_programs

_LISTS = (".txt", ".in", ".cfg", ".toml")


def files_read(root: Path) -> tuple[Path, ...]:
    """Return the files that setup.py in `root` names, those in folders and patterns that it names, and its own modules.

    Counted is what the text of setup.py and of its modules tells: strings that are the path of a list, of a folder (the
    lists in it) or a pattern.
    """
    programs = read_programs(root, ["setup.py"])
    modules = {root / path for path in programs.files if path != "setup.py"}
    return tuple(sorted(modules | {*_lists(programs.words, root)}))


def _lists(words: Iterable[str], root: Path) -> Iterator[Path]:
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
