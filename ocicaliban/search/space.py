"""The space of a search: the axes of a sweep file, and the points in it. Pure."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from ocicaliban.errors import UsageError
from ocicaliban.jobs import ranges
from ocicaliban.jobs.expansion import Axis, Block, Sweep
from ocicaliban.model.job import Parameters, Scalar, WrittenList, WrittenNumber

_TRIES = 200
"""How often a new point is looked for in a space of which much is used."""


@frozen(kw_only=True)
class Space:
    """The axes of a search: of each, a range, or choices of one or several parameters."""

    axes: tuple[Axis, ...]


def of_sweep(sweep: Sweep) -> Space:
    """Return the space of a sweep. Raises UsageError if it has several blocks: a search has one."""
    if len(sweep.blocks) != 1:
        raise UsageError(
            f"{sweep.name or 'the sweep'}: a search needs one object, and there are {len(sweep.blocks)}",
            "search in one of them at a time, with a --group for each",
        )
    return Space(axes=sweep.blocks[0].axes)


def size(space: Space) -> int:
    """Return how many points a space has; 0 for more than anybody counts."""
    return math.prod(len(axis.choices) if axis.range is None else ranges.size(axis.range) for axis in space.axes)


def identity(parameters: Parameters) -> str:
    """Return what tells a point from others: its parameters, whatever their order."""
    return json.dumps(sorted((name, json.dumps(value)) for name, value in parameters))


def drawn(space: Space, seed: str) -> Parameters:
    """Return the point that a seed stands for: the same one with every version of Python."""
    source = random.Random(seed)
    return point(space, [source.random() for _ in space.axes])


def point(space: Space, parts: Sequence[float]) -> Parameters:
    """Return the point at a part of each axis, from 0 to below 1."""
    found: list[tuple[str, Scalar]] = []
    for axis, part in zip(space.axes, parts, strict=True):
        if axis.range is None:
            found += axis.choices[min(int(part * len(axis.choices)), len(axis.choices) - 1)]
        else:
            found.append((axis.name, ranges.value(axis.range, part)))
    return tuple(found)


def unused(space: Space, seed: str, used: frozenset[str] | set[str]) -> Parameters | None:
    """Return the first point of a seed that is not `used` (by its `identity`); None if the space has no other one."""
    for number in range(_TRIES):
        found = drawn(space, f"{seed}\0{number}")
        if identity(found) not in used:
            return found
    if not 0 < size(space) <= max(len(used) * 4, 10_000):
        return None
    left = [found for found in every(space) if identity(found) not in used]
    return random.Random(seed).choice(left) if left else None


def every(space: Space) -> Iterator[Parameters]:
    """Yield all points of a space that can be counted."""

    def along(axes: tuple[Axis, ...]) -> Iterator[Parameters]:
        if not axes:
            yield ()
            return
        axis = axes[0]
        choices = axis.choices
        if axis.range is not None:
            choices = tuple(((axis.name, n),) for n in range(int(axis.range.low), int(axis.range.high) + 1))
        for rest in along(axes[1:]):
            for choice in choices:
                yield (*choice, *rest)

    yield from along(space.axes)


def random_points(
    space: Space, group: str, first: int, count: int, tried: Iterable[Parameters] = ()
) -> list[Parameters]:
    """Return the points of the trials `first`, `first` + 1, ... of a group, no point twice: `count`, or all there are.

    They follow from the group's name and the trial's number, so the same command searches at the same points. None is
    among those that the group has `tried`, in this space or another one.
    """
    used = {identity(each) for each in tried}
    points: list[Parameters] = []
    for number in range(first, first + count):
        found = unused(space, f"{group}\0{number}", used)
        if found is None:
            break
        used.add(identity(found))
        points.append(found)
    return points


def as_sweep(sweep: Sweep, points: Sequence[Parameters]) -> Sweep:
    """Return a sweep whose jobs are these points."""
    return evolve(sweep, blocks=tuple(Block(axes=(Axis(choices=(each,)),)) for each in points))


def to_record(space: Space) -> list[dict[str, Any]]:
    """Return a space as JSON holds it."""
    return [
        {"choices": [[[name, _plain(value)] for name, value in choice] for choice in axis.choices]}
        if axis.range is None
        else {"name": axis.name, "range": ranges.to_record(axis.range)}
        for axis in space.axes
    ]


def _plain(value: Scalar) -> object:
    """Return a value with what makes it the argument that a person wrote."""
    if isinstance(value, WrittenNumber):
        return {"number": value.text}
    return {"list": str(value)} if isinstance(value, WrittenList) else value


def from_record(record: Sequence[Mapping[str, Any]]) -> Space:
    """Return a space from a record. Raises KeyError, TypeError or ValueError for another form."""
    axes = []
    for each in record:
        if "range" in each:
            axes.append(Axis(choices=(), name=str(each["name"]), range=ranges.from_record(each["range"])))
        else:
            choices = tuple(tuple((str(name), _value(value)) for name, value in choice) for choice in each["choices"])
            axes.append(Axis(choices=choices))
    return Space(axes=tuple(axes))


def _value(value: Any) -> Scalar:
    if isinstance(value, Mapping):
        return WrittenNumber(value["number"]) if "number" in value else WrittenList(value["list"])
    if isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"{value!r} is no value of a parameter")


def place(space: Space, parameters: Parameters) -> list[int | float] | None:
    """Return where a point is, on each axis: a number, or the place of a choice; None for a point of another space."""
    given = dict(parameters)
    found: list[int | float] = []
    for axis in space.axes:
        if axis.range is not None:
            number = given.get(axis.name)
            if not ranges.contains(axis.range, number) or not isinstance(number, int | float):
                return None
            found.append(number)
            continue
        at = next((n for n, choice in enumerate(axis.choices) if all(_same(given.get(k), v) for k, v in choice)), None)
        if at is None:
            return None
        found.append(at)
    return found


def _same(one: Scalar | None, other: Scalar) -> bool:
    return one is not None and json.dumps(one) == json.dumps(other)


def at(space: Space, places: Sequence[int | float]) -> Parameters:
    """Return the point at a place: what `place` returns for it."""
    found: list[tuple[str, Scalar]] = []
    for axis, where in zip(space.axes, places, strict=True):
        if axis.range is None:
            found += axis.choices[int(where)]
        else:
            found.append((axis.name, ranges.short(axis.range, where)))
    return tuple(found)
