"""Read the programs of a package's build, such as setup.py or a hook: what they import, and which words are in them.

A program can read any file in any way. What its text tells is the best that is known without running it.
"""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from ocicaliban.formats.toml import table_in

_MOST = 1000
"""Programs that are read, at most."""


@frozen(kw_only=True)
class Programs:
    """Programs in a folder with the modules of the folder that they import: `files`, relative to it.

    `words` are the string constants in them, which may be paths, and `text` is all that is written in them.
    """

    files: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()
    text: str = ""


def read_programs(root: Path, starts: Iterable[str], roots: Iterable[str] = ("",)) -> Programs:
    """Return the programs `starts` in a folder, with the modules that they import, and that these import in turn.

    Modules are looked for in the folders `roots`, and beside the program that imports them. A file that is missing, or
    that is not Python, is a program without words.
    """
    found: dict[str, None] = {}
    words: set[str] = set()
    texts: list[str] = []
    pending = [posixpath.normpath(start) for start in starts]
    while pending and len(found) < _MOST:
        path = pending.pop()
        if path in found or path.startswith(("../", "/")) or not (root / path).is_file():
            continue
        found[path] = None
        try:
            content = (root / path).read_bytes()
            tree = ast.parse(content)
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue
        texts.append(content.decode(errors="replace"))
        words |= {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) if isinstance(node.value, str)
        }
        places = dict.fromkeys((*roots, posixpath.dirname(path)))
        for module in imported_modules(tree, path):
            pending += module_files(root, module, places)
    return Programs(files=frozenset(found), words=frozenset(words), text="\n".join(texts))


def imported_modules(tree: ast.Module, path: str) -> Iterator[str]:
    """Yield the dotted names that the module at `path` imports; relative ones from the folder's top."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = posixpath.dirname(path).split("/") if node.level else []
            package = [part for part in above[: len(above) - node.level + 1] if part]
            if node.module:
                package = [*package, *node.module.split(".")]
            yield from (".".join([*package, alias.name]) for alias in node.names)


def module_files(root: Path, module: str, places: Iterable[str]) -> Iterator[str]:
    """Yield the files that importing a module reads, as far as they are in the folders `places` of `root`."""
    parts = module.split(".")
    for top in places:
        for length in range(1, len(parts) + 1):
            place = posixpath.join(top, *parts[:length])
            yield from (path for path in (f"{place}.py", f"{place}/__init__.py") if (root / path).is_file())


def programs_of(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the programs that a build runs besides setup.py, by the values of its pyproject.toml."""
    hatch = table_in(raw, "tool", "hatch")
    hooks = [
        table_in(hatch, *keys, "custom")
        for keys in (("build", "hooks"), ("build", "targets", "wheel", "hooks"), ("metadata", "hooks"))
        if "custom" in table_in(hatch, *keys)
    ]
    found = [str(hook.get("path", "hatch_build.py")) for hook in hooks]
    version = table_in(hatch, "version")
    if version.get("source") == "code":
        found.append(str(version.get("path", "")))
    pdm = table_in(raw, "tool", "pdm", "build")
    found.append(str(pdm.get("custom-hook", "pdm_build.py")))
    build = table_in(raw, "tool", "poetry").get("build")
    found.append(str(build.get("script", "") if isinstance(build, dict) else build or ""))
    return tuple(path for path in found if path)
