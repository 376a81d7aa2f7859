"""Sweep files, in the format of Caliban. Pure.

Its documentation ("Experiment Broadcasting" and "Compound keys") defines the format: an object, or a list of objects,
whose lists expand to the cartesian product.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from ocicaliban.errors import UsageError
from ocicaliban.jobs import ranges
from ocicaliban.jobs.expansion import Axis, Block, Sweep
from ocicaliban.jobs.sweep_forms import READERS, SHAPE, Form, Object, Written, positioned, quoted
from ocicaliban.model.job import Scalar, WrittenList


def parse(text: str, form: Form, place: str) -> Sweep:
    """Return the sweep in a text. `place` names its file in errors.

    Raises UsageError for what cannot run, with its line and column where they are known, else its block.
    """
    try:
        written = READERS[form](text, place)
        return _SweepBuilder(written, place).sweep()
    except RecursionError as exc:
        raise UsageError(f"{place}: the lists are nested too deeply", SHAPE) from exc


_NAME = re.compile(r"[^\s,\[\]\0\ud800-\udfff]+")
_NOT_PASSED = re.compile(r"[\0\ud800-\udfff]")


def _kind(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case Object():
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


class _SweepBuilder:
    """Makes a Sweep of what was read. It counts the keys on its way, so that an error can name the place."""

    def __init__(self, written: Written, place: str) -> None:
        self.written = written
        self.place = place
        self.keys = 0
        self.blocks = 0

    def sweep(self) -> Sweep:
        return Sweep(blocks=tuple(self._blocks(self.written.root)))

    def _blocks(self, value: object) -> Iterator[Block]:
        if isinstance(value, Object):
            self.blocks += 1
            yield self._block(value)
        elif isinstance(value, list):
            if not value:
                raise UsageError(f"{self.place}: an empty list makes no jobs", SHAPE)
            for element in value:  # Caliban allows lists of objects in lists
                yield from self._blocks(element)
        elif value is self.written.root:
            raise UsageError(f"{self.place}: expected an object or a list of objects, got {_kind(value)}", SHAPE)
        else:
            raise UsageError(f"{self.place}: block {self.blocks + 1} is {_kind(value)}, not an object", SHAPE)

    def _block(self, block: Object) -> Block:
        seen: set[str] = set()
        axes = []
        for key, value in block.pairs:
            names = self._names(key)
            for name in names:
                if name in seen:
                    within = f", again in {quoted(key)}" if name != key else ""
                    hint = "give all its values in one list"
                    raise self._fault(f"{quoted(name)} is given twice{within}", hint)
                seen.add(name)
            if isinstance(value, Object):
                axes.append(self._range(key, names, value))
                continue
            choices = self._tuples(key, names, value) if key[0] == "[" else self._values(key, value)
            axes.append(Axis(choices=tuple(tuple(zip(names, choice, strict=True)) for choice in choices)))
            self.keys += 1
        return Block(axes=tuple(axes))

    def _range(self, key: str, names: tuple[str, ...], value: Object) -> Axis:
        """Return the axis of a range. Its own keys are counted too."""
        try:
            found = ranges.read(dict(value.pairs))
        except ValueError as exc:
            raise self._fault(f"{quoted(key)} {exc}", self._instead(value)) from exc
        if key[0] == "[":
            raise self._fault(f"{quoted(key)} is a range for several parameters", "give each parameter its own range")
        self.keys += 1 + len(value.pairs)
        return Axis(choices=(), range=found, name=names[0])

    def _fault(self, message: str, hint: str) -> UsageError:
        line, column = self.written.at(self.keys)
        block = f"block {self.blocks}: " if not line else ""
        return UsageError(f"{positioned(self.place, line, column)}: {block}{message}", hint)

    def _names(self, key: str) -> tuple[str, ...]:
        """Return the parameters that a key names: one, or those of a compound key."""
        compound = len(key) > 1 and key[0] == "[" and key[-1] == "]"
        names = tuple(name.strip() for name in key[1:-1].split(",")) if compound else (key,)
        if all(_NAME.fullmatch(name) for name in names):
            return names
        shown = quoted(key)
        if not key:
            raise self._fault("a key is empty", "give it the name of a parameter")
        if key[0] == "[" and key[-1] != "]":
            raise self._fault(f"{shown} lacks its closing bracket", f"write {quoted(key.rstrip(', ') + ']')}")
        if compound and not all(names):
            raise self._fault(f"{shown} has an empty name in it", "write a compound key as '[a,b]'")
        if any(re.search(r"\s", name) for name in names):
            hint = f"options have no spaces: {quoted(re.sub(chr(92) + 's+', '_', key.strip()))}?"
            raise self._fault(f"the key {shown} has a space in it", hint)
        if any(_NOT_PASSED.search(name) for name in names):
            raise self._fault(f"the key {shown} has a character in it that no argument can hold", "remove it")
        hint = "write a compound key as '[a,b]': its names in one pair of brackets, with commas between them"
        raise self._fault(f"the key {shown} has a comma or bracket in it", hint)

    def _values(self, key: str, value: object) -> list[tuple[Scalar, ...]]:
        return [(self._scalar(key, element),) for element in self._listed(key, value)]

    def _listed(self, key: str, value: object) -> list[object]:
        values = value if isinstance(value, list) else [value]
        if not values:
            raise self._fault(f"{quoted(key)} is an empty list", "give it a value, or leave it out")
        return values

    def _tuples(self, key: str, names: tuple[str, ...], value: object) -> list[tuple[Scalar, ...]]:
        """Return the choices of a compound key: a list of lists, or a single list for one choice."""
        example = f'"[a,b]": [[1, 2], [3, 4]]; {quoted(key)} takes {len(names)} values at a time'
        if not isinstance(value, list):
            raise self._fault(f"{quoted(key)} is {_kind(value)}, not a list of lists", example)
        values = self._listed(key, value)
        rows = values if isinstance(values[0], list) else [values]
        for number, row in enumerate(rows, 1):
            if not isinstance(row, list):
                raise self._fault(f"element {number} of {quoted(key)} is {_kind(row)}, not a list", example)
            if len(row) != len(names):
                what = f"element {number} of {quoted(key)}" if row is not values else quoted(key)
                message = f"{what} has {len(row)} value{'s' * (len(row) != 1)} for {len(names)} names"
                raise self._fault(message.replace(" 1 names", " 1 name"), example)
        return [tuple(self._scalar(key, element) for element in row) for row in rows if isinstance(row, list)]

    def _scalar(self, key: str, value: object) -> Scalar:
        if isinstance(value, list):
            return WrittenList([self._within(key, element) for element in value])  # as Caliban passes a list in a list
        if isinstance(value, float) and not math.isfinite(value):
            hint = f'if the script knows what it means, write it in quotes: "{value}"'
            raise self._fault(f"{quoted(key)} is {value}, which is not a number", hint)
        if isinstance(value, str) and _NOT_PASSED.search(value):
            raise self._fault(f"{quoted(key)} has a character in it that no argument can hold", "remove it")
        if isinstance(value, int):
            try:
                str(value)
            except ValueError as exc:
                raise self._fault(f"{quoted(key)} is a number that is too long: {exc}", "write it in quotes") from exc
        if isinstance(value, bool | int | float | str):
            return value
        raise self._fault(f"{quoted(key)} holds {_kind(value)}", self._instead(value))

    def _within(self, key: str, value: object) -> object:
        """Return an element of a list that is one value."""
        return [self._within(key, each) for each in value] if isinstance(value, list) else self._scalar(key, value)

    def _instead(self, value: object) -> str:
        if isinstance(value, Object):
            return f"a range is {ranges.EXAMPLE}; a list of objects makes the jobs of one after those of the other"
        if value is None:
            return "leave the key out, and the script uses its default"
        return 'write it in quotes: "2024-01-01"'
