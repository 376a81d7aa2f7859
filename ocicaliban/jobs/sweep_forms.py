"""The three forms of a sweep file, read with the place of each key: JSON (with comments), TOML and YAML. Pure."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Callable
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal

from attrs import frozen

from ocicaliban.errors import UsageError, first_line
from ocicaliban.formats.jsonc import json_key, read_json
from ocicaliban.formats.key_lines import Keys, line_of
from ocicaliban.formats.yaml import bounded_loader, too_deep
from ocicaliban.model.job import Scalar, WrittenNumber

if TYPE_CHECKING:
    import yaml

Form = Literal["json", "toml", "yaml"]

BLOCKS = "sweep"
"""The name of TOML's array of tables, `[[sweep]]`: TOML has no list at its top."""

SHAPE = 'a sweep is an object or a list of objects: {"lr": [0.1, 0.01], "epochs": 5}'
"""The hint for a file of another shape."""

_SUFFIXES: dict[str, Form] = {".json": "json", ".jsonc": "json", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}
_FIRST = re.compile(r"(?:\s+|(?:\#|//)[^\n]*|/\*.*?\*/)*(?P<rest>[^\n]*)", re.S)
_TOML = re.compile(rf"""\[\[\s*{BLOCKS}\s*\]\]|(?:"[^"]*"|'[^']*'|[\w-]+)\s*=""")


def form_of(path: str, text: str = "") -> Form:
    """Return the form of a sweep file, by its suffix or else (stdin) by its `text`.

    A text that begins with a brace or a bracket is JSON. One that begins with `key =` or `[[sweep]]` is TOML. Every
    other one is YAML. Comments at the beginning do not count.
    """
    if form := _SUFFIXES.get(PurePath(path).suffix.lower()):
        return form
    match = _FIRST.match(text)
    first = match["rest"] if match else ""
    if _TOML.match(first):
        return "toml"
    return "json" if not first or first[0] in "{[" else "yaml"


@frozen
class Object:
    """An object as it is written: a dict would lose a key that is given twice."""

    pairs: list[tuple[str, Any]]


@frozen
class Written:
    """What a text holds. `at` returns the line and column (0: unknown) of the n-th key, in the order of the text."""

    root: Any
    at: Callable[[int], tuple[int, int]]


def positioned(place: str, line: int, column: int) -> str:
    """Return the name of a file with a line and column, as far as they are known (not 0)."""
    return place + (f":{line}" if line else "") + (f":{column}" if line and column else "")


def quoted(key: str) -> str:
    """Return a key as a message shows it: on one line, and not too long."""
    shown = key if key.isprintable() else key.encode("unicode_escape").decode()
    return f"'{shown[:60]}...'" if len(shown) > 60 else f"'{shown}'"


def _number(text: str) -> float:
    """Return a number that is passed to a script as it is written. Raises ValueError."""
    value = float(text)
    if not math.isfinite(value) or str(value) == text or "_" in text:
        return value
    return WrittenNumber(text)


def _json(text: str, place: str) -> Written:
    if not text.strip():
        raise UsageError(f"{place}: the file is empty", SHAPE)
    try:
        root = read_json(text, Object, _number)
    except json.JSONDecodeError as exc:
        where = positioned(place, exc.lineno, exc.colno)
        hint = "check the commas and quotes there; comments are allowed, everything else is JSON"
        raise UsageError(f"{where}: not valid JSON: {exc.msg}", hint) from exc
    except ValueError as exc:
        raise UsageError(f"{place}: a number has thousands of digits", "write it in quotes") from exc
    return Written(root, lambda number: json_key(text, number))


_AT = re.compile(r" \(at line (\d+), column (\d+)\)$")


def _toml(text: str, place: str) -> Written:
    try:
        raw = tomllib.loads(text, parse_float=_number)
    except tomllib.TOMLDecodeError as exc:
        match = _AT.search(str(exc))
        where = positioned(place, int(match[1]), int(match[2])) if match else place
        raise UsageError(f"{where}: not valid TOML: {_AT.sub('', str(exc))}", "correct the file there") from exc
    except ValueError as exc:
        raise UsageError(f"{place}: a number has thousands of digits", "write it in quotes") from exc
    if not raw:
        raise UsageError(f"{place}: the file is empty", "lr = [0.1, 0.01]\nepochs = 5")
    paths: list[Keys] = []

    def convert(value: Any, path: Keys) -> Any:
        if isinstance(value, list):
            return [convert(element, (*path, number)) for number, element in enumerate(value)]
        if not isinstance(value, dict):
            return value
        pairs = []
        for key, inner in value.items():
            paths.append((*path, key))
            pairs.append((key, convert(inner, (*path, key))))
        return Object(pairs)

    blocks = raw.get(BLOCKS)
    if isinstance(blocks, list) and any(isinstance(block, dict) for block in blocks):
        if other := next((key for key in raw if key != BLOCKS), ""):
            where = positioned(place, line_of(text, (other,)), 0)
            hint = f"put it into each [[{BLOCKS}]] that it belongs to"
            raise UsageError(f"{where}: {quoted(other)} is outside of [[{BLOCKS}]]", hint)
        root = convert(blocks, (BLOCKS,))
    else:
        root = convert(raw, ())

    def at(number: int) -> tuple[int, int]:
        # The table of a dotted key (`a.b = 1`) has no place of its own, but the keys in it have.
        path = paths[number]
        inner = (other for other in paths[number:] if other[: len(path)] == path)
        return next((line for other in inner if (line := line_of(text, other))), 0), 0

    return Written(root, at)


_MOST = 1_000_000
"""Values in a YAML text, each alias counted as what it stands for."""
_YAML_TAG = "tag:yaml.org,2002:"
# YAML 1.2, section 10.3.2: the meaning of a word without quotes. PyYAML knows only 1.1, in which 1e-3 and 0o7 are
# strings, "no" is false, 1:30 is 90, and 2024-01-01 a date.
_YAML_CORE = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
)


def _yaml(text: str, place: str) -> Written:
    import yaml  # slow, and most files are JSON

    class Loader(bounded_loader()):  # type: ignore[misc]
        yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML reads it from the class

    for kind, pattern, first in _YAML_CORE:
        Loader.add_implicit_resolver(_YAML_TAG + kind, re.compile(rf"(?:{pattern})\Z"), first)
    try:
        node = yaml.compose(text, Loader=Loader)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        where = positioned(place, mark.line + 1, mark.column + 1) if mark else place
        why = getattr(exc, "problem", None) or first_line(exc)
        if too_deep(exc):
            raise RecursionError from exc
        raise UsageError(f"{where}: not valid YAML: {why}", "correct the file there") from exc
    if node is None:
        raise UsageError(f"{place}: the file is empty", "lr: [0.1, 0.01]\nepochs: 5")
    marks: list[tuple[int, int]] = []
    count = 0

    def convert(node: yaml.Node) -> Any:
        nonlocal count
        count += 1
        if count > _MOST:  # a few lines of aliases of aliases can stand for billions of values
            raise UsageError(f"{place}: its aliases stand for more than {_MOST:,} values", "write the values out")
        if isinstance(node, yaml.SequenceNode):
            return [convert(inner) for inner in node.value]
        if isinstance(node, yaml.ScalarNode):
            return _yaml_scalar(node, place)
        pairs = []
        for key, value in node.value:
            marks.append(_mark(key))
            if isinstance(key, yaml.MappingNode):
                raise UsageError(f"{positioned(place, *marks[-1])}: a key is an object", "a key is a name")
            name = key.value
            if isinstance(key, yaml.SequenceNode):  # a compound key without quotes
                name = f"[{','.join(str(part.value) for part in key.value)}]"
            pairs.append((name, convert(value)))
        return Object(pairs)

    root = convert(node)
    return Written(root, marks.__getitem__)


def _mark(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _yaml_scalar(node: yaml.ScalarNode, place: str) -> Scalar | None:
    value: str = node.value
    try:
        match node.tag.removeprefix(_YAML_TAG):
            case "str" | "!":
                return value
            case "null":
                return None
            case "bool":
                return {"true": True, "false": False}[value.lower()]
            case "int":
                return int(value, {"0o": 8, "0x": 16}.get(value[:2], 10))
            case "float":
                return _number(re.sub(r"\.(inf|nan)$", r"\1", value, flags=re.I))
            case _:
                raise ValueError
    except (ValueError, KeyError) as exc:
        hint = "write the value without the tag; quotes make a string of any value"
        where = positioned(place, *_mark(node))
        raise UsageError(f"{where}: {quoted(value)} cannot be read as {node.tag}", hint) from exc


READERS: dict[Form, Callable[[str, str], Written]] = {"json": _json, "toml": _toml, "yaml": _yaml}
"""What reads each form: from a text, and the name of its file for messages."""
