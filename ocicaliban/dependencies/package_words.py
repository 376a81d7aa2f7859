"""Find what the files of a package's build mention: names of files, folders and modules."""

from __future__ import annotations

import ast
import configparser
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from ocicaliban.dependencies.build_programs import Programs, programs_of, read_programs
from ocicaliban.dependencies.packages import PackageBuild, setup_config
from ocicaliban.dependencies.version_lines import VersionModule, version_modules
from ocicaliban.formats.toml import read_toml, table_in

_TOOLS = (
    "setuptools", "hatch", "flit", "poetry", "pdm", "scikit-build", "maturin", "meson-python", "cython", "version",
    "uv-dynamic-versioning",
)  # fmt: skip
"""The tables [tool.NAME] that backends and their plugins read, or the beginnings of their names."""
_SECTIONS = ("metadata", "options", "build", "versioneer", "files", "backwards_compat", "global")
"""The sections of a setup.cfg that setuptools and its plugins read, or the beginnings of their names."""
_PURE = ("setuptools", "flit_core", "flit", "uv_build")
"""Backends that compile nothing, unless a setup.py says so. The others have hooks and scripts."""
_NAMES_PACKAGES = re.compile(r"\b(?:packages|py_modules|ext_modules)\b")
_LISTS = re.compile(r"\b(?:i?glob|rglob|listdir|scandir|iterdir|walk)\b")
"""What a setup.py calls to find files."""
_COMPILES = re.compile(r"\b(?:Extension|ext_modules|ext-modules|cythonize|build_ext|rust_extensions|cffi_modules)\b")


@frozen(kw_only=True)
class Mentions:
    """What the files of a build mention.

    `words` may be paths of files, patterns of them, or dotted names. `folders` are paths of folders of which the build
    reads all files, and `patterns` those of further files. `versions` are where the build finds the version. `programs`
    are those that it runs. `by_basename` says that a path may be put together from several words. `compiles` says that
    there are extensions to compile. `names_packages` says that they name the packages, so that setuptools does not
    search for them.
    """

    words: frozenset[str]
    folders: frozenset[str]
    patterns: frozenset[str]
    versions: tuple[VersionModule, ...]
    programs: Programs
    by_basename: bool
    compiles: bool
    names_packages: bool


def read_mentions(folder: Path, build: PackageBuild) -> Mentions:
    """Return what the files of a build in `folder` mention. Raises UsageError for a pyproject.toml that is not TOML."""
    raw = read_toml(folder / "pyproject.toml")[1] if (folder / "pyproject.toml").is_file() else {}
    config = setup_config(folder / "setup.cfg")
    versions = tuple(version_modules(raw, config, build.tool, build.name))
    tools = {name: table for name, table in table_in(raw, "tool").items() if name.startswith(_TOOLS)}
    uv = table_in(raw, "tool", "uv", "build-backend")
    found = set(_strings([table_in(raw, "project"), tools, uv, list(build.backend_path), _config_words(config)]))
    words = found - {each.path for each in versions}
    roots = ("", "src", *(posixpath.normpath(word) for word in words if _may_hold_packages(folder, word)))
    hooks = read_programs(folder, programs_of(raw), roots)
    setup = read_programs(folder, ["setup.py"], roots)
    script = _text(folder / "setup.py")
    words |= {word.partition(":")[0] for word in {*words, *setup.words} if ".py:" in word}  # cffi_modules
    setuptools = table_in(raw, "tool", "setuptools")
    options = config.options("options") if config.has_section("options") else []
    return Mentions(
        words=frozenset(words | setup.words | hooks.words),
        folders=frozenset(each for each in (*_folders(raw), *_listed(folder, hooks, setup)) if each),
        patterns=frozenset(_license_patterns(raw, config)) | _globs(setup),
        versions=versions,
        programs=Programs(files=setup.files | hooks.files, words=setup.words | hooks.words),
        by_basename=bool(setup.files or hooks.files),
        compiles=build.tool not in _PURE or "ext-modules" in setuptools or bool(_COMPILES.search(setup.text)),
        names_packages=bool({"packages", "py-modules", "ext-modules"} & {*setuptools})
        or bool({"packages", "py_modules"} & {*options})
        or bool(_NAMES_PACKAGES.search(script)),
    )


def _listed(folder: Path, hooks: Programs, setup: Programs) -> Iterator[str]:
    """Yield the folders of which programs may read all files. A setup.py has many words that are no paths."""
    words = hooks.words | (setup.words if _LISTS.search(setup.text) else set())
    yield from (word for word in words if _may_hold_packages(folder, word))


def _globs(setup: Programs) -> set[str]:
    """Return the patterns of files in a folder that a setup.py looks for."""
    return {word for word in setup.words if word.endswith("*") and "/" in word} if _LISTS.search(setup.text) else set()


def _is_folder(folder: Path, word: str) -> bool:
    """Whether a word in a program is the path of a folder below `folder`."""
    if not word or len(word) > 200 or "\0" in word or word.startswith(("/", "..")):
        return False
    return posixpath.normpath(word) != "." and (folder / word).is_dir()


def _may_hold_packages(folder: Path, word: str) -> bool:
    return _is_folder(folder, word) and not (folder / word / "__init__.py").is_file()


def _folders(raw: dict[str, Any]) -> Iterator[str]:
    """Yield the paths that a wheel takes up as data, and that an editable one takes up too."""
    wheel = table_in(raw, "tool", "hatch", "build", "targets", "wheel")
    for table in (wheel, table_in(raw, "tool", "hatch", "build")):
        for key in ("force-include", "shared-data", "shared-scripts", "extra-metadata", "dev-mode-dirs"):
            if isinstance(table.get(key), dict):
                yield from table[key]
    yield str(table_in(raw, "tool", "flit", "external-data").get("directory", ""))
    yield from _strings(list(table_in(raw, "tool", "uv", "build-backend", "data").values()))
    yield from _strings(list(table_in(raw, "tool", "pdm", "build", "wheel-data").values()))


def _license_patterns(raw: dict[str, Any], config: configparser.RawConfigParser) -> Iterator[str]:
    yield from _strings(table_in(raw, "project").get("license-files"))
    yield from _strings(table_in(raw, "tool", "setuptools").get("license-files"))
    if config.has_section("metadata"):
        values = [config.get("metadata", key, fallback="") for key in ("license_files", "license-files")]
        yield from (word for value in values for word in re.split(r"[\s,]+", value or "") if word)


def _strings(value: Any) -> Iterator[str]:
    """Yield all strings in a value of a TOML file, and the keys of its tables, which may be paths too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield key
            yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)


def _config_words(config: configparser.RawConfigParser) -> list[str]:
    """Return the words in a setup.cfg, in their order."""
    sections = [section for section in config.sections() if section.startswith(_SECTIONS)]
    values = [value for section in sections for _, value in config.items(section)]
    return [word for value in values for word in re.split(r"[\s,;]+", value or "") if word]


def _text(path: Path) -> str:
    """Return the text of a program, "" if there is none or it is not Python."""
    try:
        text = path.read_bytes().decode(errors="replace")
        ast.parse(text)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return ""
    return text
