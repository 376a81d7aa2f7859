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

from ocicaliban.errors import OcicalibanError
from ocicaliban.reports import text
from ocicaliban.reports.metrics import Curve, Metrics
from ocicaliban.reports.objective import better_values
from ocicaliban.reports.report import Column, Report
from ocicaliban.reports.values import as_number, exact, readable

if TYPE_CHECKING:
    from ocicaliban.model.job import Scalar

POINTS = 1000
"""The most points that one curve may have on a page."""
_ALL_POINTS = 200_000

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:;"
    " form-action 'none'; base-uri 'none'"
)
"""With it the browser itself refuses to load anything else, or to send anything."""


def curve_points(jobs: int) -> int:
    """Return how many points each curve may have on a page with so many jobs, so that a browser can handle it."""
    return max(50, min(POINTS, _ALL_POINTS // max(jobs, 1)))


def plotly() -> str:
    """Return the JavaScript of plotly. Raises OcicalibanError if the package plotly is not installed."""
    try:
        script = resources.files("plotly") / "package_data" / "plotly.min.js"
        return script.read_text(encoding="utf-8")
    except (ModuleNotFoundError, FileNotFoundError) as exc:
        hint = "pip install 'ocicaliban[report]'; the table, --csv and --json do not need it"
        raise OcicalibanError("--html needs the package plotly, which is not installed", hint) from exc


def page(report: Report, metrics: Mapping[int, Metrics], plotly: str) -> str:
    """Return the page of a report; `metrics` by the jobs' ids, `plotly` as `plotly()` returns it."""
    parts = {
        "@TITLE@": html.escape(report.group),
        "@POLICY@": html.escape(_POLICY),
        "@STYLE@": _asset("report.css"),
        "@DATA@": embed(page_data(report, metrics)),
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


def page_data(report: Report, metrics: Mapping[int, Metrics]) -> dict[str, object]:
    """Return the data for the page's program; report.js describes its form."""
    columns = [_column(report, column) for column in report.columns]
    best = report.best
    names = {column.key: column.name for column in report.metrics}
    curves: dict[str, list[tuple[int, Curve]]] = {}
    for place, row in enumerate(report.rows):
        for key, curve in (metrics.get(row.job.id) or Metrics()).curves.items():
            if len(curve.steps) > 1 and key in names:
                curves.setdefault(names[key], []).append((place, curve))
    most = max(50, _ALL_POINTS // max(1, sum(map(len, curves.values()))))
    return {
        "group": report.group,
        "counts": dict(report.counts),
        "unfinished": text.unfinished(report),
        "shared": text.join_parameters(report.shared),
        "summary": text.summary(report),
        "columns": columns,
        "rows": [
            {
                "id": row.job.id,
                "status": row.job.status,
                "values": [_plain(row.cells.get(column.name)) for column in report.columns],
                "texts": [readable(row.cells.get(column.name), column) for column in report.columns],
                "full": [exact(row.cells.get(column.name)) for column in report.columns],
            }
            for row in report.rows
        ],
        "best": next((place for place, row in enumerate(report.rows) if row is best), None),
        "objective": {"column": report.objective.column, "better": report.objective.better}
        if report.objective
        else None,
        "curves": {name: [_curve(place, curve, most) for place, curve in each] for name, each in curves.items()},
        "notes": list(report.notes),
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


def _curve(row: int, curve: Curve, most: int) -> dict[str, object]:
    """Return a curve; if it has more than `most` points, only every nth and the last one."""
    kept = sorted({*range(0, len(curve.steps), -(-len(curve.steps) // most)), len(curve.steps) - 1})
    values = [curve.values[at] for at in kept]
    return {
        "row": row,
        "steps": [_rounded(curve.steps[at]) for at in kept],
        "values": [float(f"{value:.6g}") if math.isfinite(value) else None for value in values],
    }


def _rounded(step: float) -> float | int:
    return int(step) if step.is_integer() and abs(step) < 2**53 else step
