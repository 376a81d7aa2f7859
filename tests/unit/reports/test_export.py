"""The report as JSON and CSV."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.formats.text import printable
from ocicaliban.model.job import Scalar
from ocicaliban.reports import export
from tests.unit.reports.samples import SCALAR, report_of


@given(st.lists(st.dictionaries(st.text(max_size=3), SCALAR, max_size=4), min_size=1, max_size=5))
def test_json_and_csv_can_be_read_back(results: list[dict[str, Scalar]]) -> None:
    # Found first: Python's csv leaves a carriage return unquoted.
    made = report_of(*(({"n": n}, each) for n, each in enumerate(results)))
    text = json.dumps(export.as_json(made), allow_nan=False)
    assert [job["parameters"] for job in json.loads(text)["jobs"]] == (
        [{"n": n} for n in range(len(results))] if len(results) > 1 else [{}]
    )
    lines = list(csv.reader(io.StringIO(export.as_csv(made, made.all_columns), newline="")))
    assert [name.removeprefix("'") for name in lines[0]] == [
        "\n".join("\t".join(map(printable, part.split("\t"))) for part in column.name.split("\n")).removeprefix("'")
        for column in made.all_columns
    ]
    assert len(lines) == len(results) + 1


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=HYPERLINK(0)", "'=HYPERLINK(0)"),
        ("+1+1", "'+1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-x", "'-x"),
        ("\tx", "'\tx"),
        ("\n=1+1", "'\n=1+1"),
        (" =1+1", "' =1+1"),
        ("\r=1+1", "\\r=1+1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("a;=1+1", "a;=1+1"),
        ("-1e-05", "-1e-05"),
        (-3, "-3"),
        (float("-inf"), "-inf"),
        ("\x1b[31mred", "\\x1b[31mred"),
    ],
)
def test_a_spreadsheet_executes_no_cell_and_a_terminal_obeys_none(value: Scalar, cell: str) -> None:
    made = report_of(({"n": value}, {}), ({"n": 0}, {}))
    lines = list(csv.reader(io.StringIO(export.as_csv(made, made.all_columns), newline="")))
    assert lines[1][lines[0].index("n")] == cell


@pytest.mark.parametrize("text", ["a;=1+1", "a\t=1+1", "a|=1+1", 'a";=1+1', "a\n=1+1"])
def test_no_other_separator_divides_a_cell(text: str) -> None:
    made = report_of(({"n": text}, {}))
    quoted = text.replace('"', '""')
    assert f'"{quoted}"' in export.as_csv(made, made.all_columns)


def test_an_empty_cell_alone_is_a_line() -> None:
    made = report_of(({"n": ""}, {}))
    [column] = [column for column in made.all_columns if column.name == "n"]
    assert export.as_csv(made, [column]) == 'n\n""\n'
