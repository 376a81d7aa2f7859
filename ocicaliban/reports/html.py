"""A report as one HTML file with a table and plots, which opens from disk without a network.

What comes from jobs enters the page only as JSON in which no character can end the script element, and the page's
program inserts it as text, never as markup.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING

from ocicaliban.reports import curves, details, means, text
from ocicaliban.reports.curves import MeanCurve
from ocicaliban.reports.metrics import Curve, Metrics
from ocicaliban.reports.objective import better_values
from ocicaliban.reports.report import Column, Report, Row
from ocicaliban.reports.values import as_number, cell, exact

if TYPE_CHECKING:
    from ocicaliban.model.job import Scalar

POINTS = 1000
"""The most points that one curve may have on a page."""
_ALL_POINTS = 30_000
"""The most points of all curves: with plotly's 1.2 MB, a page of hundreds of jobs stays below 2 MB."""
_FAILURES = 50
"""The most failed jobs that a page describes."""

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:;"
    " form-action 'none'; base-uri 'none'"
)
"""With it the browser itself refuses to load anything else, or to send anything."""


def curve_points(jobs: int) -> int:
    """Return how many points each curve may have on a page with so many jobs, so that a browser can handle it."""
    return max(50, min(POINTS, _ALL_POINTS // max(jobs, 1)))


def plotly() -> str:
    """Return the JavaScript of plotly's basic bundle, which lies beside the page's own program."""
    return _asset("plotly-basic.min.js")


def page(table: Report, jobs: Report, metrics: Mapping[int, Metrics], plotly: str, *, live: bool = False) -> str:
    """Return the page of a report: its table, and a table of the single jobs where that has means.

    `metrics` by the jobs' ids, `plotly` as `plotly()` returns it. A `live` page asks the server that it comes from for
    newer data.
    """
    parts = {
        "@TITLE@": html.escape(table.group),
        "@POLICY@": html.escape(f"{_POLICY}; connect-src 'self'" if live else _POLICY),
        "@LIVE@": "yes" if live else "",
        "@STYLE@": _asset("report.css"),
        "@DATA@": embed(views(table, jobs, metrics)),
        # A script element ends at the first "</script", even inside a string.
        "@PLOTLY@": plotly.replace("</script", "<\\/script"),
        "@PROGRAM@": _asset("report.js"),
    }
    # In one pass, so that a mark in an inserted part is not replaced.
    marks = re.compile("|".join(map(re.escape, parts)))
    return marks.sub(lambda mark: parts[mark[0]], _asset("report.html"))


def _asset(name: str) -> str:
    return (resources.files("ocicaliban.reports") / "assets" / name).read_text(encoding="utf-8")


def embed(value: object) -> str:
    """Return a value as JSON for a script element: in ASCII, without characters that mean something in HTML."""
    encoded = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return encoded.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def views(table: Report, jobs: Report, metrics: Mapping[int, Metrics]) -> dict[str, object]:
    """Return the data for the page's program: what it shows first, and the single jobs if those are something else."""
    shown = [page_data(table, metrics), *([page_data(jobs, metrics)] if table.over else [])]
    return {"views": shown}


def page_data(report: Report, metrics: Mapping[int, Metrics]) -> dict[str, object]:
    """Return the data for the page's program; report.js describes its form."""
    best = report.best
    return {
        "group": report.group,
        "counts": dict(report.counts),
        "unfinished": text.unfinished(report),
        "shared": text.join_parameters(report.shared),
        "over": text.join_names(report.over),
        "summary": text.summary(report),
        "columns": [_column(report, column) for column in report.columns],
        "rows": [_row(report, row) for row in report.rows],
        "best": next((place for place, row in enumerate(report.rows) if row is best), None),
        "objective": {"column": report.objective.column, "better": report.objective.better}
        if report.objective
        else None,
        "curves": _curves(report, metrics),
        "failed": [details.failure_as_json(each) for each in report.failures[:_FAILURES]],
        "sources": [{"count": each.count, "facts": details.facts(each)} for each in report.sources],
        "notes": list(report.notes),
    }


def _row(report: Report, row: Row) -> dict[str, object]:
    """Return a row: its values, their texts for people, and those with all digits where they are others."""
    texts = [cell(row, column) for column in report.columns]
    full = [exact(row.cells.get(column.name)) for column in report.columns]
    numbers = [job.id for job in row.members or (row.job,)]
    return {
        "id": means.numbered(numbers),
        "status": row.job.status if len({job.status for job in row.members}) < 2 else "mixed",
        "values": [_plain(row.cells.get(column.name)) for column in report.columns],
        "texts": texts,
        "full": {place: each for place, each in enumerate(full) if each != texts[place]},
        "spreads": {
            place: _short(row.spreads[column.name].deviation)
            for place, column in enumerate(report.columns)
            if column.name in row.spreads and row.spreads[column.name].count > 1
        },
    }


def _curves(report: Report, metrics: Mapping[int, Metrics]) -> dict[str, list[dict[str, object]]]:
    """Return the curves of each metric, thinned so that all of them together have a bounded number of points."""
    names = {column.key: column.name for column in report.metrics}
    found: dict[str, list[tuple[int, list[Curve]]]] = {}
    for place, row in enumerate(report.rows):
        own: dict[str, list[Curve]] = {}
        for job in row.members or (row.job,):
            for key, curve in (metrics.get(job.id) or Metrics()).curves.items():
                if len(curve.steps) > 1 and key in names:
                    own.setdefault(names[key], []).append(curve)
        for name, several in own.items():
            found.setdefault(name, []).append((place, several))
    most = max(20, _ALL_POINTS // max(1, sum(map(len, found.values()))))
    return {
        name: [_curve(place, curves.mean(each), most) for place, each in several] for name, several in found.items()
    }


def _column(report: Report, column: Column) -> dict[str, object]:
    """Return a column; it is numeric if all its values are numbers. A bool does not count as one here."""
    cells = [value for row in report.rows if (value := row.cells.get(column.name)) is not None]
    numeric = bool(cells) and all(not isinstance(each, bool) and _is_numeric(each) for each in cells)
    objective = report.objective
    better = (
        objective.better if objective is not None and objective.column == column.name else better_values(column.key)
    )
    return {"name": column.name, "kind": column.kind, "numeric": numeric, "better": better}


def _is_numeric(value: Scalar) -> bool:
    return isinstance(value, float) or as_number(value) is not None


def _plain(value: Scalar | None) -> object:
    """Return a value for JSON: a number if it counts as one, None if that is not finite."""
    if isinstance(value, bool):
        return value
    number = as_number(value)
    if number is not None:
        return number if math.isfinite(number) else None
    return None if isinstance(value, float) else value


def _curve(row: int, curve: MeanCurve, most: int) -> dict[str, object]:
    """Return a curve; if it has more than `most` points, only every nth and the last one."""
    kept = sorted({*range(0, len(curve.steps), -(-len(curve.steps) // most)), len(curve.steps) - 1})
    made: dict[str, object] = {
        "row": row,
        "steps": [_rounded(curve.steps[at]) for at in kept],
        "values": [_short(curve.values[at]) for at in kept],
    }
    if curve.deviations:
        made["deviations"] = [_short(curve.deviations[at], 3) for at in kept]
    return made


def _short(value: float, digits: int = 5) -> float | int | None:
    """Return a number in as few characters as a picture needs; None if it is not finite."""
    return _rounded(float(f"{value:.{digits}g}")) if math.isfinite(value) else None


def _rounded(step: float) -> float | int:
    return int(step) if step.is_integer() and abs(step) < 2**53 else step
