"""Tell which Python files a build by meson reads: the others are only installed, and may change."""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

_FILES = ("meson.build", "meson.options", "meson_options.txt")
_COMMENT = re.compile(r"(?m)#.*$")
_INSTALL = re.compile(r"\b(?:\w+\.)?(?:install_sources|install_subdir|install_data)\s*\(")
_ASSIGNED = re.compile(r"(?m)^\s*(\w+)\s*\+?=\s*(?:files\s*\()?\s*\[[^\]]*\]\s*\)?\s*$")
_WORD = re.compile(r"[\w.@/-]+")


def modules_read(root: Path, names: Mapping[str, bool]) -> set[str]:
    """Return the Python files below `root` whose contents the build may read; `names` are the paths there.

    They are those that a meson.build names, other than to install them: by the last part of the path, or as a module.
    """
    words: set[str] = set()
    for path, is_dir in names.items():
        if not is_dir and posixpath.basename(path) in _FILES:
            text = _without_installed((root / path).read_bytes().decode(errors="replace"))
            words |= {posixpath.basename(word) for word in _WORD.findall(text)}
    modules = [path for path, is_dir in names.items() if not is_dir and path.endswith(".py")]
    dotted = tuple(f".{word}" for word in words if "." in word)
    return {
        path
        for path in modules
        if posixpath.basename(path) in words or f"/{path[:-3]}".replace("/", ".").endswith(dotted)
    }


def _without_installed(text: str) -> str:
    """Return the text of a meson.build without the names of files that it only installs."""
    text = _COMMENT.sub("", text)
    kept, installed, place = [], [], 0
    for match in _INSTALL.finditer(text):
        if match.start() < place:
            continue
        end = _closing(text, match.end())
        kept.append(text[place : match.start()])
        installed.append(text[match.start() : end])
        place = end
    rest = "".join((*kept, text[place:]))
    return _without_lists(rest, installed)


def _without_lists(text: str, installed: Iterable[str]) -> str:
    """Return a text without the lists that nothing but the installation uses."""
    used = {word for call in installed for word in re.findall(r"\w+", call)}
    for name in {match[1] for match in _ASSIGNED.finditer(text)} & used:
        own = (match[0] for match in _ASSIGNED.finditer(text) if match[1] == name)
        shorter = functools.reduce(lambda rest, each: rest.replace(each, "", 1), own, text)
        if not re.search(rf"\b{name}\b", shorter):
            text = shorter
    return text


def _closing(text: str, place: int) -> int:
    """Return the place after the parenthesis that closes the one before `place`. Those in strings do not count."""
    depth = 1
    for match in re.compile(r"'(?:[^'\\]|\\.)*'|[()]").finditer(text, place):
        depth += {"(": 1, ")": -1}.get(match[0], 0)
        if depth == 0:
            return match.end()
    return len(text)
