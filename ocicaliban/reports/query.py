"""Choose what a report shows: another objective, an order, conditions on rows, columns (pure).

Each function returns another report, and raises UsageError if there is no such column.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from attrs import evolve

from ocicaliban.errors import UsageError
from ocicaliban.model.job import Scalar
from ocicaliban.reports.objective import Better, Objective
from ocicaliban.reports.report import Column, Report
from ocicaliban.reports.values import as_number, exact

_CONDITION = re.compile(r"\s*(?P<name>.+?)\s*(?P<sign><=|>=|!=|==|=>|=<|=|<|>)\s*(?P<value>.*?)\s*", re.S)
_EXAMPLE = "for example lr=0.1, accuracy>0.9 or status!=failed"


def set_objective(report: Report, name: str, better: Better) -> Report:
    """Look for the job with the best value in the column called `name`."""
    return evolve(report, objective=Objective(column=report.column(name).name, better=better))


def sort(report: Report, name: str, descending: bool = False) -> Report:
    """Sort the rows by a column; "-NAME" descends.

    Numbers come before texts; what is missing or NaN comes last in either direction.
    """
    if name.startswith("-") and name not in {column.name for column in report.all_columns}:
        name, descending = name[1:], not descending
    column = report.column(name).name
    # Two stable sorts: the second puts what has no order at the end, whatever the direction of the first.
    rows = sorted(report.rows, key=lambda row: _key(row.cells.get(column)), reverse=descending)
    rows.sort(key=lambda row: _rank(row.cells.get(column)))
    return evolve(report, rows=tuple(rows))


def best_first(report: Report) -> Report:
    """Put the best rows first; without an objective, or among rows without a value, the order stays."""
    if report.objective is None:
        return report
    return sort(report, report.objective.column, report.objective.better == "highest")


def is_of_results(report: Report, condition: str) -> bool:
    """Return whether a condition is about a metric."""
    match = _CONDITION.fullmatch(condition)
    return match is not None and report.column(match["name"]).kind == "metric"


def _rank(value: Scalar | None) -> int:
    if as_number(value) is not None:
        return 0
    return 1 if isinstance(value, str) and value else 2


def _key(value: Scalar | None) -> tuple[float, str]:
    number = as_number(value)
    if number is not None:
        return number, ""
    return 0, value if isinstance(value, str) else ""


def filter_rows(report: Report, condition: str) -> Report:
    """Keep the rows that meet a condition: "NAME=VALUE", or with another of = != < <= > >=.

    Numbers compare as numbers. `NAME=` keeps rows without a value in the column, `NAME!=` those with one. Raises
    UsageError if the condition is not valid.
    """
    match = _CONDITION.fullmatch(condition)
    if match is None:
        raise UsageError(f"'{condition}' is not a condition", _EXAMPLE)
    if match["sign"] in ("=>", "=<"):
        raise UsageError(f"'{condition}' is not a condition", f"did you mean '{match['sign'][::-1]}'?")
    column, sign, value = report.column(match["name"]).name, match["sign"].replace("==", "="), match["value"]
    if sign not in ("=", "!=") and as_number(value) is None:
        raise UsageError(
            f"'{condition}' compares with '{value}', which is not a number",
            f"{column}={value} finds rows with that text",
        )
    return evolve(report, rows=tuple(row for row in report.rows if _meets(row.cells.get(column), sign, value)))


def _meets(cell: Scalar | None, sign: str, value: str) -> bool:
    if sign in ("=", "!="):
        return _equals(cell, value) == (sign == "=")
    left, right = as_number(cell), as_number(value)
    if left is None or right is None:
        return False
    return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[sign]


def _equals(cell: Scalar | None, value: str) -> bool:
    if cell is None:
        return not value
    if isinstance(cell, bool):
        return value.lower() == str(cell).lower()
    left, right = as_number(cell), as_number(value)
    return left == right if left is not None and right is not None else exact(cell) == value


def select_columns(report: Report, names: Iterable[str]) -> Report:
    """Show only these columns, in this order; a name with * selects all that match it."""
    selected: dict[str, Column] = {}
    for name in names:
        matches = [column for column in report.all_columns if column.name == name]
        if not matches and "*" in name:
            matches = [column for column in report.all_columns if fnmatchcase(column.name, name)]
        selected.update((column.name, column) for column in matches or [report.column(name)])
    return evolve(report, columns=tuple(selected.values()))
