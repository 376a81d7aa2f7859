"""A report as one HTML file with a table and plots, which opens from disk without a network (all but pure).

What comes from jobs enters the page as JSON alone, in which no character can end the script element, and its program
makes text of it, never markup.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING

from ocicaliban.errors import OcicalibanError
from ocicaliban.reports.metrics import Curve, Metrics
from ocicaliban.reports.table import Column, Report, direction, full, number, pending, settings, short, summary

if TYPE_CHECKING:
    from ocicaliban.model.job import Scalar

POINTS = 1000
"""How many points one curve may have on a page."""
_ALL_POINTS = 200_000

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:;"
    " form-action 'none'; base-uri 'none'"
)
"""The browser itself refuses to load anything else, or to send anything."""


def points(jobs: int) -> int:
    """How many points each curve of that many jobs may have, lest the page gets larger than a browser likes."""
    return max(50, min(POINTS, _ALL_POINTS // max(jobs, 1)))


def plotly() -> str:
    """The program that draws. Raises OcicalibanError where the package plotly is not installed."""
    try:
        found = resources.files("plotly") / "package_data" / "plotly.min.js"
        return found.read_text(encoding="utf-8")
    except (ModuleNotFoundError, FileNotFoundError) as exc:
        hint = "pip install 'ocicaliban[report]'; the table, --csv and --json do without"
        raise OcicalibanError("the page needs plotly, which is not installed", hint) from exc


def made(report: Report, found: Mapping[int, Metrics], drawing: str) -> str:
    """The page of a report; `found` is what the jobs reported, by their ids, and `drawing` is `plotly()`."""
    parts = {
        "@TITLE@": html.escape(report.group),
        "@POLICY@": html.escape(_POLICY),
        "@STYLE@": _asset("report.css"),
        "@DATA@": embedded(data(report, found)),
        # A script element ends at the first "</script", wherever that stands.
        "@PLOTLY@": drawing.replace("</script", "<\\/script"),
        "@PROGRAM@": _asset("report.js"),
    }
    text = _asset("report.html")
    # In one go, so that no part is looked for in what another one brought.
    out = []
    while text:
        place, mark = min(((at, mark) for mark in parts if (at := text.find(mark)) >= 0), default=(len(text), ""))
        out += [text[:place], parts.get(mark, "")]
        text = text[place + len(mark) :]
    return "".join(out)


def _asset(name: str) -> str:
    return (resources.files("ocicaliban.reports") / "assets" / name).read_text(encoding="utf-8")


def embedded(value: object) -> str:
    """A value as JSON that can stand in a script element: all ASCII, without any character that HTML knows."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def data(report: Report, found: Mapping[int, Metrics]) -> dict[str, object]:
    """What the page's program gets (report.js tells what it is)."""
    columns = [_column(report, column) for column in report.columns]
    best = report.best
    names = {column.key: column.name for column in report.metrics}
    drawn: dict[str, list[tuple[int, Curve]]] = {}
    for place, row in enumerate(report.rows):
        for key, curve in (found.get(row.job.id) or Metrics()).curves.items():
            if len(curve.steps) > 1 and key in names:
                drawn.setdefault(names[key], []).append((place, curve))
    room = max(50, _ALL_POINTS // max(1, sum(map(len, drawn.values()))))
    curves = {name: [_curve(place, curve, room) for place, curve in several] for name, several in drawn.items()}
    return {
        "group": report.group,
        "counts": dict(report.counts),
        "unfinished": pending(report),
        "shared": settings(report.shared),
        "summary": summary(report),
        "columns": columns,
        "rows": [
            {
                "id": row.job.id,
                "status": row.job.status,
                "values": [_plain(row.cells.get(column.name)) for column in report.columns],
                "texts": [short(row.cells.get(column.name), column) for column in report.columns],
                "full": [full(row.cells.get(column.name)) for column in report.columns],
            }
            for row in report.rows
        ],
        "best": next((place for place, row in enumerate(report.rows) if row is best), None),
        "objective": {"column": report.objective.column, "better": report.objective.better}
        if report.objective
        else None,
        "curves": curves,
        "notes": list(report.notes),
    }


def _column(report: Report, column: Column) -> dict[str, object]:
    """A column; it is numeric when all that it has are numbers, of which a bool is none here."""
    cells = [value for row in report.rows if (value := row.cells.get(column.name)) is not None]
    numeric = bool(cells) and all(not isinstance(each, bool) and _is_numeric(each) for each in cells)
    aim = report.objective
    better = aim.better if aim is not None and aim.column == column.name else direction(column.key)
    return {"name": column.name, "kind": column.kind, "numeric": numeric, "better": better}


def _is_numeric(value: Scalar) -> bool:
    return isinstance(value, float) or number(value) is not None


def _plain(value: Scalar | None) -> object:
    """A value as JSON has it: a number for what counts as one, null for what is no finite number."""
    if isinstance(value, bool):
        return value
    found = number(value)
    if found is not None:
        return found if math.isfinite(found) else None
    return None if isinstance(value, float) else value


def _curve(row: int, curve: Curve, most: int) -> dict[str, object]:
    """A curve, of which every nth point and the last one stay where there are more than `most`."""
    kept = sorted({*range(0, len(curve.steps), -(-len(curve.steps) // most)), len(curve.steps) - 1})
    values = [curve.values[at] for at in kept]
    return {
        "row": row,
        "steps": [_rounded(curve.steps[at]) for at in kept],
        "values": [float(f"{value:.6g}") if math.isfinite(value) else None for value in values],
    }


def _rounded(step: float) -> float | int:
    return int(step) if step.is_integer() and abs(step) < 2**53 else step
