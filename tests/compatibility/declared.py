"""What a project's own files declare, read without ocicaliban's code, so that its faults are not repeated here."""

from __future__ import annotations

import configparser
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from attrs import Factory, frozen
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ANY_VERSION = SpecifierSet()


@frozen(kw_only=True)
class Declared:
    """What must be in the container.

    `locked` has the versions that a lock allows for each package; a package that a lock does not name may not be
    installed. None if there is no lock. `wanted` are the requirements of the project itself, `python` what the files
    say about Python, and `debian` the packages of apt.txt.
    """

    locked: Mapping[str, frozenset[str]] | None = None
    wanted: tuple[Requirement, ...] = ()
    python: Mapping[str, SpecifierSet] = Factory(dict)
    debian: tuple[str, ...] = ()


def _toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text("utf-8-sig"))


def _requirements(texts: Iterable[str]) -> Iterator[Requirement]:
    for text in texts:
        try:
            yield Requirement(text)
        except InvalidRequirement:
            continue  # a path or an address: what it brings has no version to compare


def _lines(path: Path) -> Iterator[str]:
    """The requirements in a requirements.txt, those of other files that it includes too."""
    for line in path.read_text("utf-8-sig").replace("\\\n", " ").splitlines():
        text = re.sub(r"(^|\s)#.*", "", line).strip()
        if include := re.match(r"(?:-r|--requirement)[ =]?(.*)", text):
            yield from _lines(path.parent / include[1].strip())
        elif text and not text.startswith("-"):
            yield text.partition(" --hash")[0]


# --- locks: the versions that may be there ---


def _versions(pairs: Iterable[tuple[str, str]]) -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for name, version in pairs:
        found.setdefault(canonicalize_name(name), set()).add(version)
    return {name: frozenset(versions) for name, versions in found.items()}


def _of_tables(key: str) -> Callable[[Path], Iterable[tuple[str, str]]]:
    def read(path: Path) -> Iterable[tuple[str, str]]:
        return [(each["name"], each.get("version", "")) for each in _toml(path)[key]]

    return read


def _pipfile_lock(path: Path) -> Iterable[tuple[str, str]]:
    default = json.loads(path.read_text())["default"]
    return [(name, each["version"].removeprefix("==")) for name, each in default.items() if "version" in each]


def _conda_lock(path: Path) -> Iterable[tuple[str, str]]:
    packages = yaml.safe_load(path.read_text())["package"]
    return [(each["name"], each["version"]) for each in packages if each["platform"] == "linux-64"]


def _pixi_lock(path: Path) -> Iterable[tuple[str, str]]:
    for each in yaml.safe_load(path.read_text())["packages"]:
        file = each.get("conda", each.get("pypi", "")).rpartition("/")[2]
        name, version = file.rsplit("-", 2)[:2] if "conda" in each else (each.get("name", ""), each.get("version", ""))
        yield name, str(version)


LOCKS: Mapping[str, Callable[[Path], Iterable[tuple[str, str]]]] = {
    "uv.lock": _of_tables("package"),
    "pylock.toml": _of_tables("packages"),
    "poetry.lock": _of_tables("package"),
    "pdm.lock": _of_tables("package"),
    "Pipfile.lock": _pipfile_lock,
    "conda-lock.yml": _conda_lock,
    "pixi.lock": _pixi_lock,
}

# --- what the project itself wants ---


def _pyproject(path: Path) -> Iterable[str]:
    raw = _toml(path)
    yield from raw.get("project", {}).get("dependencies", ())
    yield from (name for name in raw.get("tool", {}).get("poetry", {}).get("dependencies", {}) if name != "python")


def _setup_cfg(path: Path) -> Iterable[str]:
    parser = configparser.ConfigParser()
    parser.read_string(path.read_text())
    return parser.get("options", "install_requires", fallback="").split("\n")


def _environment_yml(path: Path) -> Iterable[str]:
    for each in yaml.safe_load(path.read_text()).get("dependencies", ()):
        yield from each.get("pip", ()) if isinstance(each, dict) else ()


def _script(path: Path) -> Iterable[str]:
    yield from _header(path).get("dependencies", ())


HEADER = re.compile(r"(?m)^# /// script$\s(?P<lines>(^#(| .*)$\s)+)^# ///$")
"""The header of a script by PEP 723."""


def _header(path: Path) -> dict[str, Any]:
    block = HEADER.search(path.read_text())
    return tomllib.loads(re.sub(r"(?m)^# ?", "", block["lines"])) if block else {}


WANTED: Mapping[str, Callable[[Path], Iterable[str]]] = {
    "pyproject.toml": _pyproject,
    "setup.cfg": _setup_cfg,
    "environment.yml": _environment_yml,
    "Pipfile": lambda path: list(_toml(path).get("packages", ())),
    ".txt": _lines,
    ".py": _script,
}

# --- Python ---


def _release(text: str) -> SpecifierSet:
    """What a file means that has nothing but a version: any release of it."""
    version = text.strip().removeprefix("python-").removeprefix("cpython-")
    return SpecifierSet(f"=={version}.*" if version.count(".") < 2 else f"=={version}")


def _poetry_range(text: str) -> SpecifierSet:
    """poetry's `^3.8` and `~3.8`; other texts are as in PEP 440."""
    if text.startswith("^"):
        return SpecifierSet(f">={text[1:]},<{int(text[1:].partition('.')[0]) + 1}")
    return SpecifierSet(f"~={text[1:]}" if text.startswith("~") and "=" not in text else text)


def _pythons(folder: Path, script: str) -> Iterator[tuple[str, SpecifierSet]]:
    if (path := folder / "pyproject.toml").is_file():
        raw = _toml(path)
        if text := raw.get("project", {}).get("requires-python"):
            yield "pyproject.toml: requires-python", SpecifierSet(text)
        poetry = raw.get("tool", {}).get("poetry", {}).get("dependencies", {}).get("python")
        if poetry:
            yield "pyproject.toml: tool.poetry.dependencies.python", _poetry_range(poetry)
    for name in (".python-version", "runtime.txt"):
        if (path := folder / name).is_file():
            yield name, _release(path.read_text())
    if (path := folder / "Pipfile").is_file() and (text := _toml(path).get("requires", {}).get("python_version")):
        yield "Pipfile: python_version", _release(text)
    if (path := folder / "cog.yaml").is_file():
        yield "cog.yaml: python_version", _release(yaml.safe_load(path.read_text())["build"]["python_version"])
    if (path := folder / "environment.yml").is_file():
        for each in re.findall(r"(?m)^\s*- python=+([\d.]+)$", path.read_text()):
            yield "environment.yml: python", _release(each)
    if script.endswith(".py") and (text := _header(folder / script).get("requires-python")):
        yield f"{script}: requires-python", SpecifierSet(text)


def declared(folder: Path, way: str) -> Declared:
    """Return what the files of a project declare, of which the file `way` is the source of its packages."""
    path = folder / way
    lock = LOCKS.get(path.name)
    beside = [folder / name for name in ("pyproject.toml", "Pipfile")] if lock else [path]
    wanted: list[Requirement] = []
    for each in beside:
        read = WANTED.get(each.name) or WANTED.get(each.suffix)
        if read and each.is_file() and each.name != "apt.txt":
            wanted += _requirements(read(each))
    debian = folder / "apt.txt"
    return Declared(
        locked=_versions(lock(path)) if lock else None,
        wanted=tuple(wanted),
        python=dict(_pythons(folder, way)),
        debian=tuple(debian.read_text().split()) if debian.is_file() else (),
    )
