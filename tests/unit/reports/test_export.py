"""The report as JSON and CSV."""

from __future__ import annotations

import csv
import io
import json

from hypothesis import given
from hypothesis import strategies as st

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
    assert lines[0] == [column.name.replace("\r", "\\r") for column in made.all_columns]
    assert len(lines) == len(results) + 1
