"""Two groups side by side: the points that both have, and how far their results differ (pure)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence

from attrs import evolve, field, frozen

from ocicaliban.model.job import Job, Parameters, Scalar
from ocicaliban.reports import means
from ocicaliban.reports.report import Column, Report, Row, Spread

GROUP = "group"
"""The name of the parameter by which the jobs of two groups can be told apart."""


@frozen(kw_only=True)
class Comparison:
    """Two groups, point by point. `table` has a row for each point, and for each metric both values and the change.

    `differences` are the parameters that tell the groups apart as a whole, with the values in each. `points` are those
    that both groups have; those of one group alone are counted in `first_only` and `second_only`.
    """

    first: str
    second: str
    table: Report
    points: int = 0
    first_only: int = 0
    second_only: int = 0
    differences: Mapping[str, tuple[str, str]] = field(factory=dict)


def united(jobs: Iterable[Job]) -> list[Job]:
    """Return the jobs with their group as a parameter, so that one report can show jobs of several groups."""
    every = list(jobs)
    taken = any(name == GROUP for job in every for name, _ in job.parameters)
    name = "group of jobs" if taken else GROUP
    return [evolve(job, parameters=((name, job.submission.group), *job.parameters)) for job in every]


def compare(first: Report, second: Report) -> Comparison:
    """Return the comparison of two reports of single jobs. Jobs with the same parameters are averaged."""
    differences, names = _parameters(first, second)
    points = [_points(report, names) for report in (first, second)]
    both = [key for key in points[0] if key in points[1]]
    columns = _columns(first, second, names)
    rows = [
        _row(points[0].get(key, ()), points[1].get(key, ()), columns, names)
        for key in dict.fromkeys((*points[0], *points[1]))
    ]
    objective = (
        first.objective if first.objective and first.objective.column in {each.name for each in columns} else None
    )
    table = Report(
        group=f"{first.group} and {second.group}",
        columns=tuple(columns),
        all_columns=tuple(columns),
        rows=tuple(rows),
        shared=tuple(pair for pair in first.shared if pair in second.shared),
        counts={
            status: first.counts.get(status, 0) + second.counts.get(status, 0)
            for status in {**first.counts, **second.counts}
        },
        objective=objective,
        notes=(*first.notes, *second.notes),
    )
    return Comparison(
        first=first.group,
        second=second.group,
        table=table,
        points=len(both),
        first_only=len(points[0]) - len(both),
        second_only=len(points[1]) - len(both),
        differences=differences,
    )


def change(metric: str) -> str:
    """Return the name of the column that has the change of a metric from the first group to the second."""
    return f"{metric} change"


def of_second(metric: str, group: str) -> str:
    """Return the name of the column that has a metric of the second group."""
    return f"{metric} ({group})"


def as_json(made: Comparison) -> dict[str, object]:
    """Return a comparison as JSON holds it."""
    parameters = [column for column in made.table.columns if column.kind == "parameter"]
    metrics = [column for column in made.table.columns if column.kind == "metric" and column.name == column.key]
    return {
        "groups": [made.first, made.second],
        "differences": {name: list(values) for name, values in made.differences.items()},
        "shared": dict(made.table.shared),
        "points": [
            {
                "jobs": [job.id for job in row.members],
                "parameters": {each.key: row.cells[each.name] for each in parameters if each.name in row.cells},
                "metrics": {
                    each.key: {
                        made.first: _finite(row.cells.get(each.name)),
                        made.second: _finite(row.cells.get(of_second(each.name, made.second))),
                        "change": _finite(row.cells.get(change(each.name))),
                    }
                    for each in metrics
                },
            }
            for row in made.table.rows
        ],
    }


def heading(made: Comparison) -> list[str]:
    """Return the lines above the table of a comparison."""
    lines = [f"{made.first} and {made.second}: {made.points} point{'s' * (made.points != 1)} in both"]
    for number, group in ((made.first_only, made.first), (made.second_only, made.second)):
        if number:
            lines[0] += f", {number} in {group} alone"
    for name, (one, other) in made.differences.items():
        lines.append(f"{name}: {one} in {made.first}, {other} in {made.second}")
    return lines


def _finite(value: Scalar | None) -> Scalar | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _values(report: Report) -> dict[str, dict[str, Scalar]]:
    """Return the values of each parameter, by their JSON."""
    found: dict[str, dict[str, Scalar]] = {}
    for row in report.rows:
        for name, value in row.job.parameters:
            found.setdefault(name, {})[json.dumps(value)] = value
    return found


def _parameters(first: Report, second: Report) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Return the parameters that differ as a whole, and the names of those by which points are matched.

    A parameter without a value in common cannot match: it is what the groups differ in. Seeds are averaged.
    """
    mine, others = _values(first), _values(second)
    seeds = {*means.seeds(first), *means.seeds(second)}
    differences: dict[str, tuple[str, str]] = {}
    names: list[str] = []
    for name in dict.fromkeys((*mine, *others)):
        if name in seeds:
            continue
        one, other = mine.get(name, {}), others.get(name, {})
        if not one.keys() & other.keys():
            differences[name] = (_told(one), _told(other))
        elif len({*one, *other}) > 1:
            names.append(name)
    return differences, names


def _told(values: Mapping[str, Scalar]) -> str:
    shown = [str(value) for value in values.values()]
    return ", ".join(shown[:3]) + (", ..." if len(shown) > 3 else "") if shown else "not given"


def _points(report: Report, names: Sequence[str]) -> dict[str, list[Row]]:
    points: dict[str, list[Row]] = {}
    for row in report.rows:
        given = dict(row.job.parameters)
        points.setdefault(json.dumps([given.get(name) for name in names]), []).append(row)
    return points


def _columns(first: Report, second: Report, names: Sequence[str]) -> list[Column]:
    columns = [Column(name=name, kind="parameter", key=name) for name in names]
    keys = {column.key for column in second.metrics}
    # The metric that counts comes first: a narrow terminal leaves out the last ones.
    main = first.objective.column if first.objective else ""
    for column in sorted(first.metrics, key=lambda each: each.name != main):
        if column.key in keys:
            name = column.name if column.name not in names else f"metrics.{column.key}"
            columns.append(Column(name=name, kind="metric", key=name))
            columns.append(Column(name=of_second(name, second.group), kind="metric", key=column.key))
            columns.append(Column(name=change(name), kind="metric", key=column.key))
    return columns


def _row(mine: Sequence[Row], others: Sequence[Row], columns: Sequence[Column], names: Sequence[str]) -> Row:
    given: Parameters = (mine or others)[0].job.parameters
    cells: dict[str, Scalar] = {name: value for name, value in given if name in names}
    spreads: dict[str, Spread] = {}
    metrics = [column for column in columns if column.kind == "metric"]
    for own, other, changed in zip(metrics[::3], metrics[1::3], metrics[2::3], strict=True):
        found = []
        for column, rows in ((own, mine), (other, others)):
            values = _numbers(rows, column.key if column is other else other.key)
            if values:
                spreads[column.name] = means.spread(values)
                cells[column.name] = spreads[column.name].mean
                found.append(spreads[column.name].mean)
        if len(found) == 2:
            cells[changed.name] = found[1] - found[0]
    members = tuple(row.job for row in (*mine, *others))
    return Row(job=members[0], cells=cells, members=members, spreads=spreads)


def _numbers(rows: Sequence[Row], key: str) -> list[float]:
    """Return the values of a metric, of the jobs that succeeded if there are some."""
    counted = [row for row in rows if row.job.status == "succeeded"] or rows
    values = [row.cells.get(key, row.cells.get(f"metrics.{key}")) for row in counted]
    return [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
