"""Find the files that the build of a folder's package reads.

The contents of ordinary modules do not matter to an editable installation: only the names of packages do. So a build
sees such modules as empty files, and editing one builds nothing.
"""

from __future__ import annotations

import ast
import fnmatch
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from attrs import frozen

from ocicaliban.dependencies.package_words import Mentions
from ocicaliban.dependencies.packages import PackageBuild
from ocicaliban.model.image import Tree, TreeEntry
from ocicaliban.project import source_tree

_ALWAYS = ("pyproject.toml", "setup.py", "setup.cfg", "MANIFEST.in", "CMakeLists.txt", "meson.build", "meson.options")
_LICENSES = ("LICEN[CS]E*", "COPYING*", "NOTICE*", "AUTHORS*")
_SOURCES = (".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", ".hxx", ".inl", ".pyx", ".pxd", ".pxi", ".rs", ".f",
            ".f77", ".f90", ".f95", ".for", ".cu", ".cuh", ".s", ".asm", ".i", ".in", ".pyf", ".cmake", ".m",
            ".mm")  # fmt: skip
"""The ends of names of files that compilers read."""
_SOURCE_NAMES = ("CMakeLists.txt", "meson.build", "Cargo.toml", "Cargo.lock", "Makefile")
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""The digest of an empty file."""


@frozen(kw_only=True)
class PackageFolder:
    """A folder with a package.

    `names` has the paths in it that may enter an image, and whether each is a folder. `build` says how it is built, and
    `mentions` what the files of its build mention. `more` are patterns of further files that the build reads. `top` is
    the folder's path in the project, and `allowed_secrets` the files there that may contain credentials.
    """

    path: Path
    names: Mapping[str, bool]
    build: PackageBuild
    mentions: Mentions
    more: tuple[str, ...] = ()
    top: str = ""
    allowed_secrets: tuple[str, ...] = ()


def read_build_tree(folder: PackageFolder) -> Tree:
    """Return what the build of a package sees: the files that it reads, and the names of its packages."""
    if folder.build.reads_everything:
        contents = {path for path, is_dir in folder.names.items() if not is_dir}
        empty: set[str] = set()
    else:
        contents = _read_files(folder)
        empty = _package_names(folder) - contents
    entries: dict[str, TreeEntry] = {}
    for path in contents:
        if entry := source_tree.read_entry(folder.path, path, top=folder.top, allowed=folder.allowed_secrets):
            entries[path] = entry
    for path in empty:
        kind = (
            TreeEntry(path=path, kind="dir") if folder.names[path] else TreeEntry(path=path, kind="file", digest=EMPTY)
        )
        entries.setdefault(path, kind)
    for path in list(entries):
        while path := posixpath.dirname(path):
            entries.setdefault(path, TreeEntry(path=path, kind="dir"))
    ordered = tuple(sorted(entries.values(), key=lambda entry: entry.path))
    return Tree(root=folder.path, digest=source_tree.tree_digest(ordered), entries=ordered)


# --- files whose contents the build reads ---


def _read_files(folder: PackageFolder) -> set[str]:
    files = [path for path, is_dir in folder.names.items() if not is_dir]
    found = {path for path in files if path in _ALWAYS}
    found |= {path for path in files for pattern in _LICENSES if fnmatch.fnmatchcase(path, pattern)}
    found |= _mentioned(folder, files)
    found |= {path for path in files for pattern in folder.more if _matches(path, pattern)}
    if folder.mentions.compiles:
        found |= {path for path in files if path.endswith(_SOURCES) or posixpath.basename(path) in _SOURCE_NAMES}
    scripts = [path for path in found if path.endswith(".py")]
    modules = {*_module_files(folder, folder.mentions.modules)}
    return found | _with_imports(folder, {*scripts, *modules})


def _mentioned(folder: PackageFolder, files: Iterable[str]) -> set[str]:
    """Return the files that are mentioned by their path, by a pattern or, in a program, by the last part of it."""
    words = {
        posixpath.normpath(word) for word in folder.mentions.words if word and "\n" not in word and len(word) < 300
    }
    patterns = [word for word in words if "*" in word]
    basenames: set[str] = set()
    if folder.mentions.by_basename:
        basenames = {posixpath.basename(word) for word in words}
        basenames = {name for name in basenames if "." in name.strip(".") or name.isupper()}
    found: set[str] = set()
    for path in files:
        deep = path.count("/")
        if (
            path in words
            or (posixpath.basename(path) in basenames and deep <= 2)
            or any(_matches(path, pattern) for pattern in patterns if not pattern.endswith("*"))
        ):
            found.add(path)
    return found


def _matches(path: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(path, pattern)


def _module_files(folder: PackageFolder, modules: Iterable[str]) -> Iterator[str]:
    """Yield the files that importing these modules reads, as far as they are in the folder."""
    for module in modules:
        parts = module.split(".")
        for root in _roots(folder):
            for length in range(1, len(parts) + 1):
                place = posixpath.join(root, *parts[:length])
                yield from (path for path in (f"{place}.py", f"{place}/__init__.py") if folder.names.get(path) is False)


def _with_imports(folder: PackageFolder, files: set[str]) -> set[str]:
    """Return Python files together with those of the folder that they import, and so on."""
    pending, found = [*files], set(files)
    while pending:
        path = pending.pop()
        try:
            tree = ast.parse((folder.path / path).read_bytes())
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue
        for module in _imported(tree, path):
            for other in {*_module_files(folder, [module])} - found:
                found.add(other)
                pending.append(other)
    return found


def _imported(tree: ast.Module, path: str) -> Iterator[str]:
    """Yield the dotted names that a module imports; relative ones from the folder's top."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = posixpath.dirname(path).split("/") if node.level else []
            package = [part for part in above[: len(above) - node.level + 1] if part]
            if node.module:
                package = [*package, *node.module.split(".")]
            yield from (".".join([*package, alias.name]) for alias in node.names)


def _roots(folder: PackageFolder) -> tuple[str, ...]:
    """Return the folders in which top-level packages may be."""
    words = {posixpath.normpath(word) for word in folder.mentions.words if word}
    named = {word for word in words if folder.names.get(word) and f"{word}/__init__.py" not in folder.names}
    return tuple(sorted({"", *named, *(["src"] if folder.names.get("src") else [])}))


# --- names of packages ---


def _package_names(folder: PackageFolder) -> set[str]:
    """Return the files and folders that a search for packages may look at."""
    parts = {part for word in folder.mentions.words for part in re.split(r"[./\\]", word)}
    children: dict[str, list[str]] = {}
    for path in folder.names:
        children.setdefault(posixpath.dirname(path), []).append(path)
    packages = {posixpath.dirname(path) for path in folder.names if posixpath.basename(path) == "__init__.py"}
    above = {*packages}
    for path in packages:
        while path := posixpath.dirname(path):
            above.add(path)
    searched = folder.build.tool == "setuptools" and not folder.mentions.names_packages
    found: set[str] = set()
    for root in _roots(folder):
        if root:
            found.add(root)
        for path in children.get(root, ()):
            name = posixpath.basename(path)
            if not folder.names[path]:
                if name.endswith(".py") and (searched or name[:-3] in parts or name[:-3] == _module_name(folder)):
                    found.add(path)
            elif searched or path in above or name in parts or name == _module_name(folder):
                found |= _below(path, folder, children, above, parts)
    return found


def _module_name(folder: PackageFolder) -> str:
    return re.sub(r"[-_.]+", "_", folder.build.name).lower()


def _below(
    path: str, folder: PackageFolder, children: Mapping[str, list[str]], above: set[str], parts: set[str]
) -> set[str]:
    """Return a folder of packages, with those in it that are mentioned, or that no package contains."""
    found = {path}
    is_package = f"{path}/__init__.py" in folder.names
    if is_package:
        found.add(f"{path}/__init__.py")
    for child in children.get(path, ()):
        name = posixpath.basename(child)
        if folder.names[child]:
            if (child in above and not is_package) or name in parts:
                found |= _below(child, folder, children, above, parts)
        elif name.endswith(".py") and name[:-3] in parts and name != "__init__.py":
            found.add(child)
    return found
