"""A report of a group: its jobs as rows, their parameters and metrics as columns (pure)."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from attrs import evolve, field, frozen

from ocicaliban.errors import UsageError, nearest
from ocicaliban.jobs import arguments, lifecycle
from ocicaliban.model.job import Job, Parameters, Scalar, Status
from ocicaliban.reports import objective
from ocicaliban.reports.details import Failure, Source
from ocicaliban.reports.metrics import Metrics
from ocicaliban.reports.objective import Objective
from ocicaliban.reports.values import as_number

JOBS = "jobs"
"""The name of the column with the numbers of a row's jobs, where a row has several."""

ColumnKind = Literal["job", "parameter", "metric"]


@frozen(kw_only=True)
class Column:
    """A column; `name` is what the user calls it, `key` the name of the parameter or metric itself."""

    name: str
    kind: ColumnKind
    key: str


@frozen(kw_only=True)
class Spread:
    """Several values of a metric: their mean, their standard deviation (that of a sample; 0 for one), their number."""

    mean: float
    deviation: float
    count: int


@frozen(kw_only=True)
class Row:
    """A job, and its value in each column, by the column's name, for those in which it has one.

    A row of several jobs that differ in their seed alone has the first one as `job`, all of them as `members`, and a
    `spread` in the columns whose value is a mean.
    """

    job: Job
    cells: Mapping[str, Scalar]
    members: tuple[Job, ...] = ()
    spreads: Mapping[str, Spread] = field(factory=dict)


@frozen(kw_only=True)
class Report:
    """The jobs of a group, or those that filters left; with `over`, each row is the mean over these parameters.

    `columns` are shown; rows can be sorted and filtered by `all_columns`. `shared` are the parameters that all jobs of
    the group have in common, `counts` the number of the group's jobs by status.
    """

    group: str
    columns: tuple[Column, ...]
    all_columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    shared: Parameters = ()
    counts: Mapping[Status, int] = field(factory=dict)
    objective: Objective | None = None
    notes: tuple[str, ...] = ()
    over: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
    sources: tuple[Source, ...] = ()

    @property
    def best(self) -> Row | None:
        """The best row by the objective, the first job of several that are equal; None if no row has a value."""
        if self.objective is None:
            return None
        name, sign = self.objective.column, 1 if self.objective.better == "lowest" else -1
        ranked = [
            (sign * value, row.job.id, row)
            for row in self.rows
            if (value := as_number(row.cells.get(name))) is not None
        ]
        return min(ranked, key=lambda each: each[:2])[2] if ranked else None

    @property
    def job_count(self) -> int:
        """The number of jobs in the group, shown or not."""
        return sum(self.counts.values())

    @property
    def metrics(self) -> tuple[Column, ...]:
        """The columns of metrics, shown or not."""
        return tuple(column for column in self.all_columns if column.kind == "metric")

    def column(self, name: str) -> Column:
        """Return the column called `name`. Raises UsageError if there is none."""
        for column in self.all_columns:
            if column.name == name:
                return column
        raise UsageError(
            f"the report has no column '{name}'", nearest(name, [column.name for column in self.all_columns])
        )


def build(group: str, jobs: Sequence[Job], metrics: Mapping[int, Metrics], now: float) -> Report:
    """Return the report of a group's jobs; `metrics` by the jobs' ids, `now` in seconds since 1970."""
    jobs = [evolve(job, parameters=arguments.of_job(job)) for job in jobs]
    shared, varying = _compare_parameters(jobs)
    columns = _columns(jobs, metrics)
    counts: dict[Status, int] = {}
    for job in jobs:
        counts[job.status] = counts.get(job.status, 0) + 1
    report = Report(
        group=group,
        columns=tuple(column for column in columns if column.kind != "parameter" or column.key in varying),
        all_columns=columns,
        rows=tuple(Row(job=job, cells=_cells(job, _metrics_of(job, metrics), columns, now)) for job in jobs),
        shared=shared,
        counts=counts,
        notes=_collect_notes(jobs, metrics),
    )
    with_values = (
        (column.name, column.key)
        for column in report.metrics
        if any(as_number(row.cells.get(column.name)) is not None for row in report.rows)
    )
    return evolve(report, objective=objective.guess(with_values))


def duration(job: Job, now: float) -> float | None:
    """Return the seconds that the last attempt at a job took, or has taken until `now`; None before it has begun."""
    if job.last is None or job.status in ("queued", "pending"):
        return None
    return round(max(0.0, (job.last.ended if job.last.ended is not None else now) - job.last.started), 1)


def _metrics_of(job: Job, metrics: Mapping[int, Metrics]) -> Metrics:
    return metrics.get(job.id) or Metrics()


def _compare_parameters(jobs: Sequence[Job]) -> tuple[Parameters, frozenset[str]]:
    """Return the parameters that all jobs have in common, and the names of the others."""
    values: dict[str, set[str]] = {}
    for job in jobs:
        for name, value in job.parameters:
            values.setdefault(name, set()).add(json.dumps(value))  # so that 1, 1.0 and true differ
    everywhere = set(values).intersection(*({name for name, _ in job.parameters} for job in jobs))
    shared = {name for name in everywhere if len(values[name]) == 1}
    return (
        tuple((name, value) for name, value in (jobs[0].parameters if jobs else ()) if name in shared),
        frozenset(values) - shared,
    )


def _columns(jobs: Sequence[Job], metrics: Mapping[int, Metrics]) -> tuple[Column, ...]:
    parameters = dict.fromkeys(name for job in jobs for name, _ in job.parameters)
    results = dict.fromkeys(name for job in jobs for name in _metrics_of(job, metrics).results)
    columns = [Column(name=name, kind="job", key=name) for name in ("id", "status", "duration", *_distinctions(jobs))]
    taken = {JOBS, *(column.name for column in columns)}
    kinds: tuple[tuple[ColumnKind, Iterable[str]], ...] = (("parameter", parameters), ("metric", results))
    for kind, keys in kinds:
        for key in keys:
            # A metric may be called like a parameter (`lr`), and both like a column of ours.
            name = key if key not in taken else f"{kind}s.{key}"
            taken.add(name)
            columns.append(Column(name=name, kind=kind, key=key))
    return tuple(columns)


def _distinctions(jobs: Sequence[Job]) -> list[str]:
    """Return the columns that distinguish jobs beside parameters: the module, and arguments that are none."""
    modules = {job.submission.module for job in jobs}
    without = any(job.args and not job.parameters for job in jobs)
    return [
        *(["module"] if len(modules) > 1 else []),
        *(["arguments"] if without or len({arguments.divided(job.args)[1] for job in jobs}) > 1 else []),
    ]


def _cells(job: Job, metrics: Metrics, columns: Iterable[Column], now: float) -> dict[str, Scalar]:
    own: dict[str, Scalar] = {"id": job.id, "status": job.status, "module": job.submission.module}
    if (seconds := duration(job, now)) is not None:
        own["duration"] = seconds
    if other := arguments.divided(job.args)[1]:
        own["arguments"] = shlex.join(other)
    values: dict[ColumnKind, Mapping[str, Scalar]] = {
        "job": own, "parameter": dict(job.parameters), "metric": metrics.results,
    }  # fmt: skip
    return {each.name: values[each.kind][each.key] for each in columns if each.key in values[each.kind]}


def _collect_notes(jobs: Sequence[Job], metrics: Mapping[int, Metrics]) -> tuple[str, ...]:
    """Return the notes about the jobs: their metrics, and what killed them. A note of several jobs has their ids."""
    ids: dict[str, list[int]] = {}
    for job in jobs:
        if job.last and job.status == "failed" and lifecycle.cause(job.last):
            ids.setdefault(job.last.reason, []).append(job.id)
        for note in _metrics_of(job, metrics).notes:
            ids.setdefault(note, []).append(job.id)
    return tuple(f"{_name_jobs(several)}: {note}" for note, several in ids.items())


def _name_jobs(ids: Sequence[int]) -> str:
    if len(ids) == 1:
        return f"job {ids[0]}"
    more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
    return f"jobs {', '.join(map(str, ids[:5]))}{more}"
