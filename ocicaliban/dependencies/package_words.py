"""Find what the files of a package's build mention: names of files, folders and modules."""

from __future__ import annotations

import ast
import configparser
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from ocicaliban.dependencies.packages import PackageBuild, setup_config
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
_COMPILES = re.compile(r"\b(?:Extension|ext_modules|ext-modules|cythonize|build_ext|rust_extensions|cffi_modules)\b")


@frozen(kw_only=True)
class Mentions:
    """What the files of a build mention.

    `words` may be paths of files, patterns of them, or dotted names. `modules` are dotted names of modules that the
    build imports or reads. `by_basename` says that a path may be put together from several words. `compiles` says
    that there are extensions to compile. `names_packages` says that they name the packages, so that setuptools does
    not search for them.
    """

    words: frozenset[str]
    modules: frozenset[str]
    by_basename: bool
    compiles: bool
    names_packages: bool


def read_mentions(folder: Path, build: PackageBuild) -> Mentions:
    """Return what the files of a build in `folder` mention. Raises UsageError for a pyproject.toml that is not TOML."""
    words: set[str] = set()
    modules: set[str] = set()
    raw = read_toml(folder / "pyproject.toml")[1] if (folder / "pyproject.toml").is_file() else {}
    tools = {name: table for name, table in table_in(raw, "tool").items() if name.startswith(_TOOLS)}
    uv = table_in(raw, "tool", "uv", "build-backend")
    words |= set(_strings([table_in(raw, "project"), tools, uv, list(build.backend_path)]))
    setuptools = table_in(raw, "tool", "setuptools")
    modules |= {str(each["attr"]) for each in table_in(setuptools, "dynamic").values() if _has(each, "attr")}
    getter = table_in(raw, "tool", "pdm", "version").get("getter")
    if isinstance(getter, str):
        modules.add(getter.partition(":")[0])
    if build.tool.startswith("flit"):
        module = table_in(raw, "tool", "flit", "module").get("name")
        modules.add(str(module or build.name.replace("-", "_")))
    config = setup_config(folder / "setup.cfg")
    listed = _config_words(config)
    words |= {*listed}
    modules |= {word for before, word in itertools.pairwise(listed) if before == "attr:"}
    script, text = _script_words(folder / "setup.py")
    options = config.options("options") if config.has_section("options") else []
    return Mentions(
        words=frozenset(words | script),
        modules=frozenset(modules),
        by_basename=bool(script) or "build" in table_in(raw, "tool", "poetry"),
        compiles=build.tool not in _PURE or "ext-modules" in setuptools or bool(_COMPILES.search(text)),
        names_packages=bool({"packages", "py-modules", "ext-modules"} & {*setuptools})
        or bool({"packages", "py_modules"} & {*options})
        or bool(_NAMES_PACKAGES.search(text)),
    )


def _has(value: object, key: str) -> bool:
    return isinstance(value, dict) and key in value


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


def _script_words(path: Path) -> tuple[set[str], str]:
    """Return the string constants of a setup.py, and its text; nothing if there is none."""
    try:
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return set(), ""
    constants = {
        node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return constants | {"setup.py"}, text
