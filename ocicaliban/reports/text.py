"""A report as text for a terminal: a heading, a table, and which job is the best (pure)."""

from __future__ import annotations

from collections.abc import Iterable

from ocicaliban.formats.text import printable
from ocicaliban.jobs.status_table import counted
from ocicaliban.model.job import ENDED, Scalar
from ocicaliban.reports.report import Column, Report
from ocicaliban.reports.values import exact, readable


def heading(report: Report) -> list[str]:
    """Return the lines above the table."""
    lines = [f"{printable(report.group)}: {_count_jobs(report.job_count)}, {counted(report.counts)}"]
    if report.shared:
        lines.append(f"all with {join_parameters(report.shared)}")
    return [*lines, *([unfinished(report)] if unfinished(report) else [])]


def unfinished(report: Report) -> str:
    """Return a sentence with the number of the group's jobs that have not ended; "" if all have."""
    left = sum(count for status, count in report.counts.items() if status not in ENDED)
    return f"{_count_jobs(left)} not finished yet: results may change" if left else ""


def _count_jobs(count: int) -> str:
    return f"{count} job" if count == 1 else f"{count} jobs"


def join_parameters(parameters: Iterable[tuple[str, Scalar]]) -> str:
    """Return parameters in one line: "lr=0.1 batch=32"."""
    return " ".join(printable(f"{name}={exact(value)}") for name, value in parameters)


def summary(report: Report) -> str:
    """Return a line that names the best job; "" if there is none."""
    best = report.best
    if best is None or report.objective is None:
        return ""
    varying = {column.key for column in report.columns if column.kind == "parameter"}
    parameters = join_parameters((name, value) for name, value in best.job.parameters if name in varying)
    column = report.column(report.objective.column)
    status = "" if best.job.status == "succeeded" else f", {best.job.status}"
    value = readable(best.cells[column.name], column)
    line = f"{report.objective.better} {printable(column.name)}: {value}, job {best.job.id}{status}"
    return f"{line} ({parameters})" if parameters else line


def table(report: Report, width: int = 0) -> tuple[list[str], tuple[Column, ...]]:
    """Return the rows as lines of text, the best one marked with a star, and the columns that did not fit.

    `width` is the number of cells in a line, 0 for no limit. Columns of numbers are aligned right. If columns do not
    fit, the last metrics are left out first, then the last parameters; the objective stays.
    """
    from rich.cells import cell_len

    best = report.best
    marks = ["", *("*" if row is best else "" for row in report.rows)]
    words = {
        column.name: [printable(column.name), *(readable(row.cells.get(column.name), column) for row in report.rows)]
        for column in report.columns
    }
    widths = {name: max(map(cell_len, each)) for name, each in words.items()}
    shown, left_out = _fit(report, widths, width)
    right = {column.name for column in shown if _is_numeric(report, column)}
    lines = []
    for number, mark in enumerate(marks):
        line = f"{mark:1}"
        for position, column in enumerate(shown):
            word = words[column.name][number]
            padding = " " * (widths[column.name] - cell_len(word))
            line += ("  " if position else " ") + (padding + word if column.name in right else word + padding)
        lines.append(line.rstrip())
    return lines, left_out


def _fit(report: Report, widths: dict[str, int], width: int) -> tuple[list[Column], tuple[Column, ...]]:
    """Return the columns that fit into a line of `width` cells, and those that do not, both in their order."""
    shown, left_out = list(report.columns), []
    for kind in ("metric", "parameter"):
        for column in reversed(report.columns):
            fits = not width or sum(widths[each.name] + 2 for each in shown) <= width
            is_objective = report.objective is not None and column.name == report.objective.column
            if not fits and column.kind == kind and not is_objective:
                shown.remove(column)
                left_out.append(column)
    return shown, tuple(reversed(left_out))


def _is_numeric(report: Report, column: Column) -> bool:
    values = [value for row in report.rows if (value := row.cells.get(column.name)) is not None]
    return bool(values) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
