"""Read TOML files into typed values, strictly, and name file, line and key of a mistake."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args

import cattrs
from attrs import fields, has
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
from ocicaliban.formats.key_lines import Keys, line_of
from ocicaliban.formats.sizes import check_size

_TYPE_NAMES: dict[type, str] = {
    str: "a string",
    int: "a whole number",
    bool: "true or false",
    float: "a number",
    list: "a list",
    dict: "a table",
}


def read_toml(
    path: Path, hint: str = "correct the file at this line", *, nul: bool = False
) -> tuple[str, dict[str, Any]]:
    """Return the text of a TOML file and the values in it.

    Raises UsageError, with file and line, if the file cannot be read or is not TOML, or if a text in it has a NUL
    character, which no path, variable or argument can have, unless `nul` allows that; in these cases with `hint`.
    """
    text = read_text(path)
    try:
        values = parse_toml(text)
        if not nul and (found := _NUL.search(text)) and _has_nul(values):
            number = text.count("\n", 0, found.start()) + 1
            raise ValueError(f"a text with a NUL character (at line {number}, column 1)")
        return text, values
    except ValueError as exc:
        line = re.search(r"at line (\d+)", str(exc))
        place = f"{path}:{line[1]}" if line else str(path)
        raise UsageError(f"{place}: not valid TOML: {exc}", hint) from exc


def parse_toml(text: str) -> dict[str, Any]:
    """Return the values in a TOML text. Raises ValueError if it is not TOML, or if no person can have written it.

    Its tables are shared by all who read the same text, and must not be changed; the outermost one is the caller's.
    """
    return dict(_parsed(text))


@functools.lru_cache(maxsize=16)
def _parsed(text: str) -> dict[str, Any]:
    """Parse a text once: each way of declaring an environment looks into pyproject.toml, some several times."""
    try:
        _check_keys(text)
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except _LongKey:
        raise
    except ValueError as exc:  # Python's limit on the digits of a number
        raise ValueError("it contains a number with thousands of digits") from exc


_NUL = re.compile(r"\\u0000|\\U00000000")


def _has_nul(value: Any) -> bool:
    """Return whether there is a NUL character in a text or key."""
    if isinstance(value, dict):
        return any("\0" in key or _has_nul(inner) for key, inner in value.items())
    return any(map(_has_nul, value)) if isinstance(value, list) else isinstance(value, str) and "\0" in value


class _LongKey(ValueError):
    """A key has more parts than a person writes."""


_PARTS = 1000
"""Parts of a dotted key. tomllib's time grows with their square: 8,000 take seconds."""


def _check_keys(text: str) -> None:
    """Raise ValueError for a key of too many parts; strings on one line do not count."""
    for number, line in enumerate(text.splitlines(), 1) if text.count(".") > _PARTS else ():
        if line.count(".") > _PARTS:
            for outside in re.split("[\"']", line)[::2]:
                if len(re.findall(r"[\w-][ \t]*\.(?=[ \t]*[\w-])", outside)) > _PARTS:
                    raise _LongKey(f"a key of more than {_PARTS} parts (at line {number}, column 1)")


def table_in(raw: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Return the table at `keys` of a TOML file that another program owns; {} if it has something else there."""
    value: Any = raw
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, without the mark that some Windows editors put before it.

    Raises UsageError if it cannot be read.
    """
    check_size(path)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as exc:
        raise UsageError(f"{path}: not UTF-8", "save the file as UTF-8") from exc
    except OSError as exc:
        raise UsageError(f"{path}: cannot be read: {exc.strerror}", "check its permissions") from exc


def place(path: Path, text: str, keys: Keys) -> str:
    """Return `PATH:LINE` of the value at `keys` in a TOML file with this text, or `PATH` if the line is unknown."""
    line = line_of(text, keys) if text else 0
    return f"{path}:{line}" if line else str(path)


def structure(value: Any, kind: Any, *, path: Path, text: str = "", keys: Keys = ()) -> Any:
    """Convert `value`, read from the file `path`, to the type `kind`.

    `keys` lead to the value in the file. Raises UsageError with file, line and key if it does not fit. `text` is the
    file's text; without it the line is unknown.
    """
    try:
        return _CONVERTER.structure(value, kind)
    except (BaseValidationError, ValueError) as exc:
        keys, fault = _first_fault(exc, keys)
        dotted = ".".join(key for key in keys if isinstance(key, str))
        hint = "docs/reference/configuration.md describes the keys"
        if isinstance(fault, ForbiddenExtraKeysError):
            what = f"unknown key '{dotted}'"
            hint = nearest(str(keys[-1]), [known.alias for known in fields(fault.cl)])
        elif isinstance(fault, KeyError):
            what = f"key '{dotted}' is missing"
        else:
            what = str(fault) + (f" in {dotted}" if dotted else "")
        raise UsageError(f"{place(path, text, keys)}: {what}", hint) from exc


def _first_fault(exc: Exception, keys: Keys) -> tuple[Keys, Exception]:
    """Return the first fault in what cattrs raised, and the keys that lead to it."""
    if isinstance(exc, ForbiddenExtraKeysError):
        return (*keys, sorted(exc.extra_fields)[0]), exc
    if not isinstance(exc, BaseValidationError):
        return keys, exc
    # A misspelt key explains a missing one, so it goes first.
    inner = min(exc.exceptions, key=lambda fault: not isinstance(fault, ForbiddenExtraKeysError))
    for note in getattr(inner, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return _first_fault(inner, (*keys, note.name))
        if isinstance(note, IterableValidationNote):
            return _first_fault(inner, (*keys, note.index))
    return _first_fault(inner, keys)


# --- the converter ---


def _type_name(value: object) -> str:
    return _TYPE_NAMES.get(type(value), type(value).__name__)


def _plain_hook(kind: type) -> Any:
    def convert(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise ValueError(f"expected {_TYPE_NAMES[kind]}, got {_type_name(value)}")
        return value

    return convert


def _list_hook(kind: Any, converter: cattrs.Converter) -> Any:
    """Convert a list to a tuple whose elements have one type."""
    element = get_args(kind)[0]

    def convert_element(item: Any, index: int) -> Any:
        try:
            return converter.structure(item, element)
        except (BaseValidationError, ValueError) as exc:
            exc.add_note(IterableValidationNote(f"element {index}", index, element))
            raise IterableValidationError("a list", [exc], tuple) from exc

    def convert(value: Any, _: Any) -> Any:
        if type(value) is not list:
            raise ValueError(f"expected a list, got {_type_name(value)}")
        return tuple(convert_element(item, index) for index, item in enumerate(value))

    return convert


def _table_hook(kind: Any, converter: cattrs.Converter) -> Any:
    """Convert a table to an attrs class or a dict."""
    inner = (
        make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True)
        if has(kind)
        else mapping_structure_factory(kind, converter)  # gen_structure_mapping would replace this hook
    )

    def convert(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise ValueError(f"expected a table, got {_type_name(value)}")
        return inner(value, kind)

    return convert


def _convert_literal(value: Any, kind: Any) -> Any:
    if value not in get_args(kind):
        raise ValueError(f"expected one of {', '.join(get_args(kind))}, got {value!r}")
    return value


def _convert_value_or_list(value: Any, kind: Any) -> Any:
    if type(value) is list:
        if not all(type(item) is str for item in value):
            raise ValueError("expected a list of strings")
        return tuple(value)
    if type(value) in get_args(kind):
        return value
    words = [_TYPE_NAMES[plain] for plain in get_args(kind) if plain in _TYPE_NAMES]
    raise ValueError(f"expected {', '.join(words)} or a list of strings")


def _origin(kind: Any) -> Any:
    return getattr(kind, "__origin__", None)


def _strict_converter() -> cattrs.Converter:
    """Return a converter that changes no type by itself: cattrs would turn "false" into True."""
    converter = cattrs.Converter(forbid_extra_keys=True)
    for kind in (str, int, bool):
        converter.register_structure_hook(kind, _plain_hook(kind))
    converter.register_structure_hook_factory(
        lambda kind: _origin(kind) is tuple, lambda kind: _list_hook(kind, converter)
    )
    converter.register_structure_hook_factory(
        lambda kind: has(kind) or _origin(kind) is dict, lambda kind: _table_hook(kind, converter)
    )
    converter.register_structure_hook_func(lambda kind: _origin(kind) is Literal, _convert_literal)
    # The unions in our types all mean "one plain value, or a list of strings".
    converter.register_structure_hook_func(
        lambda kind: isinstance(kind, UnionType) and tuple[str, ...] in get_args(kind), _convert_value_or_list
    )
    return converter


_CONVERTER = _strict_converter()
