"""A group's jobs beside what they reported, sorted and filtered, as a table, JSON or CSV (pure)."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal

from attrs import evolve, field, frozen

from ocicaliban.errors import UsageError, nearest
from ocicaliban.jobs.status_table import counted, printable, span
from ocicaliban.model.job import ENDED, Job, Parameters, Scalar, Status
from ocicaliban.reports.metrics import Metrics

Kind = Literal["job", "parameter", "metric"]
Better = Literal["highest", "lowest"]

# Words in a metric's name that tell which of its values one wants.
_LOW = re.compile("loss(es)?|err(ors?)?|mse|rmse|mae|mape|nll|perplexity|ppl|wer|cer|fid|latency|bpc|bpb")
_HIGH = re.compile(
    "acc|accuracy|auc|auroc|auprc|f1|score|precision|recall|reward|return|bleu|rouge|iou|miou|dice|map|psnr|ssim|r2"
    "|throughput|top1|top5|likelihood"
)


@frozen(kw_only=True)
class Column:
    """A column by the name that the user calls it; `key` is the parameter's or metric's own."""

    name: str
    kind: Kind
    key: str


@frozen(kw_only=True)
class Row:
    """One job: what it has in each column that it has something in."""

    job: Job
    cells: Mapping[str, Scalar]


@frozen(kw_only=True)
class Objective:
    """What one looks for: the job with the best value in this column."""

    column: str
    better: Better


@frozen(kw_only=True)
class Report:
    """All of a group, or what is left of it after filters.

    `columns` are those to show, `known` those that rows can be sorted and filtered by; `shared` the parameters that
    all jobs of the group have in common; `counts` how many of the group's jobs have which status. `best` is the row of
    `rows` that comes out best at the `objective`.
    """

    group: str
    columns: tuple[Column, ...]
    known: tuple[Column, ...]
    rows: tuple[Row, ...]
    shared: Parameters = ()
    counts: Mapping[Status, int] = field(factory=dict)
    objective: Objective | None = None
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> Row | None:
        """The best row, of several that are the same the first job; None where nobody can tell."""
        if self.objective is None:
            return None
        name, sign = self.objective.column, 1 if self.objective.better == "lowest" else -1
        found = [
            (sign * value, row.job.id, row) for row in self.rows if (value := number(row.cells.get(name))) is not None
        ]
        return min(found, key=lambda each: each[:2])[2] if found else None

    @property
    def jobs(self) -> int:
        """How many jobs the group has, shown or not."""
        return sum(self.counts.values())

    @property
    def metrics(self) -> tuple[Column, ...]:
        """The columns of results that there are, shown or not."""
        return tuple(column for column in self.known if column.kind == "metric")


def made(group: str, jobs: Sequence[Job], found: Mapping[int, Metrics], now: float) -> Report:
    """The report of a group's jobs; `found` is what they reported, by their ids, `now` in seconds since 1970."""
    shared, varying = _divided(jobs)
    parameters = list(dict.fromkeys(name for job in jobs for name, _ in job.parameters))
    metrics = list(dict.fromkeys(name for job in jobs for name in _of(job, found).results))
    own = [Column(name=name, kind="job", key=name) for name in ("id", "status", "duration", *_others(jobs))]
    taken = {column.name for column in own}
    columns: list[Column] = list(own)
    for kind, keys in (("parameter", parameters), ("metric", metrics)):
        for key in keys:
            # Both kinds can have the same name, and names of ours: an optimizer that logs its `lr`.
            name = key if key not in taken else f"{kind}s.{key}"
            taken.add(name)
            columns.append(Column(name=name, kind="parameter" if kind == "parameter" else "metric", key=key))
    counts: dict[Status, int] = {}
    for job in jobs:
        counts[job.status] = counts.get(job.status, 0) + 1
    rows = tuple(Row(job=job, cells=_cells(job, _of(job, found), columns, now)) for job in jobs)
    whole = Report(
        group=group,
        columns=tuple(column for column in columns if column.kind != "parameter" or column.key in varying),
        known=tuple(columns),
        rows=rows,
        shared=shared,
        counts=counts,
        notes=_gathered(jobs, found),
    )
    return evolve(whole, objective=_objective(whole))


def _of(job: Job, found: Mapping[int, Metrics]) -> Metrics:
    return found.get(job.id) or Metrics()


def _divided(jobs: Sequence[Job]) -> tuple[Parameters, frozenset[str]]:
    """The parameters that all jobs have alike, and the names of the others."""
    values: dict[str, set[str]] = {}
    for job in jobs:
        for name, value in job.parameters:
            values.setdefault(name, set()).add(json.dumps(value))  # 1, 1.0 and true are three values
    everywhere = set(values).intersection(*({name for name, _ in job.parameters} for job in jobs))
    shared = {name for name in everywhere if len(values[name]) == 1}
    return (
        tuple((name, value) for name, value in (jobs[0].parameters if jobs else ()) if name in shared),
        frozenset(values) - shared,
    )


def _others(jobs: Sequence[Job]) -> list[str]:
    """What else tells the jobs of a group apart: runs of other modules, or with arguments of no sweep file."""
    modules = {job.submission.module for job in jobs}
    words = {job.args for job in jobs if not job.parameters}
    return [*(["module"] if len(modules) > 1 else []), *(["arguments"] if words and words != {()} else [])]


def _cells(job: Job, metrics: Metrics, columns: Iterable[Column], now: float) -> dict[str, Scalar]:
    own: dict[str, Scalar] = {"id": job.id, "status": job.status, "module": job.submission.module}
    if (took := duration(job, now)) is not None:
        own["duration"] = took
    if not job.parameters:
        own["arguments"] = shlex.join(job.args)
    places: dict[Kind, Mapping[str, Scalar]] = {
        "job": own, "parameter": dict(job.parameters), "metric": metrics.results,
    }  # fmt: skip
    return {each.name: places[each.kind][each.key] for each in columns if each.key in places[each.kind]}


def duration(job: Job, now: float) -> float | None:
    """Seconds that the last attempt at a job took, or has taken until `now`; None before the first."""
    if job.last is None or job.status in ("queued", "pending"):
        return None
    return round(max(0.0, (job.last.ended if job.last.ended is not None else now) - job.last.started), 1)


def _gathered(jobs: Sequence[Job], found: Mapping[int, Metrics]) -> tuple[str, ...]:
    """The jobs' notes: the same of several jobs once."""
    told: dict[str, list[int]] = {}
    for job in jobs:
        for note in _of(job, found).notes:
            told.setdefault(note, []).append(job.id)
    return tuple(f"{_named(ids)}: {note}" for note, ids in told.items())


def _named(ids: Sequence[int]) -> str:
    if len(ids) == 1:
        return f"job {ids[0]}"
    more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
    return f"jobs {', '.join(map(str, ids[:5]))}{more}"


def _objective(report: Report) -> Objective | None:
    """What the names of the metrics tell: of the first whose name says which values are good."""
    named = [
        column
        for column in report.metrics
        if any(number(row.cells.get(column.name)) is not None for row in report.rows)
    ]
    ranked = sorted(named, key=lambda column: _seen(_words(column.key)))
    for column in ranked:
        if (better := direction(column.key)) is not None:
            return Objective(column=column.name, better=better)
    return None


def _seen(words: set[str]) -> int:
    """What was seen in validation or test comes first, what was seen in training last."""
    return 0 if words & {"val", "valid", "validation", "test", "eval"} else 2 if words & {"train", "training"} else 1


def _words(name: str) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()))


def direction(name: str) -> Better | None:
    """Whether one wants a metric of this name high or low; None where the name does not tell."""
    words = _words(name)
    if any(map(_LOW.fullmatch, words)):
        return "lowest"
    return "highest" if any(map(_HIGH.fullmatch, words)) else None


# --- what the user asks for -------------------------------------------------------------------------------------------


def aimed(report: Report, name: str, better: Better) -> Report:
    """With another objective. Raises UsageError where there is no such column."""
    return evolve(report, objective=Objective(column=_column(report, name).name, better=better))


def ordered(report: Report, name: str, descending: bool = False) -> Report:
    """Sorted by a column: numbers before texts, what is missing or NaN last in either direction; "-NAME" descends.

    Raises UsageError where there is no such column.
    """
    if name.startswith("-") and name not in {column.name for column in report.known}:
        name, descending = name[1:], not descending
    column = _column(report, name).name
    # Two stable sorts: the second puts what has no order to the end whichever way the first one went.
    rows = sorted(report.rows, key=lambda row: _key(row.cells.get(column)), reverse=descending)
    rows.sort(key=lambda row: _rank(row.cells.get(column)))
    return evolve(report, rows=tuple(rows))


def _rank(value: Scalar | None) -> int:
    if number(value) is not None:
        return 0
    return 1 if isinstance(value, str) and value else 2


def _key(value: Scalar | None) -> tuple[float, str]:
    found = number(value)
    if found is not None:
        return found, ""
    return 0, value if isinstance(value, str) else ""


def number(value: Scalar | None) -> float | int | None:
    """A value as a number, which a text can be ("0.1") and a bool is (0 or 1); None for all others, and for NaN."""
    if isinstance(value, str):
        try:
            value = float(value) if _NUMBER.fullmatch(value) else None
        except ValueError:
            return None
    return None if value is None or math.isnan(value) else value


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_CONDITION = re.compile(r"\s*(?P<name>.+?)\s*(?P<sign><=|>=|!=|==|=>|=<|=|<|>)\s*(?P<value>.*?)\s*", re.S)


def where(report: Report, condition: str) -> Report:
    """The rows for which "NAME=VALUE" holds, or another of = != < <= > >=.

    Numbers are compared as numbers. `NAME=` finds where there is nothing, `NAME!=` where there is something.
    Raises UsageError for what is no condition, or names no column.
    """
    match = _CONDITION.fullmatch(condition)
    if match is None:
        raise UsageError(f"'{condition}' is no condition", "for example lr=0.1, accuracy>0.9 or status!=failed")
    if match["sign"] in ("=>", "=<"):
        raise UsageError(f"'{condition}' is no condition", f"did you mean '{match['sign'][::-1]}'?")
    column, sign, value = _column(report, match["name"]).name, match["sign"].replace("==", "="), match["value"]
    if sign not in ("=", "!=") and number(value) is None:
        raise UsageError(f"'{condition}' compares with no number", f"{column}={value} looks for that text")
    return evolve(report, rows=tuple(row for row in report.rows if _holds(row.cells.get(column), sign, value)))


def _holds(cell: Scalar | None, sign: str, value: str) -> bool:
    if sign in ("=", "!="):
        return _same(cell, value) == (sign == "=")
    one, other = number(cell), number(value)
    if one is None or other is None:
        return False
    return {"<": one < other, "<=": one <= other, ">": one > other, ">=": one >= other}[sign]


def _same(cell: Scalar | None, value: str) -> bool:
    if cell is None:
        return not value
    if isinstance(cell, bool):
        return value.lower() == str(cell).lower()
    one, other = number(cell), number(value)
    return one == other if one is not None and other is not None else full(cell) == value


def only(report: Report, names: Iterable[str]) -> Report:
    """With these columns alone, in this order; a name with * stands for all that are like it.

    Raises UsageError where there is no such column.
    """
    chosen: dict[str, Column] = {}
    for name in names:
        found = [column for column in report.known if column.name == name]
        if not found and "*" in name:
            found = [column for column in report.known if fnmatchcase(column.name, name)]
        chosen.update((column.name, column) for column in found or [_column(report, name)])
    return evolve(report, columns=tuple(chosen.values()))


def _column(report: Report, name: str) -> Column:
    for column in report.known:
        if column.name == name:
            return column
    raise UsageError(f"the report has no column '{name}'", nearest(name, [column.name for column in report.known]))


# --- how it looks -----------------------------------------------------------------------------------------------------


def full(value: Scalar | None) -> str:
    """A value in all its digits; "" for none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else str(value)


def short(value: Scalar | None, column: Column) -> str:
    """A value for people to read; what a terminal would take for an order of its own is spelled out."""
    if isinstance(value, float) and column.name == "duration":
        return span(value)
    if isinstance(value, float) and column.kind == "metric":
        if math.isnan(value):
            return "NaN"
        return f"{value:.0f}" if 1e5 <= abs(value) < 1e15 else f"{value:.5g}"
    if isinstance(value, float) and len(repr(value)) > 10:
        return f"{value:.6g}"
    return printable(full(value))


def heading(report: Report) -> list[str]:
    """What is said above the table."""
    said = [f"{printable(report.group)}: {report.jobs} {_jobs(report.jobs)}, {counted(report.counts)}"]
    if report.shared:
        said.append(f"all with {settings(report.shared)}")
    return [*said, *([pending(report)] if pending(report) else [])]


def pending(report: Report) -> str:
    """How many of the group's jobs have not ended; "" where all have."""
    left = sum(count for status, count in report.counts.items() if status not in ENDED)
    return f"{left} {_jobs(left)} not finished yet: results may change" if left else ""


def _jobs(count: int) -> str:
    return "job" if count == 1 else "jobs"


def settings(parameters: Iterable[tuple[str, Scalar]]) -> str:
    """Parameters in a line: "lr=0.1 batch=32"."""
    return " ".join(printable(f"{name}={full(value)}") for name, value in parameters)


def summary(report: Report) -> str:
    """Which job is the best; "" where nobody can tell."""
    best = report.best
    if best is None or report.objective is None:
        return ""
    varying = {column.key for column in report.columns if column.kind == "parameter"}
    with_ = settings((name, value) for name, value in best.job.parameters if name in varying)
    column = next(each for each in report.known if each.name == report.objective.column)
    state = "" if best.job.status == "succeeded" else f", {best.job.status}"
    told = short(best.cells[column.name], column)
    told = f"{report.objective.better} {printable(column.name)}: {told}, job {best.job.id}{state}"
    return f"{told} ({with_})" if with_ else told


def table(report: Report, width: int = 0) -> tuple[list[str], tuple[Column, ...]]:
    """The rows as lines of text, the best one marked with a star, and the columns that did not fit.

    `width` is how many cells a line may have; 0 for as many as it takes. Columns of numbers are flushed right. Of
    those that do not fit the last metrics go first, then the last parameters.
    """
    from rich.cells import cell_len

    best = report.best
    marks = ["", *("*" if row is best else "" for row in report.rows)]
    words = {
        column.name: [printable(column.name), *(short(row.cells.get(column.name), column) for row in report.rows)]
        for column in report.columns
    }
    widths = {name: max(map(cell_len, each)) for name, each in words.items()}
    shown, left = list(report.columns), []
    for kind in ("metric", "parameter"):
        for column in reversed(report.columns):
            fits = not width or sum(widths[each.name] + 2 for each in shown) <= width
            wanted = report.objective is not None and column.name == report.objective.column
            if not fits and column.kind == kind and not wanted:
                shown.remove(column)
                left.append(column)
    right = {column.name for column in shown if _flush_right(report, column)}
    lines = []
    for place, mark in enumerate(marks):
        line = f"{mark:1}"
        for nth, column in enumerate(shown):
            word = words[column.name][place]
            pad = " " * (widths[column.name] - cell_len(word))
            line += ("  " if nth else " ") + (pad + word if column.name in right else word + pad)
        lines.append(line.rstrip())
    return lines, tuple(reversed(left))


def _flush_right(report: Report, column: Column) -> bool:
    values = [value for row in report.rows if (value := row.cells.get(column.name)) is not None]
    return bool(values) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def as_json(report: Report) -> dict[str, object]:
    """The report as plain values; durations in seconds, NaN and the infinite as null, which JSON can say."""
    best = report.best
    names = {kind: [each for each in report.columns if each.kind == kind] for kind in ("parameter", "metric")}

    def values(row: Row, kind: Kind) -> dict[str, object]:
        return {each.key: _finite(row.cells.get(each.name)) for each in names[kind] if each.name in row.cells}

    return {
        "group": report.group,
        "counts": dict(report.counts),
        "shared": dict(report.shared),
        "best": {"id": best.job.id, "column": report.objective.column, "better": report.objective.better}
        if best and report.objective
        else None,
        "jobs": [
            {
                "id": row.job.id,
                "key": row.job.key,
                "status": row.job.status,
                "duration": row.cells.get("duration"),
                "args": list(row.job.args),
                "out": row.job.out,
                "parameters": values(row, "parameter"),
                "metrics": values(row, "metric"),
            }
            for row in report.rows
        ],
        "notes": list(report.notes),
    }


def _finite(value: Scalar | None) -> Scalar | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_csv(report: Report, columns: Sequence[Column]) -> str:
    """These columns with all digits, a line a job, below a line of names; times in seconds."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_one_line(column.name) for column in columns])
    writer.writerows([_one_line(full(row.cells.get(column.name))) for column in columns] for row in report.rows)
    return out.getvalue()


def _one_line(text: str) -> str:
    """A text without the carriage returns that csv, before Python 3.13, does not quote and others take for an end."""
    return text.replace("\r", "\\r")
