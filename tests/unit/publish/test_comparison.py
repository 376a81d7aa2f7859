"""When a metric that came again is near enough to the published one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.model.job import Scalar
from ocicaliban.publish.comparison import compare, disagreeing


@pytest.mark.parametrize(
    ("published", "found", "tolerance", "agrees"),
    [
        (0.5, 0.5, 0.0, True),
        (0.5, 0.5000001, 0.0, False),
        (0.5, 0.505, 0.01, True),
        (0.5, 0.506, 0.01, False),
        (-100, -101, 0.01, True),
        (0, 0.005, 0.01, True),
        (1, 1.0, 0.0, True),
        (math.nan, math.nan, 0.0, True),
        (math.nan, 1.0, 9.0, False),
        (math.inf, math.inf, 0.0, True),
        (math.inf, 1e300, 0.5, False),
        (1.0, math.inf, 0.5, False),
        (10**400, 10**400, 0.0, True),
        (10**400, 1, 0.5, False),
        ("a", "a", 0.0, True),
        ("a", "b", 1.0, False),
        (True, True, 0.0, True),
        (True, 1, 0.0, False),
        ("1", 1, 0.0, False),
    ],
)
def test_what_agrees(published: Scalar, found: Scalar, tolerance: float, agrees: bool) -> None:
    [row] = compare(3, {"x": published}, {"x": found}, tolerance=tolerance)
    assert (row.job, row.name, row.agrees) == (3, "x", agrees)


def test_a_metric_that_is_missing_or_new_does_not_agree() -> None:
    rows = compare(1, {"a": 1, "b": 2}, {"b": 2, "c": 3})
    assert [(row.name, row.agrees) for row in rows] == [("a", False), ("b", True), ("c", False)]
    assert [row.name for row in disagreeing(rows)] == ["a", "c"]
    assert [row.name for row in compare(1, {"eval.a": 1, "b": 2}, {}, only=["eval.*"])] == ["eval.a"]
    assert rows[1].distance == 0 and rows[0].distance is None


@given(st.dictionaries(st.text(), st.one_of(st.floats(), st.integers(), st.text(), st.booleans())))
def test_everything_agrees_with_itself(results: dict[str, Scalar]) -> None:
    assert disagreeing(compare(1, results, dict(results))) == ()
