"""Sweep files: what one says, how many jobs that makes, and each job's parameters and arguments, one by one (pure).

The format is Caliban's (its documentation, "Experiment Broadcasting" and "Compound keys"): an object, or a list of
objects, whose lists expand to the cartesian product.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, product
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from attrs import frozen

from ocicaliban.errors import UsageError, first_line
from ocicaliban.formats.jsonc import Keys, json_key, line_of, read_json
from ocicaliban.model.job import JobSpec, Parameters, Scalar

if TYPE_CHECKING:
    import yaml

Form = Literal["json", "toml", "yaml"]

T = TypeVar("T")

BLOCKS = "sweep"
"""The name of TOML's array of tables, `[[sweep]]`: TOML has no list at its top."""


@frozen(kw_only=True)
class Axis:
    """One key of a block: what it can be, in the order written. A compound key gives several parameters at once."""

    choices: tuple[Parameters, ...]


@frozen(kw_only=True)
class Block:
    """One object of a sweep file: the product of its axes, of which the last one changes first."""

    axes: tuple[Axis, ...]


@frozen(kw_only=True)
class Sweep:
    """What a sweep file says: blocks, whose jobs come one block after the other. No combination is made yet."""

    blocks: tuple[Block, ...]


def count(sweep: Sweep) -> int:
    """How many jobs a sweep makes, without making one."""
    return sum(math.prod(len(axis.choices) for axis in block.axes) for block in sweep.blocks)


def products(sweep: Sweep, of: Callable[[Parameters], tuple[T, ...]]) -> Iterator[tuple[T, ...]]:
    """For each job what `of` makes of its parameters, in the order written; the next is made when it is asked for.

    `of` is called once for each choice of an axis, not for each job, so it must give the same for two lists of
    parameters together as for one and then the other.
    """
    for block in sweep.blocks:
        for parts in product(*([of(choice) for choice in axis.choices] for axis in block.axes)):
            yield tuple(chain.from_iterable(parts))


def points(sweep: Sweep) -> Iterator[Parameters]:
    """The parameters of each job, in the order written."""
    return products(sweep, lambda parameters: parameters)


def flags(parameters: Parameters) -> tuple[str, ...]:
    """The arguments that give a script its parameters: `--key value`, `--key` for true, nothing for false.

    A number is written as Python writes it (1e-3 is 0.001), as Caliban does.
    """
    words: list[str] = []
    for key, value in parameters:
        if value is True:
            words.append(f"--{key}")
        elif value is not False:
            words += (f"--{key}", str(value))
    return tuple(words)


def specs(sweep: Sweep, args: Sequence[str] = ()) -> Iterator[JobSpec]:
    """The jobs, in the order written; `args`, which are the same for all, come before those of the parameters."""
    first = tuple(args)
    for parameters in points(sweep):
        yield JobSpec(parameters=parameters, args=(*first, *flags(parameters)))


# --- reading ---

_SUFFIXES: dict[str, Form] = {".json": "json", ".jsonc": "json", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}
_FIRST = re.compile(r"(?:\s+|(?:\#|//)[^\n]*|/\*.*?\*/)*(?P<rest>[^\n]*)", re.S)
_TOML = re.compile(rf"""\[\[\s*{BLOCKS}\s*\]\]|(?:"[^"]*"|'[^']*'|[\w-]+)\s*=""")


def form_of(path: str, text: str = "") -> Form:
    """The form of a sweep file: its suffix says it, or else (stdin) its `text`.

    A text that begins with a brace or a bracket is JSON, one that begins with `key =` or `[[sweep]]` TOML, and every
    other one YAML; comments before do not count.
    """
    if known := _SUFFIXES.get(PurePath(path).suffix.lower()):
        return known
    match = _FIRST.match(text)
    first = match["rest"] if match else ""
    if _TOML.match(first):
        return "toml"
    return "json" if not first or first[0] in "{[" else "yaml"


@frozen
class _Object:
    """An object as it is written: a dict would lose a key that stands twice."""

    pairs: list[tuple[str, Any]]


@frozen
class _Written:
    """What a text holds, and where: `at` tells line and column (0: unknown) of the n-th key in the text's order."""

    root: Any
    at: Callable[[int], tuple[int, int]]


def parse(text: str, form: Form, place: str) -> Sweep:
    """The sweep that a text says; `place` is how its file is called in an error.

    Raises UsageError with the place (line and column where they are known, else the block) of what cannot be run.
    """
    try:
        written = _READERS[form](text, place)
        return _Check(written, place).sweep()
    except RecursionError as exc:
        raise UsageError(f"{place}: lists in lists without end", _SHAPE) from exc


_SHAPE = 'a sweep is an object or a list of objects: {"lr": [0.1, 0.01], "epochs": 5}'


def _positioned(place: str, line: int, column: int) -> str:
    return place + (f":{line}" if line else "") + (f":{column}" if line and column else "")


# --- the three forms ---


def _json(text: str, place: str) -> _Written:
    if not text.strip():
        raise UsageError(f"{place}: the file is empty", _SHAPE)
    try:
        root = read_json(text, _Object)
    except json.JSONDecodeError as exc:
        where = _positioned(place, exc.lineno, exc.colno)
        hint = "check the commas and quotes there; comments are allowed, everything else is JSON"
        raise UsageError(f"{where}: not valid JSON: {exc.msg}", hint) from exc
    except ValueError as exc:
        raise UsageError(f"{place}: a number is too long: {exc}", "write it in quotes") from exc
    return _Written(root, lambda number: json_key(text, number))


_AT = re.compile(r" \(at line (\d+), column (\d+)\)$")


def _toml(text: str, place: str) -> _Written:
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        match = _AT.search(str(exc))
        where = _positioned(place, int(match[1]), int(match[2])) if match else place
        raise UsageError(f"{where}: not valid TOML: {_AT.sub('', str(exc))}", "mend the file at that place") from exc
    except ValueError as exc:
        raise UsageError(f"{place}: a number is too long: {exc}", "write it in quotes") from exc
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
        return _Object(pairs)

    blocks = raw.get(BLOCKS)
    if isinstance(blocks, list) and any(isinstance(block, dict) for block in blocks):
        if other := next((key for key in raw if key != BLOCKS), ""):
            where = _positioned(place, line_of(text, (other,)), 0)
            hint = f"put it into each [[{BLOCKS}]] that it belongs to"
            raise UsageError(f"{where}: {_quoted(other)} stands outside of [[{BLOCKS}]]", hint)
        root = convert(blocks, (BLOCKS,))
    else:
        root = convert(raw, ())

    def at(number: int) -> tuple[int, int]:
        # The table of a dotted key (`a.b = 1`) stands nowhere by itself, but what is in it does.
        path = paths[number]
        inner = (other for other in paths[number:] if other[: len(path)] == path)
        return next((line for other in inner if (line := line_of(text, other))), 0), 0

    return _Written(root, at)


_DEEPEST = 100
_YAML_TAG = "tag:yaml.org,2002:"
# YAML 1.2, section 10.3.2: what a word without quotes is. PyYAML knows 1.1 alone, where 1e-3 and 0o7 are strings, "no"
# is false, 1:30 is 90, and 2024-01-01 a date.
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


def _yaml(text: str, place: str) -> _Written:
    import yaml  # slow, and most files are JSON

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012
        depth = 0

        # Called around each node: the C code itself goes down until its stack ends, and we with it.
        def descend_resolver(self, *_: object) -> None:
            self.depth += 1
            if self.depth > _DEEPEST:
                raise RecursionError

        def ascend_resolver(self) -> None:
            self.depth -= 1

    for kind, pattern, first in _YAML_CORE:
        Loader.add_implicit_resolver(_YAML_TAG + kind, re.compile(rf"(?:{pattern})\Z"), first)
    try:
        node = yaml.compose(text, Loader=Loader)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        where = _positioned(place, mark.line + 1, mark.column + 1) if mark else place
        why = getattr(exc, "problem", None) or first_line(exc)
        if "nesting depth" in why:  # what newer versions of libyaml say before we do
            raise RecursionError from exc
        raise UsageError(f"{where}: not valid YAML: {why}", "mend the file at that place") from exc
    if node is None:
        raise UsageError(f"{place}: the file is empty", "lr: [0.1, 0.01]\nepochs: 5")
    marks: list[tuple[int, int]] = []

    def convert(node: yaml.Node) -> Any:
        if isinstance(node, yaml.SequenceNode):
            return [convert(inner) for inner in node.value]
        if isinstance(node, yaml.ScalarNode):
            return _yaml_scalar(node, place)
        pairs = []
        for key, value in node.value:
            marks.append(_mark(key))
            if isinstance(key, yaml.MappingNode):
                raise UsageError(f"{_positioned(place, *marks[-1])}: a key is an object", "a key is a name")
            name = key.value
            if isinstance(key, yaml.SequenceNode):  # a compound key that somebody wrote without quotes
                name = f"[{','.join(str(part.value) for part in key.value)}]"
            pairs.append((name, convert(value)))
        return _Object(pairs)

    root = convert(node)
    return _Written(root, marks.__getitem__)


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
                return float(re.sub(r"\.(inf|nan)$", r"\1", value, flags=re.I))
            case _:
                raise ValueError
    except (ValueError, KeyError) as exc:
        hint = "write the value without it; quotes make a string of anything"
        where = _positioned(place, *_mark(node))
        raise UsageError(f"{where}: {_quoted(value)} cannot be read as {node.tag}", hint) from exc


_READERS: dict[Form, Callable[[str, str], _Written]] = {"json": _json, "toml": _toml, "yaml": _yaml}


# --- what is allowed ---

_NAME = re.compile(r"[^\s,\[\]\0\ud800-\udfff]+")
_NOT_PASSED = re.compile(r"[\0\ud800-\udfff]")


def _quoted(key: str) -> str:
    """A key as it can stand in a message: on one line, and not too long."""
    shown = key if key.isprintable() else key.encode("unicode_escape").decode()
    return f"'{shown[:60]}...'" if len(shown) > 60 else f"'{shown}'"


def _kind(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case _Object():
            return "an object"
        case list():
            return "a list"
        case str():
            return "a string"
        case int() | float():
            return "a number"
        case None:
            return "null"
        case _:
            return "a date or time"


class _Check:
    """Makes a Sweep of what was read; counts the keys that it passes, so that a fault can be told with its place."""

    def __init__(self, written: _Written, place: str) -> None:
        self.written = written
        self.place = place
        self.keys = 0
        self.blocks = 0

    def sweep(self) -> Sweep:
        return Sweep(blocks=tuple(self._blocks(self.written.root)))

    def _blocks(self, value: object) -> Iterator[Block]:
        if isinstance(value, _Object):
            self.blocks += 1
            yield self._block(value)
        elif isinstance(value, list):
            if not value:
                raise UsageError(f"{self.place}: an empty list makes no job", _SHAPE)
            for element in value:  # Caliban lets lists of objects stand in lists
                yield from self._blocks(element)
        elif value is self.written.root:
            raise UsageError(f"{self.place}: expected an object or a list of objects, got {_kind(value)}", _SHAPE)
        else:
            raise UsageError(f"{self.place}: block {self.blocks + 1} is {_kind(value)}, not an object", _SHAPE)

    def _block(self, block: _Object) -> Block:
        seen: set[str] = set()
        axes = []
        for key, value in block.pairs:
            names = self._names(key)
            for name in names:
                if name in seen:
                    within = f", again in {_quoted(key)}" if name != key else ""
                    hint = "one key has all its values, in a list"
                    raise self._fault(f"{_quoted(name)} is there twice{within}", hint)
                seen.add(name)
            choices = self._tuples(key, names, value) if key[0] == "[" else self._values(key, value)
            axes.append(Axis(choices=tuple(tuple(zip(names, choice, strict=True)) for choice in choices)))
            self.keys += 1
        return Block(axes=tuple(axes))

    def _fault(self, message: str, hint: str) -> UsageError:
        line, column = self.written.at(self.keys)
        block = f"block {self.blocks}: " if not line else ""
        return UsageError(f"{_positioned(self.place, line, column)}: {block}{message}", hint)

    def _names(self, key: str) -> tuple[str, ...]:
        """The parameters that a key names: one, or those of a compound key."""
        compound = len(key) > 1 and key[0] == "[" and key[-1] == "]"
        names = tuple(name.strip() for name in key[1:-1].split(",")) if compound else (key,)
        if all(_NAME.fullmatch(name) for name in names):
            return names
        shown = _quoted(key)
        if not key:
            raise self._fault("a key is empty", "give it the name of a parameter")
        if key[0] == "[" and key[-1] != "]":
            raise self._fault(f"{shown} lacks its closing bracket", f"{_quoted(key.rstrip(', ') + ']')}, perhaps")
        if compound and not all(names):
            raise self._fault(f"{shown} has an empty name in it", "a compound key is written '[a,b]'")
        if any(re.search(r"\s", name) for name in names):
            hint = f"no option of a script has one: {_quoted(re.sub(chr(92) + 's+', '_', key.strip()))}, perhaps"
            raise self._fault(f"the key {shown} has a space in it", hint)
        if any(_NOT_PASSED.search(name) for name in names):
            raise self._fault(f"the key {shown} has a character in it that no argument can hold", "remove it")
        hint = "a compound key is written '[a,b]': its names, commas between them, in one pair of brackets"
        raise self._fault(f"the key {shown} has a comma or bracket in it", hint)

    def _values(self, key: str, value: object) -> list[tuple[Scalar, ...]]:
        return [(self._scalar(key, element),) for element in self._listed(key, value)]

    def _listed(self, key: str, value: object) -> list[object]:
        values = value if isinstance(value, list) else [value]
        if not values:
            raise self._fault(f"{_quoted(key)} is an empty list", "give it a value, or leave it out")
        return values

    def _tuples(self, key: str, names: tuple[str, ...], value: object) -> list[tuple[Scalar, ...]]:
        """The choices of a compound key: a list of lists, or a single list for one choice."""
        example = f'"[a,b]": [[1, 2], [3, 4]]; {_quoted(key)} takes {len(names)} values at a time'
        if not isinstance(value, list):
            raise self._fault(f"{_quoted(key)} is {_kind(value)}, not a list of lists", example)
        values = self._listed(key, value)
        rows = values if isinstance(values[0], list) else [values]
        for number, row in enumerate(rows, 1):
            if not isinstance(row, list):
                raise self._fault(f"element {number} of {_quoted(key)} is {_kind(row)}, not a list", example)
            if len(row) != len(names):
                what = f"element {number} of {_quoted(key)}" if row is not values else _quoted(key)
                message = f"{what} has {len(row)} value{'s' * (len(row) != 1)} for {len(names)} names"
                raise self._fault(message.replace(" 1 names", " 1 name"), example)
        return [tuple(self._scalar(key, element) for element in row) for row in rows if isinstance(row, list)]

    def _scalar(self, key: str, value: object) -> Scalar:
        if isinstance(value, list):
            return str([self._within(key, element) for element in value])  # as Caliban passes a list in a list
        if isinstance(value, float) and not math.isfinite(value):
            hint = f'if the script knows what it means, write it in quotes: "{value}"'
            raise self._fault(f"{_quoted(key)} is {value}, which is no number", hint)
        if isinstance(value, str) and _NOT_PASSED.search(value):
            raise self._fault(f"{_quoted(key)} has a character in it that no argument can hold", "remove it")
        if isinstance(value, int):
            try:
                str(value)
            except ValueError as exc:
                raise self._fault(f"{_quoted(key)} is a number that is too long: {exc}", "write it in quotes") from exc
        if isinstance(value, bool | int | float | str):
            return value
        raise self._fault(f"{_quoted(key)} holds {_kind(value)}", self._instead(value))

    def _within(self, key: str, value: object) -> object:
        """A value in a list that is one value."""
        return [self._within(key, each) for each in value] if isinstance(value, list) else self._scalar(key, value)

    def _instead(self, value: object) -> str:
        if isinstance(value, _Object):
            return "parameters do not lie in each other; a list of objects makes one sweep after the other"
        if value is None:
            return "leave the key out where the script shall use its default"
        return 'write it in quotes: "2024-01-01"'
