"""Read recipes (`layer.toml` and the scripts beside it) and modes (`modes.toml`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from ocicaliban.errors import UsageError
from ocicaliban.formats.key_lines import Keys
from ocicaliban.formats.toml import place, read_text, read_toml, structure
from ocicaliban.model.recipe import LaunchTemplate, Param, Recipe, StepTemplate

FILE = "layer.toml"
_STEP_KEYS = {
    "run": (
        ("script",),
        (
            "env",
            "files",
            "programs",
            "trees",
            "hint",
            "cache",
            "tools",
            "secrets",
            "index",
            "uv_settings",
            "root_only",
            "within",
            "singly",
        ),
    ),
    "copy": (("tree", "to"), ()),
    "configure": ((), ("env", "variables", "path", "workdir", "entrypoint", "ports")),
}
"""The keys that each kind of step needs, and those that it may have."""
_CAPABILITY = re.compile("(?!CAP_)[A-Z][A-Z_]{2,}")
_RESERVED_FILES = ("script", "uv", "uv.toml", "ca.crt", "apt.conf", "secrets")
"""The names below /dev/oc that a step's own files cannot have."""


@frozen(kw_only=True)
class _RecipeFile:
    """The keys of a `layer.toml`. `each` is the former name of `inputs`."""

    summary: str
    after: tuple[str, ...] = ()
    provides: str = ""
    inputs: tuple[str, ...] | str = ()
    each: str = ""
    params: dict[str, Param] = field(factory=dict)
    steps: tuple[StepTemplate, ...] = ()
    launch: LaunchTemplate = field(factory=LaunchTemplate)


@frozen(kw_only=True)
class Modes:
    """The contents of a `modes.toml`.

    `modes` holds the recipes of each mode, from the bottom up. `mount` names, for what a recipe provides, the recipe
    that takes its place with --mount.
    """

    modes: dict[str, tuple[str, ...]] = field(factory=dict)
    mount: dict[str, str] = field(factory=dict)


def load_recipe(folder: Path, origin: str) -> Recipe:
    """Return the recipe in `folder`, with the text of its scripts.

    `origin` says where the folder comes from: project, user or built-in. Raises UsageError with file, line and key for
    a mistake.
    """
    path = folder / FILE
    text, raw = read_toml(path)
    scripts = _scripts(path, raw.get("steps", []))
    file = structure(raw, _RecipeFile, path=path, text=text)
    assert isinstance(file, _RecipeFile)
    if file.inputs and file.each:
        raise UsageError(
            f"{place(path, text, ('each',))}: 'each' is the former name of 'inputs', which the recipe has too",
            "remove 'each'",
        )
    for number, step in enumerate(raw.get("steps", [])):
        _check_step(step, ("steps", number), path, text)
    for number, name in enumerate(file.launch.capabilities):
        if not _CAPABILITY.fullmatch(name):
            where = place(path, text, ("launch", "capabilities", number))
            raise UsageError(f"{where}: '{name}' is not the name of a capability", 'capabilities = ["CHOWN", "SETUID"]')
    inputs = file.inputs or file.each
    return Recipe(
        name=folder.name,
        summary=file.summary,
        after=file.after,
        provides=file.provides,
        inputs=inputs if isinstance(inputs, tuple) else (inputs,) if inputs else (),
        params=file.params,
        steps=file.steps,
        launch=file.launch,
        scripts=scripts,
        origin=origin,
    )


def _scripts(path: Path, steps: Any) -> dict[str, str]:
    """Return the text of each script and program that the steps of a recipe name.

    `steps` are as read, not checked yet.
    """
    scripts: dict[str, str] = {}
    for step in steps if isinstance(steps, list) else []:
        named = [step.get("script"), *_listed(step.get("programs"))] if isinstance(step, dict) else []
        for name in named:
            if not isinstance(name, str) or not name:
                continue
            script = path.parent / name
            if not script.is_file() or script.resolve().parent != path.parent.resolve():
                raise UsageError(f"{path}: there is no script '{name}' in the recipe's folder", f"create {script}")
            scripts[name] = read_text(script)
    return scripts


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _check_step(step: Mapping[str, Any], keys: Keys, path: Path, text: str) -> None:
    """Raise UsageError if a step has keys, or names in them, that a step of its kind cannot have."""
    kind = step["do"]
    needed, allowed = _STEP_KEYS[kind]
    for key in needed:
        if not step.get(key):
            raise UsageError(f"{place(path, text, keys)}: a '{kind}' step needs '{key}'", f'{key} = "..."')
    for name in (*step.get("files", {}), *step.get("programs", ())):
        if name in _RESERVED_FILES or "/" in name:
            where = place(path, text, (*keys, "files"))
            reason = "it contains a slash" if "/" in name else "ocicaliban uses this name"
            raise UsageError(f"{where}: a step cannot have a file '{name}': {reason}", "choose another name")
    for name in step.get("cache", ()):
        if not name.startswith("/") or ":" in name or {"", ".", ".."} & {*name.strip("/").split("/")}:
            where = place(path, text, (*keys, "cache"))
            raise UsageError(
                f"{where}: '{name}' is not a folder of the container that can be kept",
                'cache lists absolute paths, without colons: cache = ["/var/cache/apt"]',
            )
    for name in step.get("env", {}):
        if not name.isidentifier() or not name.isascii():
            where = place(path, text, (*keys, "env"))
            raise UsageError(f"{where}: '{name}' is not a valid name of a variable", "use letters, digits and _")
    if not str(step.get("to", "/")).startswith(("/", "${")):
        where = place(path, text, (*keys, "to"))
        raise UsageError(f"{where}: '{step['to']}' is not an absolute path", f"for example /usr/app/{step['to']}")
    for key in step:
        if key not in ("do", "when", *needed, *allowed):
            where = place(path, text, (*keys, key))
            hint = f"its keys are: when, {', '.join((*needed, *allowed))}"
            raise UsageError(f"{where}: a '{kind}' step cannot have '{key}'", hint)


def load_modes(path: Path) -> Modes:
    """Return the modes of a `modes.toml`."""
    text, raw = read_toml(path)
    modes = structure(raw, Modes, path=path, text=text)
    assert isinstance(modes, Modes)
    return modes
