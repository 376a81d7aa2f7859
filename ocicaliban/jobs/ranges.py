"""Ranges in a sweep file, from which a search takes values. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from attrs import frozen

Kind = Literal["float", "int"]

EXAMPLE = '{"log": [1e-5, 1e-1]}, {"float": [0, 0.9]}, {"int": [1, 8]} or {"int": [8, 1024], "log": true}'
"""The hint for a range of another form."""


@frozen(kw_only=True)
class Range:
    """The numbers from `low` to `high`, both included. On a logarithmic scale, each factor is as likely as another."""

    kind: Kind
    low: float
    high: float
    log: bool = False


def read(given: Mapping[str, object]) -> Range:
    """Return the range that an object of a sweep file stands for. Raises ValueError with what is wrong with it."""
    kinds = [name for name in ("float", "int", "log") if isinstance(given.get(name), list)]
    if len(kinds) != 1:
        raise ValueError("holds an object")
    [name] = kinds
    scale = given.get("log", False) if name != "log" else True
    if unknown := set(given) - {name, "log"}:
        raise ValueError(f"has a range with {min(unknown)}, which ranges do not have")
    if name != "log" and not isinstance(scale, bool):
        raise ValueError("has a range whose log is neither true nor false")
    ends = given[name]
    if not (isinstance(ends, list) and len(ends) == 2 and all(map(_is_number, ends))):
        raise ValueError("has a range without exactly two numbers")
    low, high = ends
    if name == "int" and not all(isinstance(each, int) for each in ends):
        raise ValueError("has a range of integers with another number in it")
    if not low < high:
        raise ValueError(f"has a range whose end {high} is not above its beginning {low}")
    if scale and low <= 0:
        raise ValueError(f"has a logarithmic range that begins at {low}, and not above 0")
    if name == "int":
        return Range(kind="int", low=low, high=high, log=bool(scale))
    return Range(kind="float", low=float(low), high=float(high), log=bool(scale))


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300 and math.isfinite(value)
    )


def value(of: Range, part: float) -> int | float:
    """Return the value at a part of a range, from 0 to below 1."""
    if of.kind == "int":
        if of.log:
            low, high = math.log(of.low - 0.5), math.log(of.high + 0.5)
            found = round(math.exp(low + (high - low) * part))
        else:
            found = int(of.low) + int(part * (int(of.high) - int(of.low) + 1))
        return min(max(found, int(of.low)), int(of.high))
    if of.log:
        low, high = math.log(of.low), math.log(of.high)
        return short(of, math.exp(low + (high - low) * part))
    return short(of, of.low + (of.high - of.low) * part)


def short(of: Range, number: float) -> int | float:
    """Return a value of a range as it is passed to a script: with six digits, and within the range."""
    if of.kind == "int":
        return min(max(round(number), int(of.low)), int(of.high))
    return min(max(float(f"{number:.6g}"), float(of.low)), float(of.high))


def contains(of: Range, number: object) -> bool:
    """Return whether a value is one of a range."""
    if isinstance(number, bool) or not isinstance(number, int | float):
        return False
    return of.low <= number <= of.high and (of.kind == "float" or isinstance(number, int))


def size(of: Range) -> int:
    """Return how many values a range has; 0 for more than anybody counts."""
    return int(of.high) - int(of.low) + 1 if of.kind == "int" else 0


def to_record(of: Range) -> dict[str, object]:
    """Return a range as JSON holds it."""
    return {"kind": of.kind, "low": of.low, "high": of.high, "log": of.log}


def from_record(record: Mapping[str, Any]) -> Range:
    """Return a range from a record. Raises KeyError, TypeError or ValueError for another form."""
    if record["kind"] not in ("float", "int"):
        raise ValueError(f"there is no range of {record['kind']}")
    kind: Kind = "int" if record["kind"] == "int" else "float"
    as_number = int if kind == "int" else float
    return Range(kind=kind, low=as_number(record["low"]), high=as_number(record["high"]), log=bool(record["log"]))
