"""Means over seeds: one row for the jobs that differ in nothing else (pure)."""

from __future__ import annotations

import itertools
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from attrs import evolve

from ocicaliban.errors import UsageError, nearest
from ocicaliban.model.job import Job, Scalar
from ocicaliban.reports.report import JOBS, Column, Report, Row, Spread
from ocicaliban.reports.values import as_number

_SEED = "seed"


def seeds(report: Report) -> tuple[str, ...]:
    """Return the parameters that are seeds, as `seed` and `model.seed`, if there are jobs that differ in them alone."""
    varying = [column.key for column in report.columns if column.kind == "parameter"]
    names = tuple(name for name in varying if name.rpartition(".")[2] == _SEED)
    return names if names and len({_point(row.job, names) for row in report.rows}) < len(report.rows) else ()


def check(report: Report, names: Iterable[str]) -> tuple[str, ...]:
    """Return the parameters that a user names to take means over. Raises UsageError for one that does not exist."""
    found = []
    known = [column for column in report.all_columns if column.kind == "parameter"]
    for name in names:
        column = next((column for column in known if name in (column.name, column.key)), None)
        if column is None:
            hint = nearest(name, [column.name for column in known]) if known else "the jobs have no parameters"
            raise UsageError(f"--over {name}: no job has this parameter", hint)
        found.append(column.key)
    return tuple(found)


def over(report: Report, names: Sequence[str]) -> Report:
    """Return a report with a row for all jobs that differ in the parameters `names` alone.

    A metric's value is the mean of the jobs that succeeded, or of all if none has.
    """
    dropped = {"id", "duration"}
    kept = [
        column
        for column in report.all_columns
        if not (column.kind == "parameter" and column.key in names) and column.name not in dropped
    ]
    columns = (
        Column(name=JOBS, kind="job", key=JOBS),
        *(column for column in kept if column.kind == "job"),
        Column(name="duration", kind="job", key="duration"),
        *(column for column in kept if column.kind != "job"),
    )
    points: dict[str, list[Row]] = {}
    for row in report.rows:
        points.setdefault(_point(row.job, names), []).append(row)
    shown = {column.name for column in report.columns}
    return evolve(
        report,
        columns=tuple(each for each in columns if each.name in shown or each.name == JOBS),
        all_columns=columns,
        rows=tuple(_mean(rows, columns) for rows in points.values()),
        over=tuple(names),
    )


def spread(values: Sequence[float]) -> Spread:
    """Return the mean and the spread of some values, of which there is at least one."""
    finite = all(map(math.isfinite, values))
    deviation = statistics.stdev(values) if len(values) > 1 and finite else 0.0
    return Spread(mean=statistics.fmean(values) if finite else math.nan, deviation=deviation, count=len(values))


def numbered(numbers: Iterable[int]) -> str:
    """Return numbers in a few words: "1-3, 7"."""
    words = []
    for _, run in itertools.groupby(enumerate(sorted(set(numbers))), key=lambda each: each[1] - each[0]):
        some = [number for _, number in run]
        words.append(f"{some[0]}-{some[-1]}" if len(some) > 2 else ", ".join(map(str, some)))
    return ", ".join(words)


def _point(job: Job, names: Sequence[str]) -> str:
    """Return what jobs have in common that differ in the parameters `names` alone."""
    others = sorted((name, json.dumps(value)) for name, value in job.parameters if name not in names)
    return json.dumps([job.submission.module, others])


def _mean(rows: Sequence[Row], columns: Iterable[Column]) -> Row:
    """Return the row of some jobs."""
    counted = [row for row in rows if row.job.status == "succeeded"] or rows
    cells: dict[str, Scalar] = {}
    spreads: dict[str, Spread] = {}
    for column in columns:
        if column.name == JOBS:
            cells[JOBS] = numbered(row.job.id for row in rows)
            continue
        if column.name == "status":
            cells["status"] = _statuses(rows)
            continue
        values = [row.cells[column.name] for row in counted if column.name in row.cells]
        if not values:
            continue
        numbers = [_number(value) for value in values]
        if (column.kind == "metric" or column.name == "duration") and None not in numbers:
            spreads[column.name] = spread([number for number in numbers if number is not None])
            cells[column.name] = spreads[column.name].mean
        elif len({json.dumps(value) for value in values}) == 1:
            cells[column.name] = values[0]
    return Row(job=rows[0].job, cells=cells, members=tuple(row.job for row in rows), spreads=spreads)


def _number(value: Scalar) -> float | None:
    if isinstance(value, bool):
        return None
    return value if isinstance(value, float) else as_number(value)


def _statuses(rows: Sequence[Row]) -> str:
    """Return the status of a row's jobs: "succeeded", or "3 succeeded, 1 failed" if they differ."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.job.status] = counts.get(row.job.status, 0) + 1
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{count} {status}" for status, count in counts.items())


def rows_of(report: Report) -> Mapping[int, int]:
    """Return the place of the row that each job is in, by the job's number."""
    return {job.id: place for place, row in enumerate(report.rows) for job in row.members or (row.job,)}
