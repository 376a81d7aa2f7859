"""TOML and JSON into the model's types, strictly, with the place of whatever is wrong."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from types import UnionType
from typing import Any, get_args

import cattrs
from attrs import evolve, field, frozen
from cattrs.errors import BaseValidationError
from cattrs.v import transform_error

from ocicaliban.errors import UsageError
from ocicaliban.model import Project, Recipe

_HEADER = re.compile(r"^\s*\[\[?\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"^\s*([A-Za-z0-9_.\"'-]+)\s*=")


def _exact(kind: type) -> Any:
    def structure(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise ValueError(f"expected {_WORDS[kind]}, got {_WORDS.get(type(value), type(value).__name__)}")
        return value

    return structure


_WORDS: dict[type, str] = {
    str: "a string",
    int: "a whole number",
    bool: "true or false",
    float: "a number",
    list: "a list",
    dict: "a table",
}


def _strict() -> cattrs.Converter:
    # cattrs converts where it can ("false" becomes True); a configuration file must say what it means.
    converter = cattrs.Converter(forbid_extra_keys=True)
    for kind in (str, int, bool):
        converter.register_structure_hook(kind, _exact(kind))

    def is_tuple(kind: Any) -> bool:
        return getattr(kind, "__origin__", None) is tuple

    def tuple_hook(kind: Any) -> Any:
        item = get_args(kind)[0]

        def structure(value: Any, _: Any) -> Any:
            if type(value) is not list:
                raise ValueError(f"expected a list, got {_WORDS.get(type(value), type(value).__name__)}")
            return tuple(converter.structure(element, item) for element in value)

        return structure

    converter.register_structure_hook_factory(is_tuple, tuple_hook)

    def value_or_list(value: Any, _: Any) -> Any:
        if type(value) is list:
            if not all(type(item) is str for item in value):
                raise ValueError("expected a list of strings")
            return tuple(value)
        if type(value) in (str, int, bool):
            return value
        raise ValueError("expected a string, a number, true or false, or a list of strings")

    def is_value(kind: Any) -> bool:
        # The unions of the model are all "one plain value, or a list of strings".
        return isinstance(kind, UnionType) and tuple[str, ...] in get_args(kind)

    converter.register_structure_hook_func(is_value, value_or_list)
    return converter


CONVERTER = _strict()


def line_of(text: str, path: tuple[str, ...]) -> int:
    """The 1-based line at which the key at `path` stands in a TOML text, or 0 when it cannot be told.

    tomllib keeps no positions; a scan of headers and keys finds what people write by hand.
    """
    table: tuple[str, ...] = ()
    best = 0
    for number, line in enumerate(text.splitlines(), 1):
        if match := _HEADER.match(line):
            table = tuple(part.strip().strip("\"'") for part in match[1].split("."))
            if table and table == path[: len(table)]:
                best = number
        elif match := _KEY.match(line):
            key = (*table, *(part.strip().strip("\"'") for part in match[1].split(".")))
            if key == path[: len(key)]:
                best = number
                if key == path:
                    break
    return best


def read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """The text of a TOML file and what it holds.

    Raises UsageError with the file and line where it is not TOML, or cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise UsageError(f"{path}: not valid TOML: {exc}", "mend the file at that place") from exc
    except UnicodeDecodeError as exc:
        raise UsageError(f"{path}: not UTF-8", "save the file as UTF-8") from exc
    except OSError as exc:
        raise UsageError(f"{path}: cannot be read: {exc.strerror}") from exc


def structure(value: Any, kind: Any, *, path: Path, text: str = "") -> Any:
    """`value` as the type `kind`; a fault becomes a UsageError that names file, line and key."""
    try:
        return CONVERTER.structure(value, kind)
    except (BaseValidationError, ValueError) as exc:
        faults = [fault.replace(" @ $.", " in ").replace(" @ $", "") for fault in transform_error(exc)]
        first = faults[0]
        if match := re.match(r"extra fields found \((.+)\)(?: in (.+))?$", first):
            where = (*(match[2] or "").split("."), match[1].split(",")[0].strip())
            first = f"unknown key '{'.'.join(part for part in where if part)}'"
            keys = tuple(part for part in where if part)
        else:
            named = re.search(r" in (.+)$", first)
            raw = named[1] if named else ""
            keys = tuple(part for part in re.split(r"\.|\[['\"]?|['\"]?\]", raw) if part and not part.isdigit())
            first = re.sub(r"^invalid value for type, expected .*?(?= in |$)", _why(exc), first)
        line = line_of(text, keys) if text else 0
        place = f"{path}:{line}" if line else str(path)
        raise UsageError(f"{place}: {first}", "`ocicaliban layers show NAME` lists a recipe's keys") from exc


def _why(exc: BaseException) -> str:
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return str(exc)


def load_recipe(folder: Path, origin: str) -> Recipe:
    """The recipe in `folder` (its layer.toml and the scripts that it names)."""
    path = folder / "layer.toml"
    text, raw = read_toml(path)
    scripts: dict[str, str] = {}
    for step in raw.get("steps", []):
        name = step.get("script") if isinstance(step, dict) else None
        if isinstance(name, str) and name:
            script = folder / name
            if not script.is_file() or script.resolve().parent != folder.resolve():
                raise UsageError(f"{path}: the script {name} does not lie beside it", f"create {script}")
            scripts[name] = script.read_text(encoding="utf-8")
    for reserved in ("name", "scripts", "origin"):
        if reserved in raw:
            raise UsageError(f"{path}:{line_of(text, (reserved,))}: unknown key '{reserved}'")
    recipe = structure(raw | {"name": folder.name, "origin": origin}, Recipe, path=path, text=text)
    assert isinstance(recipe, Recipe)
    return evolve(recipe, scripts=scripts)


def load_modes(path: Path) -> dict[str, tuple[str, ...]]:
    """The modes of a modes.toml: for each its recipes, from the bottom up."""
    text, raw = read_toml(path)
    modes = structure(raw.get("modes", {}), dict[str, tuple[str, ...]], path=path, text=text)
    assert isinstance(modes, dict)
    return modes


@frozen(kw_only=True)
class _Bare:
    root: str
    modes: dict[str, tuple[str, ...]] = field(factory=dict)
    extras: tuple[str, ...] = ()
    dirs: tuple[str, ...] = ()
    secrets: dict[str, str] = field(factory=dict)


_CALIBAN_IGNORED = ("build_time_credentials", "julia_version", "default_mode", "gcloud", "project_id", "cloud_key")


def load_project(root: Path) -> Project:
    """The project in the folder `root`: ocicaliban.toml, or Caliban's .calibanconfig.json, or neither."""
    path = root / "ocicaliban.toml"
    if path.is_file():
        text, raw = read_toml(path)
        unknown = set(raw) - {"layers", "modes", "extras", "dirs", "secrets"}
        if unknown:
            key = sorted(unknown)[0]
            raise UsageError(
                f"{path}:{line_of(text, (key,))}: unknown key '{key}'",
                "known here: layers, modes, extras, dirs, secrets",
            )
        layers = raw.pop("layers", {})
        if not isinstance(layers, dict) or not all(isinstance(table, dict) for table in layers.values()):
            raise UsageError(f"{path}: 'layers' holds one table for each recipe", '[layers.apt]\npackages = ["git"]')
        project = structure(raw | {"root": str(root)}, _Bare, path=path, text=text)
        return Project(
            root=root,
            layers=layers,
            modes=project.modes,
            extras=project.extras,
            dirs=project.dirs,
            secrets=project.secrets,
        )
    path = root / ".calibanconfig.json"
    if path.is_file():
        return _from_caliban(root, path)
    return Project(root=root)


def _from_caliban(root: Path, path: Path) -> Project:
    import json5

    try:
        raw = json5.loads(path.read_text(encoding="utf-8"))
    except ValueError as exc:
        raise UsageError(f"{path}: not valid JSON: {exc}", "comments are allowed, everything else is JSON") from exc
    if not isinstance(raw, dict):
        raise UsageError(f"{path}: expected an object")
    layers: dict[str, dict[str, object]] = {}
    for key, value in raw.items():
        if key == "apt_packages":
            layers["apt"] = {"packages": value}
        elif key == "base_image":
            layers["base"] = {"image": value}
        elif key not in _CALIBAN_IGNORED:
            raise UsageError(f"{path}: unknown key '{key}'", "known here: apt_packages, base_image")
    return Project(root=root, layers=layers)
