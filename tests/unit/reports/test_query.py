"""Order, conditions and columns of a report."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.errors import UsageError
from ocicaliban.model.job import Scalar
from ocicaliban.reports import query
from tests.unit.reports.samples import LRS, SCALAR, ids, report_of


def test_numbers_sort_as_numbers_and_what_is_missing_is_last() -> None:
    values: Sequence[Scalar | None] = (10, "9", None, 2.5, "text", math.nan, -math.inf, True)
    made = report_of(*(({"n": n}, {} if value is None else {"m": value}) for n, value in enumerate(values)))
    assert ids(query.sort(made, "m")) == [7, 8, 4, 2, 1, 5, 3, 6]
    assert ids(query.sort(made, "-m")) == ids(query.sort(made, "m", descending=True)) == [1, 2, 4, 8, 7, 5, 3, 6]


@given(st.lists(st.none() | SCALAR, min_size=1, max_size=12))
def test_any_values_have_an_order_both_ways_and_missing_ones_stay_last(values: list[Scalar | None]) -> None:
    made = report_of(*(({}, {} if value is None else {"m": value}) for value in values), ({}, {"m": 1}))
    for name in ("m", "-m"):
        rows = query.sort(made, name).rows
        assert sorted(ids(query.sort(made, name))) == ids(made)
        ranks = [query._rank(row.cells.get("m")) for row in rows]
        assert ranks == sorted(ranks)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [  # NaN is something: it was reported
        ("lr=0.1", [1]), ("lr==1e-1", [1]), ("lr != 0.1", [2, 3, 4]), ("acc>0.9", [2]), ("acc>=0.5", [1, 2]),
        ("acc<0.9", [1]), ("acc=", [4]), ("acc!=", [1, 2, 3]), ("status=succeeded", [1, 2, 3, 4]), ("fast=True", [3]),
        ("opt=adam w", [2]), ("lr>0.3", [3]), ("id<=2", [1, 2]),
    ],
)  # fmt: skip
def test_conditions(condition: str, expected: list[int]) -> None:
    made = report_of(
        ({"lr": 0.1}, {"acc": 0.5}), ({"lr": "0.2", "opt": "adam w"}, {"acc": 1}),
        ({"lr": 1, "fast": True}, {"acc": math.nan}), ({"lr": 0.3}, {}),
    )  # fmt: skip
    assert ids(query.filter_rows(made, condition)) == expected


@pytest.mark.parametrize(
    ("condition", "hint"),
    [("lr", "for example lr=0.1"), ("ac>1", "did you mean 'acc'?"), ("acc>high", "finds rows with that text")],
)
def test_wrong_conditions_are_told(condition: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        query.filter_rows(LRS, condition)
    assert hint in caught.value.hint


def test_columns_are_chosen_by_name_or_likeness() -> None:
    made = report_of(({"lr": 1}, {"eval.a": 1, "eval.b": 2, "loss": 3}))
    assert [column.name for column in query.select_columns(made, ["eval.*", "lr", "eval.a"]).columns] == [
        "eval.a",
        "eval.b",
        "lr",
    ]
    with pytest.raises(UsageError, match="no column 'los'"):
        query.select_columns(made, ["los"])
