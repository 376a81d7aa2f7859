"""A report for programs: JSON and CSV (pure)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from ocicaliban.formats.text import printable
from ocicaliban.model.job import Scalar
from ocicaliban.reports import details
from ocicaliban.reports.report import Column, ColumnKind, Report, Row, Spread
from ocicaliban.reports.values import exact


def as_json(report: Report) -> dict[str, object]:
    """Return the report as plain values; durations in seconds, NaN and infinities as null, as JSON requires."""
    best = report.best

    def values(row: Row, kind: ColumnKind) -> dict[str, object]:
        columns = (each for each in report.columns if each.kind == kind and each.name in row.cells)
        return {each.key: _finite(row.cells.get(each.name)) for each in columns}

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
                "reason": row.job.last.reason if row.job.last else "",
                "duration": row.cells.get("duration"),
                "args": list(row.job.args),
                "out": row.job.out,
                "parameters": values(row, "parameter"),
                "metrics": values(row, "metric"),
            }
            for row in report.rows
        ],
        "failed": [details.failure_as_json(each) for each in report.failures],
        "sources": [details.source_as_json(each) for each in report.sources],
        "notes": list(report.notes),
    }


def points_as_json(report: Report) -> list[dict[str, object]]:
    """Return the rows of a report of means, as plain values."""
    return [
        {
            "jobs": [job.id for job in row.members],
            "status": row.cells.get("status"),
            "parameters": {
                each.key: row.cells[each.name]
                for each in report.all_columns
                if each.kind == "parameter" and each.name in row.cells
            },
            "metrics": {
                each.key: _spread(row.spreads[each.name]) for each in report.metrics if each.name in row.spreads
            },
        }
        for row in report.rows
    ]


def _spread(spread: Spread) -> dict[str, object]:
    return {"mean": _finite(spread.mean), "deviation": _finite(spread.deviation), "count": spread.count}


def _finite(value: Scalar | None) -> Scalar | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_csv(report: Report, columns: Sequence[Column]) -> str:
    """Return these columns with all digits: a line of names, and a line for each job; durations in seconds."""
    lines = [[column.name for column in columns]]
    lines += [[exact(row.cells.get(column.name)) for column in columns] for row in report.rows]
    return "".join((",".join(map(_cell, line)) or '""') + "\n" for line in lines)


def _cell(text: str) -> str:
    """Return a cell in quotes if a program might divide it: in some languages, Excel takes ; or a tab for a comma.

    The csv module quotes by the comma alone, and the rest of a cell would be one of its own, which might be executed.
    """
    cell = _escape(text)
    return f'"{cell.replace(chr(34), chr(34) * 2)}"' if _DIVIDED & {*cell} else cell


_DIVIDED = {*',;"\t\n|'}


_FORMULA = re.compile(r"[ \n]*[=+@\t\uff1d\uff0b\uff0d\uff20-]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|-?(inf|nan)")


def _escape(text: str) -> str:
    """Return a cell that a spreadsheet only shows, and that no terminal obeys.

    Excel and LibreOffice execute a cell that begins with one of = + - @, in full width too, after blanks or line ends
    too, unless it is a number. OWASP advises to put an apostrophe before it ("CSV injection").
    """
    shown = "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))
    return f"'{shown}" if _FORMULA.match(shown) and not _NUMBER.fullmatch(shown) else shown
