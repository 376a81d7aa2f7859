"""Make JSON schemas from our types, for editors. `formats.toml` reads the same types."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from attrs import fields, has

Schema = dict[str, Any]

_PLAIN = {str: "string", bool: "boolean", int: "integer", float: "number"}


def of_type(kind: Any) -> Schema:
    """Return the schema of the values that `formats.toml.structure` makes this type of."""
    origin, args = get_origin(kind), get_args(kind)
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if has(kind):
        return of_class(kind)
    if origin is tuple:
        return {"type": "array", "items": of_type(args[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": of_type(args[1])}
    if origin is Literal:
        return {"enum": [*args]}
    if origin in (UnionType, Union):
        some = [of_type(each) for each in args if each is not NoneType]
        return some[0] if len(some) == 1 else {"anyOf": some}
    return {}


def of_class(kind: Any, described: dict[str, str] | None = None) -> Schema:
    """Return the schema of a table whose keys are the fields of an attrs class; `described` says what keys mean."""
    hints = get_type_hints(kind)
    properties = {}
    for each in fields(kind):
        text = (described or {}).get(each.name, "")
        properties[each.name] = of_type(hints[each.name]) | ({"description": text} if text else {})
    return {"type": "object", "properties": properties, "additionalProperties": False}
