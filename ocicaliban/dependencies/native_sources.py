"""Find the files of a package that compilers and their build tools read."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from pathlib import Path

_SOURCES = (".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", ".hxx", ".inl", ".pyx", ".pxd", ".pxi", ".rs", ".f",
            ".f77", ".f90", ".f95", ".for", ".cu", ".cuh", ".s", ".asm", ".i", ".in", ".pyf", ".cmake", ".m",
            ".mm")  # fmt: skip
"""The ends of names of files that compilers read."""
_NAMES = ("CMakeLists.txt", "meson.build", "Cargo.toml", "Cargo.lock", "Makefile")
_OF_CRATES = ("src", ".cargo", "vendor")
"""The folders beside a Cargo.toml of which Cargo may read any file."""
_INCLUDED = re.compile(r'#\s*include\s*"([^"\n]+)"|\binclude(?:_str|_bytes)?!\s*\(\s*"([^"\n]+)"')
"""What a file in C or Rust includes."""
_WORD = re.compile(r"[\w.+-]+\.\w+")


def files_read(root: Path, files: Iterable[str]) -> set[str]:
    """Return those of the files below `root` that the compilation of extensions may read.

    They are sources by their names, what these include, what CMake's files name, and the folders of Rust's crates.
    """
    files = set(files)
    found = {path for path in files if path.endswith(_SOURCES) or posixpath.basename(path) in _NAMES}
    crates = [posixpath.dirname(path) for path in found if posixpath.basename(path) == "Cargo.toml"]
    inside = tuple(f"{posixpath.join(crate, name)}/" for crate in crates for name in _OF_CRATES)
    found |= {path for path in files if path.startswith(inside) and not path.endswith(".py")}
    named: set[str] = set()
    for path in found:
        text = (root / path).read_bytes().decode(errors="replace") if _has_names(path) else ""
        if path.endswith((".cmake", "CMakeLists.txt")):
            named |= {posixpath.basename(word) for word in _WORD.findall(text)}
        else:
            named |= {posixpath.basename(c or rust) for c, rust in _INCLUDED.findall(text)}
    return found | {path for path in files if posixpath.basename(path) in named and not path.endswith("__init__.py")}


def _has_names(path: str) -> bool:
    return not path.endswith((".in", ".m", ".i", ".lock", ".toml"))
