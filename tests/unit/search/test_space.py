"""The points of a search."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.errors import UsageError
from ocicaliban.jobs import expansion, ranges, sweep_file
from ocicaliban.jobs.ranges import Range
from ocicaliban.search import space as spaces
from ocicaliban.search.space import Space

TEXT = """{
    "lr": {"log": [1e-5, 1e-1]},
    "layers": {"int": [1, 8]},
    "width": {"int": [8, 1024], "log": true},
    "dropout": {"float": [0, 0.9]},
    "optimizer": ["sgd", "adam"],
    "[a,b]": [[1, 1e-3], [2, [1, 2]]],
    "epochs": 5
}"""


def space(text: str = TEXT) -> Space:
    return spaces.of_sweep(sweep_file.parse(text, "json", "s"))


@given(st.integers(0, 10**6))
def test_a_point_is_within_the_ranges_and_the_same_each_time(seed: int) -> None:
    made = space()
    point = spaces.drawn(made, str(seed))
    assert point == spaces.drawn(made, str(seed))
    given = dict(point)
    assert isinstance(given["lr"], float) and 1e-5 <= given["lr"] <= 1e-1
    assert isinstance(given["layers"], int) and 1 <= given["layers"] <= 8
    assert isinstance(given["width"], int) and 8 <= given["width"] <= 1024
    assert isinstance(given["dropout"], float) and 0 <= given["dropout"] <= 0.9
    assert given["optimizer"] in ("sgd", "adam") and given["epochs"] == 5 and (given["a"] == 1) == (given["b"] == 1e-3)
    where = spaces.place(made, point)
    assert where is not None and spaces.at(made, where) == point
    assert spaces.place(made, tuple(json.loads(json.dumps(given)).items())) == where, "as the history has it"


def test_points_are_the_same_with_every_version_of_python() -> None:
    # A change here changes what a command searches that is given again.
    assert spaces.random_points(space(), "digits", 0, 2) == EXPECTED


EXPECTED = [
    (
        ("lr", 5.03235e-05),
        ("layers", 8),
        ("width", 79),
        ("dropout", 0.834306),
        ("optimizer", "sgd"),
        ("a", 2),
        ("b", "[1, 2]"),
        ("epochs", 5),
    ),
    (
        ("lr", 0.000219682),
        ("layers", 3),
        ("width", 491),
        ("dropout", 0.639644),
        ("optimizer", "sgd"),
        ("a", 1),
        ("b", 0.001),
        ("epochs", 5),
    ),
]


@given(
    st.builds(
        lambda low, more, log: Range(kind="int", low=low, high=low + more, log=log),
        st.integers(1, 10**6), st.integers(1, 10**6), st.booleans(),
    )
    | st.builds(
        lambda low, factor, log: Range(kind="float", low=low, high=low * factor, log=log),
        st.floats(1e-9, 1e9), st.floats(1.001, 1e9), st.booleans(),
    ),
    st.floats(0, 1, exclude_max=True),
)  # fmt: skip
def test_no_value_is_outside_of_its_range(of: Range, part: float) -> None:
    assert ranges.contains(of, ranges.value(of, part))
    assert ranges.from_record(json.loads(json.dumps(ranges.to_record(of)))) == of


@pytest.mark.parametrize("log", [False, True])
def test_both_ends_of_a_range_are_reached(log: bool) -> None:
    whole = Range(kind="int", low=1, high=4, log=log)
    assert {ranges.value(whole, n / 100) for n in range(100)} == {1, 2, 3, 4}
    assert ranges.value(Range(kind="float", low=1.0, high=4.0, log=log), math.nextafter(1, 0)) == 4


@given(st.integers(0, 5), st.integers(1, 5))
def test_trials_go_on_where_a_group_has_got_to(first: int, count: int) -> None:
    whole = spaces.random_points(space(), "g", 0, first + count)
    assert spaces.random_points(space(), "g", first, count, whole[:first]) == whole[first:]
    assert len({spaces.identity(point) for point in whole}) == first + count
    assert spaces.random_points(space(), "h", 0, 1) != whole[:1]


def test_no_point_comes_twice_and_a_small_space_ends() -> None:
    small = space('{"n": {"int": [1, 3]}, "on": [true, false]}')
    points = spaces.random_points(small, "g", 0, 100)
    assert len(points) == spaces.size(small) == 6 == len({spaces.identity(point) for point in points})
    assert spaces.random_points(small, "g", 6, 1, points) == []


def test_jobs_of_other_ranges_use_up_no_point_of_these() -> None:
    small, wide = space('{"n": {"int": [1, 3]}}'), space('{"n": {"int": [1, 6]}}')
    others = [(("m", number),) for number in range(50)]
    found = spaces.random_points(small, "g", 50, 9, others)
    assert sorted(found) == [(("n", 1),), (("n", 2),), (("n", 3),)]
    more = spaces.random_points(wide, "g", 53, 9, [*others, *found])
    assert sorted(more) == [(("n", 4),), (("n", 5),), (("n", 6),)], "what is new in the wider range"
    swept = [(("b", 1), ("a", 0.5))]
    assert spaces.random_points(space('{"a": [0.5], "b": [1, 2]}'), "g", 1, 9, swept) == [(("a", 0.5), ("b", 2))]


def test_a_space_is_read_as_it_was_written() -> None:
    again = spaces.from_record(json.loads(json.dumps(spaces.to_record(space()))))
    assert again == space()
    point = spaces.drawn(again, "1")
    assert expansion.flags(point) == expansion.flags(spaces.drawn(space(), "1"))


def test_a_search_is_in_one_object() -> None:
    with pytest.raises(UsageError, match="a search needs one object, and there are 2"):
        space('[{"a": {"int": [1, 2]}}, {"a": 1}]')
