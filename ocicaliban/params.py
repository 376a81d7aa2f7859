"""Checks a recipe's parameters and substitutes them; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import evolve

from ocicaliban.errors import UsageError
from ocicaliban.model import Param, Recipe, Value, Variant

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_TYPES: dict[str, tuple[type, str]] = {
    "string": (str, "a string"),
    "bool": (bool, "true or false"),
    "int": (int, "a whole number"),
}


def _for_variant(value: Any, variant: Variant, param: Param, place: str) -> Any:
    """Caliban's form {"cpu": ..., "gpu": ...}, with `all` beside them, for any parameter."""
    if not isinstance(value, dict):
        return value
    unknown = set(value) - {"all", "cpu", "gpu"}
    if unknown:
        raise UsageError(f"{place}: unknown key '{sorted(unknown)[0]}'", "a table here has the keys all, cpu and gpu")
    if param.type == "list":
        parts = [_checked(value[key], evolve(param, sort=False), f"{place}.{key}") for key in value]
        chosen = dict(zip(value, parts, strict=True))
        return [item for key in ("all", variant) for item in _items(chosen.get(key, ()))]
    return value.get(variant, value.get("all", param.default))


def _items(value: Value) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else ()


def _checked(value: Any, param: Param, place: str) -> Value:
    if param.type == "list":
        if not isinstance(value, list | tuple) or not all(type(item) is str for item in value):
            raise UsageError(f"{place}: expected a list of strings", f'for example {place.rsplit(".", 1)[-1]} = ["a"]')
        return tuple(sorted(set(value))) if param.sort else tuple(value)
    kind, word = _TYPES[param.type]
    if type(value) is not kind:
        raise UsageError(f"{place}: expected {word}, got {value!r}")
    assert isinstance(value, str | bool | int)
    return value


def resolve(recipe: Recipe, given: Mapping[str, object], variant: Variant) -> dict[str, Value]:
    """The value of each declared parameter: the given one or its default.

    Raises UsageError for an unknown parameter, a wrong type, or a required one that is missing.
    """
    for name in given:
        if name not in recipe.params:
            known = ", ".join(recipe.params) or "none"
            raise UsageError(f"layers.{recipe.name}: there is no parameter '{name}'", f"it knows: {known}")
    values: dict[str, Value] = {}
    for name, param in recipe.params.items():
        place = f"layers.{recipe.name}.{name}"
        raw = _for_variant(given[name], variant, param, place) if name in given else param.default
        if raw is None:
            if param.required:
                raise UsageError(f"{place} is missing", f"set it in ocicaliban.toml under [layers.{recipe.name}]")
            raw = [] if param.type == "list" else {"string": "", "bool": False, "int": 0}[param.type]
        values[name] = _checked(raw, param, place)
    return values


def holds(condition: str, values: Mapping[str, Value], place: str) -> bool:
    """Whether a recipe's `when` holds: the name of a value, true when it is not empty; `!` turns it round."""
    if not condition:
        return True
    name = condition.removeprefix("!")
    if name not in values:
        raise UsageError(f"{place}: when = '{condition}' names no parameter")
    return bool(values[name]) is not condition.startswith("!")


def text(template: str, values: Mapping[str, Value], place: str) -> str:
    """`template` with every `${name}` replaced; lists are joined by blanks."""

    def replace(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise UsageError(f"{place}: '${{{match[1]}}}' names no parameter")
        value = values[match[1]]
        return " ".join(value) if isinstance(value, tuple) else str(value)

    return _REFERENCE.sub(replace, template)


def texts(template: tuple[str, ...] | str, values: Mapping[str, Value], place: str) -> tuple[str, ...]:
    """A list of strings: either each one substituted, or `"${name}"` of a list parameter as a whole."""
    if isinstance(template, tuple):
        return tuple(text(item, values, place) for item in template)
    if match := _REFERENCE.fullmatch(template):
        value = values.get(match[1])
        if isinstance(value, tuple):
            return value
    return (text(template, values, place),) if template else ()
