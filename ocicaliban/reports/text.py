"""A report as text for a terminal: a heading, a table, and which job is the best (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ocicaliban.formats.text import printable
from ocicaliban.jobs.status_table import counted
from ocicaliban.model.job import ENDED, Scalar
from ocicaliban.reports import details, means
from ocicaliban.reports.report import Column, Report
from ocicaliban.reports.values import cell, exact


def heading(report: Report) -> list[str]:
    """Return the lines above the table."""
    lines = [f"{printable(report.group)}: {_count_jobs(report.job_count)}, {counted(report.counts)}"]
    if report.shared:
        lines.append(f"all with {join_parameters(report.shared)}")
    if report.over:
        lines.append(
            f"each line is the mean of the jobs that differ in {join_names(report.over)}, ± standard deviation"
        )
    return [*lines, *([unfinished(report)] if unfinished(report) else [])]


def unfinished(report: Report) -> str:
    """Return a sentence with the number of the group's jobs that have not ended; "" if all have."""
    left = sum(count for status, count in report.counts.items() if status not in ENDED)
    return f"{_count_jobs(left)} not finished yet: results may change" if left else ""


def join_names(names: Sequence[str]) -> str:
    """Return names in a sentence: "seed", "seed and fold"."""
    shown = [printable(name) for name in names]
    return " and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))


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
    numbers = [job.id for job in best.members or (best.job,)]
    jobs = f"job{'s' * (len(numbers) > 1)} {means.numbered(numbers)}"
    spread = best.spreads.get(column.name)
    mean = f", mean of {spread.count}" if spread and spread.count > 1 else ""
    status = "" if best.cells.get("status") == "succeeded" else f", {best.cells.get('status')}"
    line = f"{report.objective.better} {printable(column.name)}: {cell(best, column)}{mean}, {jobs}{status}"
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
        column.name: [printable(column.name), *(cell(row, column) for row in report.rows)] for column in report.columns
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


def failures(report: Report) -> list[str]:
    """Return lines about the jobs that failed: why, the end of the log, and where the log is."""
    lines: list[str] = []
    failed = [each for each in report.failures if each.status in ("failed", "lost")]
    for each in failed[:_FAILURES]:
        why = f": {each.reason}" if each.reason else ""
        lines.append(printable(f"job {each.job} {each.status}{why}"))
        lines += [f"    {printable(line)}" for line in each.lines[-_LOG_LINES:]]
        lines += [printable(f"    log: {each.log}")] if each.log else []
    if len(failed) > _FAILURES:
        lines.append(f"{len(failed) - _FAILURES} more jobs failed: ocicaliban logs --failed {printable(report.group)}")
    return lines


_FAILURES, _LOG_LINES = 3, 3


def sources(report: Report) -> list[str]:
    """Return lines about how the jobs were made."""
    lines: list[str] = []
    for each in report.sources[-_SOURCES:]:
        lines += ["", *(f"{name + ':':9}{printable(text)}" for name, text in details.facts(each))]
    if len(report.sources) > _SOURCES:
        lines.append(f"{len(report.sources) - _SOURCES} earlier commands made jobs of this group too: --json has them")
    return lines


_SOURCES = 1
