"""Values in a report: as numbers, in all digits, and short for people (pure)."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from ocicaliban.formats.text import printable
from ocicaliban.jobs.status_table import span

if TYPE_CHECKING:
    from ocicaliban.model.job import Scalar
    from ocicaliban.reports.report import Column, Row

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def as_number(value: Scalar | None) -> float | int | None:
    """Return a value as a number: a text such as "0.1" is one, a bool is 0 or 1. None for others, and for NaN."""
    if isinstance(value, str):
        try:
            value = float(value) if _NUMBER.fullmatch(value) else None
        except ValueError:
            return None
    return None if value is None or math.isnan(value) else value


def exact(value: Scalar | None) -> str:
    """Return a value with all its digits; "" for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else str(value)


def readable(value: Scalar | None, column: Column) -> str:
    """Return a value rounded for people, in one line without control characters."""
    if isinstance(value, float) and column.name == "duration":
        return span(value)
    if isinstance(value, float) and column.kind == "metric":
        if math.isnan(value):
            return "NaN"
        return f"{value:.0f}" if 1e5 <= abs(value) < 1e15 else f"{value:.5g}"
    if isinstance(value, float) and len(repr(value)) > 10:
        return f"{value:.6g}"
    return printable(exact(value))


def cell(row: Row, column: Column) -> str:
    """Return what a row has in a column, for people: a value, or a mean with its standard deviation, if it has one."""
    spread = row.spreads.get(column.name)
    if spread is None or spread.count < 2 or math.isnan(spread.mean):
        return readable(row.cells.get(column.name), column)
    if column.name == "duration" or not spread.deviation:
        return readable(spread.mean, column)
    return f"{readable(float(_rounded(spread.mean, spread.deviation)), column)} ± {spread.deviation:.2g}"


def _rounded(mean: float, deviation: float) -> float:
    """Return a mean with no more digits than its deviation tells apart, and one more."""
    if not math.isfinite(deviation):
        return mean
    return round(mean, min(300, 1 - math.floor(math.log10(deviation)) + 1))
