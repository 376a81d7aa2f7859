"""Check the parameters of a recipe, and substitute them in its strings; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ocicaliban.errors import SettingError, UsageError, nearest
from ocicaliban.model.recipe import Param, Recipe, Value, Variant

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_TYPES: dict[str, tuple[type, str, str]] = {
    "string": (str, "a string", '"text"'),
    "bool": (bool, "true or false", "true"),
    "int": (int, "a whole number", "3"),
}


def _checked(value: Any, param: Param, keys: tuple[str, ...]) -> Value:
    place = ".".join(keys)
    if param.type == "list":
        if not isinstance(value, list | tuple) or not all(type(item) is str for item in value):
            raise SettingError(f"{place}: expected a list of strings", f'for example {keys[-1]} = ["a"]', keys=keys)
        return tuple(sorted(set(value))) if param.sort else tuple(value)
    kind, word, example = _TYPES[param.type]
    if type(value) is not kind:
        raise SettingError(f"{place}: expected {word}, got {value!r}", f"for example {keys[-1]} = {example}", keys=keys)
    assert isinstance(value, str | bool | int)
    return value


def check(recipe: Recipe, given: Mapping[str, object]) -> None:
    """Raise SettingError for an unknown parameter or a value of the wrong type, for any variant."""
    for name, value in given.items():
        keys = ("layers", recipe.name, name)
        if name not in recipe.params:
            message = f"{'.'.join(keys[:2])}: there is no parameter '{name}'"
            raise SettingError(message, nearest(name, recipe.params), keys=keys)
        if not isinstance(value, dict):
            _checked(value, recipe.params[name], keys)
            continue
        for key, part in value.items():
            if key not in ("all", "cpu", "gpu"):
                message = f"{'.'.join(keys)}: unknown key '{key}'"
                raise SettingError(message, "a table here has the keys all, cpu and gpu", keys=(*keys, key))
            _checked(part, recipe.params[name], (*keys, key))


def _for_variant(value: Any, variant: Variant, param: Param) -> Any:
    """Return the value for a variant. Any parameter may be a table {all, cpu, gpu}, as in Caliban."""
    if not isinstance(value, dict):
        return value
    if param.type == "list":
        return [item for key in ("all", variant) for item in value.get(key, ())]
    return value.get(variant, value.get("all", param.default))


def resolve(recipe: Recipe, given: Mapping[str, object], variant: Variant) -> dict[str, Value]:
    """Return the value of each declared parameter: the given one, or its default.

    Raises SettingError for an unknown parameter, a value of the wrong type, or a required parameter that is missing.
    """
    check(recipe, given)
    values: dict[str, Value] = {}
    for name, param in recipe.params.items():
        keys = ("layers", recipe.name, name)
        raw = _for_variant(given[name], variant, param) if name in given else param.default
        if raw is None:
            if param.required:
                hint = f"set it in ocicaliban.toml under [layers.{recipe.name}]"
                raise SettingError(f"{'.'.join(keys)} is missing", hint, keys=keys)
            raw = [] if param.type == "list" else {"string": "", "bool": False, "int": 0}[param.type]
        values[name] = _checked(raw, param, keys)
    return values


def condition_holds(condition: str, values: Mapping[str, Value], place: str) -> bool:
    """Whether a recipe's `when` holds: it names a value that must not be empty, or must be empty after a `!`.

    `place` names the recipe in a message. Raises UsageError if there is no such value.
    """
    if not condition:
        return True
    name = condition.removeprefix("!")
    if name not in values:
        raise UsageError(f"{place}: when = '{condition}': there is no parameter '{name}'", nearest(name, values))
    return bool(values[name]) is not condition.startswith("!")


def substituted(template: str, values: Mapping[str, Value], place: str) -> str:
    """Return `template` with every `${name}` replaced by the value. Lists are joined by blanks.

    Raises UsageError, with `place`, if there is no such value.
    """

    def replace(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise UsageError(
                f"{place}: '${{{match[1]}}}': there is no parameter or value of this name", nearest(match[1], values)
            )
        value = values[match[1]]
        return " ".join(value) if isinstance(value, tuple) else str(value)

    return _REFERENCE.sub(replace, template)


def substituted_list(template: tuple[str, ...] | str, values: Mapping[str, Value], place: str) -> tuple[str, ...]:
    """Return a list with every `${name}` replaced. `"${name}"` of a list parameter gives the whole list."""
    if isinstance(template, tuple):
        return tuple(substituted(item, values, place) for item in template)
    if match := _REFERENCE.fullmatch(template):
        value = values.get(match[1])
        if isinstance(value, tuple):
            return value
    return (substituted(template, values, place),) if template else ()
