"""Find the files that the build of a folder's package reads.

The contents of ordinary modules do not matter to an editable installation: only the names of packages do. So a build
sees such modules as empty files, and editing one builds nothing.
"""

from __future__ import annotations

import fnmatch
import hashlib
import posixpath
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from attrs import frozen

from ocicaliban.dependencies import meson, native_sources
from ocicaliban.dependencies.build_programs import module_files, read_programs
from ocicaliban.dependencies.package_words import Mentions
from ocicaliban.dependencies.packages import PackageBuild
from ocicaliban.dependencies.version_lines import VersionModule
from ocicaliban.model.image import Tree, TreeEntry
from ocicaliban.project import source_tree

_ALWAYS = ("pyproject.toml", "setup.py", "setup.cfg", "MANIFEST.in", "CMakeLists.txt", "meson.build", "meson.options",
           "PKG-INFO", ".git_archival.txt")  # fmt: skip
_LICENSES = ("LICEN[CS]E*", "COPYING*", "NOTICE*", "AUTHORS*")
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
    reduced: dict[str, str] = {}
    if folder.build.reads_everything:
        contents = {path for path, is_dir in folder.names.items() if not is_dir}
        empty: set[str] = set()
    elif folder.build.relinked:
        read = meson.modules_read(folder.path, folder.names)
        modules = {path for path, is_dir in folder.names.items() if not is_dir and path.endswith(".py")}
        contents = {path for path, is_dir in folder.names.items() if not is_dir} - modules | _imports(folder, read)
        empty = modules - contents
    else:
        contents = _read_files(folder)
        for version in folder.mentions.versions:
            whole, parts = _version_files(folder, version)
            contents |= whole
            reduced |= parts
        reduced = {path: text for path, text in reduced.items() if path not in contents}
        empty = _package_names(folder) - contents - {*reduced}
    entries: dict[str, TreeEntry] = {}
    for path, text in reduced.items():
        digest = hashlib.sha256(text.encode()).hexdigest()
        entries[path] = TreeEntry(path=path, kind="file", digest=digest, size=len(text.encode()), text=text)
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
    patterns = (*folder.more, *folder.mentions.patterns)
    found |= {path for path in files for pattern in patterns if _matches(path, pattern)}
    inside = tuple(f"{posixpath.normpath(each)}/" for each in folder.mentions.folders if each)
    found |= {path for path in files if path.startswith(inside) and not _is_module(path, folder)}
    found |= {path for path in folder.mentions.programs.files if folder.names.get(path) is False}
    if folder.mentions.compiles:
        found |= native_sources.files_read(folder.path, files)
    # Those of programs have been found already.
    scripts = {path for path in found if path.endswith(".py")} - folder.mentions.programs.files
    return found | _imports(folder, scripts)


def _is_module(path: str, folder: PackageFolder) -> bool:
    """Whether a file is a module of a package."""
    return path.endswith(".py") and f"{posixpath.dirname(path)}/__init__.py" in folder.names


def _imports(folder: PackageFolder, scripts: Iterable[str]) -> set[str]:
    """Return Python files together with those of the folder that they import, and so on."""
    read = read_programs(folder.path, sorted(scripts), _roots(folder))
    return {path for path in read.files if folder.names.get(path) is False}


def _version_files(folder: PackageFolder, version: VersionModule) -> tuple[set[str], dict[str, str]]:
    """Return the files that are read whole for a version, and the parts that are read of others."""
    if version.path:
        paths = [posixpath.normpath(version.path)]
        ends = tuple(paths)
    else:
        paths = [*module_files(folder.path, version.module, _roots(folder))]
        stem = version.module.replace(".", "/")
        ends = (f"{stem}.py", f"{stem}/__init__.py")
    paths = [path for path in paths if folder.names.get(path) is False]
    parts: dict[str, str] = {}
    for path in paths:
        if path.endswith(ends):
            text = _reduced(folder.path / path, version)
            if text is None:
                return _imports(folder, paths) | {*paths}, {}
            parts[path] = text
    return set(), parts


def _reduced(path: Path, version: VersionModule) -> str | None:
    try:
        return None if path.is_symlink() else version.reduced(path.read_bytes().decode())
    except (OSError, UnicodeDecodeError):
        return None


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
