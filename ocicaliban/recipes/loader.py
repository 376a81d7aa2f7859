"""TOML and JSON into the model's types, strictly, with the place of whatever is wrong."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args

import cattrs
from attrs import evolve, field, fields, frozen, has
from cattrs.cols import mapping_structure_factory
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn

from ocicaliban.errors import UsageError, nearest
from ocicaliban.formats.jsonc import Keys, line_of, read_json
from ocicaliban.model.project import Project, Push
from ocicaliban.model.recipe import Recipe
from ocicaliban.reporter import SILENT, Reporter


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

    def element_hook(element: Any, item: Any, index: int) -> Any:
        try:
            return converter.structure(element, item)
        except (BaseValidationError, ValueError) as exc:
            exc.add_note(IterableValidationNote(f"element {index}", index, item))
            raise IterableValidationError("a list", [exc], tuple) from exc

    def tuple_hook(kind: Any) -> Any:
        item = get_args(kind)[0]

        def structure(value: Any, _: Any) -> Any:
            if type(value) is not list:
                raise ValueError(f"expected a list, got {_WORDS.get(type(value), type(value).__name__)}")
            return tuple(element_hook(element, item, index) for index, element in enumerate(value))

        return structure

    converter.register_structure_hook_factory(is_tuple, tuple_hook)

    def table_hook(kind: Any) -> Any:
        inner = (
            make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True)
            if has(kind)
            else mapping_structure_factory(kind, converter)  # gen_structure_mapping would take this hook's place
        )

        def structure(value: Any, _: Any) -> Any:
            if type(value) is not dict:
                raise ValueError(f"expected a table, got {_WORDS.get(type(value), type(value).__name__)}")
            return inner(value, kind)

        return structure

    converter.register_structure_hook_factory(
        lambda kind: has(kind) or getattr(kind, "__origin__", None) is dict, table_hook
    )

    def literal(value: Any, kind: Any) -> Any:
        if value not in get_args(kind):
            raise ValueError(f"expected one of {', '.join(get_args(kind))}, got {value!r}")
        return value

    converter.register_structure_hook_func(lambda kind: getattr(kind, "__origin__", None) is Literal, literal)

    def value_or_list(value: Any, kind: Any) -> Any:
        if type(value) is list:
            if not all(type(item) is str for item in value):
                raise ValueError("expected a list of strings")
            return tuple(value)
        if type(value) in get_args(kind):
            return value
        words = [_WORDS[plain] for plain in get_args(kind) if plain in _WORDS]
        raise ValueError(f"expected {', '.join(words)} or a list of strings")

    def is_value(kind: Any) -> bool:
        # The unions of the model are all "one plain value, or a list of strings".
        return isinstance(kind, UnionType) and tuple[str, ...] in get_args(kind)

    converter.register_structure_hook_func(is_value, value_or_list)
    return converter


CONVERTER = _strict()


def read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """The text of a TOML file and what it holds.

    Raises UsageError with the file and line where it is not TOML, or cannot be read.
    """
    text = _read_text(path)
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        line = re.search(r"at line (\d+)", str(exc))
        place = f"{path}:{line[1]}" if line else str(path)
        raise UsageError(f"{place}: not valid TOML: {exc}", "mend the file at that place") from exc


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as exc:
        raise UsageError(f"{path}: not UTF-8", "save the file as UTF-8") from exc
    except OSError as exc:
        raise UsageError(f"{path}: cannot be read: {exc.strerror}", "make it a file that you can read") from exc


def place_of(root: Path, keys: Keys) -> str:
    """Where the project in `root` says what stands at `keys`: its configuration's file, with the line if it can tell.

    What the configuration does not say has the file alone.
    """
    path = root / "ocicaliban.toml"
    if path.is_file():
        return _place(path, read_toml(path)[0], keys)
    path = root / CALIBAN
    if not path.is_file():
        return str(root / "ocicaliban.toml")
    theirs = next((name for name, ours in _CALIBAN_KEYS.items() if ours == keys[1:3]), "")
    return _json_place(path, _read_text(path), theirs)


def _json_place(path: Path, text: str, key: str) -> str:
    found = (number for number, line in enumerate(text.splitlines(), 1) if f'"{key}"' in line)
    line = next(found, 0)
    return f"{path}:{line}" if line else str(path)


def structure(value: Any, kind: Any, *, path: Path, text: str = "") -> Any:
    """`value` as the type `kind`; a fault becomes a UsageError that names file, line and key."""
    try:
        return CONVERTER.structure(value, kind)
    except (BaseValidationError, ValueError) as exc:
        keys, fault = _first(exc, ())
        shown = ".".join(key for key in keys if isinstance(key, str))
        if isinstance(fault, ForbiddenExtraKeysError | KeyError):
            what = f"{'key' if isinstance(fault, KeyError) else 'unknown key'} '{shown}'"
            what += " is missing" if isinstance(fault, KeyError) else ""
        else:
            what = str(fault) + (f" in {shown}" if shown else "")
        hint = "see docs/reference for what this file may hold"
        if isinstance(fault, ForbiddenExtraKeysError):
            hint = nearest(str(keys[-1]), [known.alias for known in fields(fault.cl) if known.alias not in _OURS])
        raise UsageError(f"{_place(path, text, keys)}: {what}", hint) from exc


_OURS = ("name", "scripts", "origin", "root")
"""Fields that a configuration file does not set."""


def _place(path: Path, text: str, keys: Keys) -> str:
    line = line_of(text, keys) if text else 0
    return f"{path}:{line}" if line else str(path)


def _first(exc: Exception, keys: Keys) -> tuple[Keys, Exception]:
    """The first fault in what cattrs raised, and the keys that lead to it."""
    if isinstance(exc, ForbiddenExtraKeysError):
        return (*keys, sorted(exc.extra_fields)[0]), exc
    if not isinstance(exc, BaseValidationError):
        return keys, exc
    # A misspelt key explains the missing one.
    inner = min(exc.exceptions, key=lambda fault: not isinstance(fault, ForbiddenExtraKeysError))
    for note in getattr(inner, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return _first(inner, (*keys, note.name))
        if isinstance(note, IterableValidationNote):
            return _first(inner, (*keys, note.index))
    return _first(inner, keys)


_STEP_KEYS = {
    "run": (("script",), ("env", "files", "cache", "tools", "secrets")),
    "copy": (("tree", "to"), ()),
    "configure": ((), ("env", "path", "workdir", "entrypoint", "ports")),
}
"""What each kind of step must have, and what it may have."""


_SEEN = ("script", "uv", "uv.toml", "ca.crt", "apt.conf", "secrets")
"""What a step sees below /dev/oc besides its own files."""


def load_recipe(folder: Path, origin: str) -> Recipe:
    """The recipe in `folder` (its layer.toml and the scripts that it names)."""
    path = folder / "layer.toml"
    text, raw = read_toml(path)
    scripts: dict[str, str] = {}
    steps = raw.get("steps", [])
    for step in steps if isinstance(steps, list) else []:
        name = step.get("script") if isinstance(step, dict) else None
        if isinstance(name, str) and name:
            script = folder / name
            if not script.is_file() or script.resolve().parent != folder.resolve():
                raise UsageError(f"{path}: the script {name} does not lie beside it", f"create {script}")
            scripts[name] = _read_text(script)
    for reserved in _OURS:
        if reserved in raw:
            hint = "a recipe is called as its folder" if reserved == "name" else "remove it"
            raise UsageError(f"{path}:{line_of(text, (reserved,))}: unknown key '{reserved}'", hint)
    recipe = structure(raw | {"name": folder.name, "origin": origin}, Recipe, path=path, text=text)
    assert isinstance(recipe, Recipe)
    for number, step in enumerate(raw.get("steps", [])):
        needed, allowed = _STEP_KEYS[step["do"]]
        for key in needed:
            if not step.get(key):
                place = _place(path, text, ("steps", number))
                raise UsageError(f"{place}: a step that does '{step['do']}' needs '{key}'", f'{key} = "..."')
        for name in step.get("files", {}):
            if name in _SEEN or "/" in name:
                place = _place(path, text, ("steps", number, "files"))
                raise UsageError(f"{place}: the file '{name}' of a step cannot be called so", "give it another name")
        for name in step.get("env", {}):
            if not name.isidentifier() or not name.isascii():
                place = _place(path, text, ("steps", number, "env"))
                raise UsageError(f"{place}: '{name}' is no name for a variable", "letters, digits and _ make one")
        if not str(step.get("to", "/")).startswith(("/", "${")):
            place = _place(path, text, ("steps", number, "to"))
            raise UsageError(f"{place}: '{step['to']}' is not absolute", f"/usr/app/{step['to']}, for example")
        for key in step:
            if key not in ("do", "when", *needed, *allowed):
                place = _place(path, text, ("steps", number, key))
                hint = f"it takes: when, {', '.join((*needed, *allowed))}"
                raise UsageError(f"{place}: a step that does '{step['do']}' takes no '{key}'", hint)
    return evolve(recipe, scripts=scripts)


@frozen(kw_only=True)
class _Modes:
    modes: dict[str, tuple[str, ...]] = field(factory=dict)


def load_modes(path: Path) -> dict[str, tuple[str, ...]]:
    """The modes of a modes.toml: for each its recipes, from the bottom up."""
    text, raw = read_toml(path)
    modes = structure(raw, _Modes, path=path, text=text)
    assert isinstance(modes, _Modes)
    return modes.modes


@frozen(kw_only=True)
class _Bare:
    root: str
    modes: dict[str, tuple[str, ...]] = field(factory=dict)
    extras: tuple[str, ...] = ()
    dirs: tuple[str, ...] = ()
    secrets: dict[str, str] = field(factory=dict)
    push: Push = field(factory=Push)


CALIBAN = ".calibanconfig.json"
_CALIBAN_KEYS = {"apt_packages": ("apt", "packages"), "base_image": ("base", "image")}
_CALIBAN_UNUSED = {
    "build_time_credentials": "[secrets] in ocicaliban.toml gives a build what it needs, and no image keeps it",
    "default_mode": "the GPU is used if there is one; --gpu and --nogpu choose",
    "julia_version": "a recipe of your own in layers/ can install Julia",
    "gcloud": "it is not needed to build and run here",
    "project_id": "it is not needed to build and run here",
    "cloud_key": "it is not needed to build and run here",
    "mlflow_config": "set MLFLOW_TRACKING_URI in the script, or by --podman-args",
}
"""Caliban's other keys, which are accepted but not acted on, and what there is instead."""


def load_project(root: Path, reporter: Reporter = SILENT) -> Project:
    """The project in the folder `root`: ocicaliban.toml, or Caliban's .calibanconfig.json, or neither.

    `reporter` gets a line for each of Caliban's keys that is not acted on. Raises UsageError with file, line and key.
    """
    path = root / "ocicaliban.toml"
    if path.is_file():
        text, raw = read_toml(path)
        known = ("layers", "modes", "extras", "dirs", "secrets", "push")
        for key in raw:
            if key not in known:
                raise UsageError(f"{_place(path, text, (key,))}: unknown key '{key}'", nearest(key, known))
        layers = raw.pop("layers", {})
        if not isinstance(layers, dict) or not all(isinstance(table, dict) for table in layers.values()):
            wrong: Keys = ("layers",)
            if isinstance(layers, dict):
                wrong = ("layers", next(name for name, table in layers.items() if not isinstance(table, dict)))
            place = _place(path, text, wrong)
            raise UsageError(f"{place}: 'layers' holds one table for each recipe", '[layers.apt]\npackages = ["git"]')
        project = structure(raw | {"root": str(root)}, _Bare, path=path, text=text)
        return Project(
            root=root,
            layers=layers,
            modes=project.modes,
            extras=project.extras,
            dirs=project.dirs,
            secrets=project.secrets,
            push=project.push,
        )
    path = root / CALIBAN
    if path.is_file():
        return _from_caliban(root, path, reporter)
    return Project(root=root)


def _from_caliban(root: Path, path: Path, reporter: Reporter) -> Project:
    text = _read_text(path)
    try:
        raw = read_json(text)
    except (ValueError, RecursionError) as exc:
        raise UsageError(f"{path}: not valid JSON: {exc}", "comments are allowed, everything else is JSON") from exc
    if not isinstance(raw, dict):
        raise UsageError(f"{path}: expected an object", '{"apt_packages": ["git"]}')
    layers: dict[str, dict[str, object]] = {}
    for key, value in raw.items():
        if key in _CALIBAN_UNUSED:
            reporter.note(f"{path.name}: '{key}' is not acted on: {_CALIBAN_UNUSED[key]}")
        elif key not in _CALIBAN_KEYS:
            place = _json_place(path, text, key)
            raise UsageError(f"{place}: unknown key '{key}'", nearest(key, (*_CALIBAN_KEYS, *_CALIBAN_UNUSED)))
        elif value is not None:
            recipe, parameter = _CALIBAN_KEYS[key]
            layers[recipe] = {parameter: _caliban_image(value) if key == "base_image" else value}
    return Project(root=root, layers=layers)


_DLVM = re.compile(r"dlvm:([a-z0-9]+-(?:cpu|gpu))(?:-(\d+)\.(\d+))?")


def _caliban_image(value: object) -> object:
    """Caliban's base_image: `{}` stands for cpu or gpu, `dlvm:LIBRARY-cpu-VERSION` for a deep learning image."""
    if isinstance(value, str) and "{}" in value:
        value = {"cpu": value, "gpu": value}
    if isinstance(value, dict):
        images = {variant: image for variant, image in value.items() if image is not None}
        return {
            variant: _caliban_image(image.replace("{}", variant)) if isinstance(image, str) else image
            for variant, image in images.items()
        }
    if isinstance(value, str) and (match := _DLVM.fullmatch(value)):
        version = f".{match[2]}-{match[3]}" if match[2] else ""
        return f"gcr.io/deeplearning-platform-release/{match[1]}{version}"
    return value
