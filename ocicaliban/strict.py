"""Plain values, as TOML and JSON hold them, made into attrs classes; nothing is converted, and a fault has its place.

Every command reads a dozen small tables, so what this costs is paid at each start: a library that generates a function
for each class takes longer for that than all of planning.
"""

from __future__ import annotations

import functools
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from attrs import NOTHING, fields, has

from ocicaliban.written import Keys

_WORDS: dict[type, str] = {
    str: "a string",
    int: "a whole number",
    bool: "true or false",
    float: "a number",
    list: "a list",
    dict: "a table",
}


class Wrong(Exception):
    """What is wrong with the value to which `keys` lead: an unknown key, one that is missing, or as `what` says.

    `known` are the keys that an unknown one may have been meant to be.
    """

    def __init__(
        self, what: str, keys: Keys, *, unknown: bool = False, missing: bool = False, known: tuple[str, ...] = ()
    ) -> None:
        super().__init__(what)
        self.what, self.keys, self.unknown, self.missing, self.known = what, keys, unknown, missing, known


def structure(value: object, kind: Any, keys: Keys = ()) -> Any:
    """`value` as the type `kind`: an attrs class, str, int, bool, a Literal, a tuple of one type, a dict of one type by
    strings, or a union of plain types and a tuple of strings. `keys` lead to it.

    Raises Wrong for the first fault.
    """
    if kind in (str, int, bool):
        return _expected(value, kind, keys)
    if has(kind):
        return _instance(_expected(value, dict, keys), kind, keys)
    if isinstance(kind, UnionType):
        return _one_of(value, get_args(kind), keys)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        if value not in arguments:
            raise Wrong(f"expected one of {', '.join(arguments)}, got {value!r}", keys)
        return value
    if origin is tuple:
        items = _expected(value, list, keys)
        return tuple(structure(item, arguments[0], (*keys, index)) for index, item in enumerate(items))
    assert origin is dict, kind
    table = _expected(value, dict, keys)
    return {name: structure(item, arguments[1], (*keys, name)) for name, item in table.items()}


def _expected(value: Any, kind: type, keys: Keys) -> Any:
    if type(value) is not kind:
        raise Wrong(f"expected {_WORDS[kind]}, got {_WORDS.get(type(value), type(value).__name__)}", keys)
    return value


def _one_of(value: object, kinds: tuple[Any, ...], keys: Keys) -> object:
    if type(value) is list and tuple[str, ...] in kinds:
        if not all(type(item) is str for item in value):
            raise Wrong("expected a list of strings", keys)
        return tuple(value)
    if type(value) in kinds:
        return value
    words = [_WORDS[plain] for plain in kinds if plain in _WORDS]
    raise Wrong(f"expected {', '.join(words)} or a list of strings", keys)


@functools.cache
def _types(kind: type) -> tuple[dict[str, Any], frozenset[str]]:
    """The types of a class's fields by name, and the fields that have no default."""
    hints = get_type_hints(kind)
    known = fields(kind)
    types = {field.name: hints[field.name] for field in known}
    return types, frozenset(field.name for field in known if field.default is NOTHING)


def _instance(table: dict[str, object], kind: Any, keys: Keys) -> Any:
    types, needed = _types(kind)
    # A misspelt key explains the missing one.
    if unknown := sorted(table.keys() - types.keys()):
        raise Wrong("unknown key", (*keys, unknown[0]), unknown=True, known=tuple(types))
    if missing := [name for name in types if name in needed and name not in table]:
        raise Wrong("missing", (*keys, missing[0]), missing=True)
    return kind(**{name: structure(table[name], types[name], (*keys, name)) for name in types if name in table})
