"""What a search is for, and which of its jobs are hopeless."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.errors import UsageError
from ocicaliban.reports.metrics import Curve, Metrics
from ocicaliban.search import trials
from ocicaliban.search.trials import Goal, Trial

ACC, LOSS = Goal(metric="acc", better="highest"), Goal(metric="loss", better="lowest")


@pytest.mark.parametrize(
    ("text", "better"),
    [
        ("accuracy", "highest"), ("val_loss", "lowest"), ("loss:max", "highest"), ("x:min", "lowest"),
        ("a:b:max", "highest"), ("eval.f1", "highest"),
    ],
)  # fmt: skip
def test_a_name_or_a_word_tells_the_direction(text: str, better: str) -> None:
    goal = trials.goal(text)
    assert goal.better == better and trials.goal(trials.goal_text(goal)) == goal


@pytest.mark.parametrize("text", ["", "x", "x:up", ":max"])
def test_a_goal_without_a_direction_is_asked_for_it(text: str) -> None:
    with pytest.raises(UsageError):
        trials.goal(text)


@pytest.mark.parametrize(
    ("result", "value"), [(1, 1.0), ("0.5", 0.5), (math.nan, None), (math.inf, None), (True, None), ("x", None)]
)
def test_only_a_finite_number_is_a_result(result: float | str | bool, value: float | None) -> None:
    assert trials.reached(Metrics(results={"acc": result}), ACC) == (value, None)


def _trial(number: int, values: list[float], state: str = "complete") -> Trial:
    curve = Curve(steps=tuple(map(float, range(len(values)))), values=tuple(values))
    return Trial(job=number, parameters=(), state=state, curve=curve)  # type: ignore[arg-type]


ENDED = [_trial(n, [0.1 * n] * 10) for n in range(1, 6)]


def test_a_trial_below_the_median_is_hopeless() -> None:
    found = trials.hopeless([_trial(9, [0.2] * 5, "running"), _trial(8, [0.31] * 5, "running")], ENDED, ACC)
    assert found == {9: "acc was 0.2 at step 4, and the median of the others 0.3"}
    assert 8 in trials.hopeless([_trial(8, [0.31] * 5, "running")], ENDED, LOSS)


@pytest.mark.parametrize(
    ("running", "ended"),
    [
        (_trial(9, [0.0] * 2, "running"), ENDED),  # it has just begun
        (_trial(9, [0.0] * 5, "running"), ENDED[:3]),  # there is nothing to compare with yet
        (_trial(9, [0.0] * 50, "running"), ENDED),  # it has got further than any other one
        (_trial(9, [0.9, 0.0, 0.0, 0.0], "running"), ENDED),  # it was good once
        (_trial(9, [math.nan] * 9, "running"), ENDED),
        (Trial(job=9, parameters=(), state="running"), ENDED),
        (_trial(9, [0.0] * 5, "running"), [Trial(job=1, parameters=(), state="failed") for _ in range(9)]),
    ],
)
def test_a_trial_of_which_nothing_is_known_goes_on(running: Trial, ended: list[Trial]) -> None:
    assert trials.hopeless([running], ended, ACC) == {}


_CURVES = st.lists(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8), max_size=9)


@given(_CURVES, _CURVES)
def test_the_best_of_all_is_never_hopeless(running: list[list[float]], ended: list[list[float]]) -> None:
    for goal in (ACC, LOSS):
        going = [_trial(n, values, "running") for n, values in enumerate(running)]
        found = trials.hopeless(going, [_trial(100 + n, values) for n, values in enumerate(ended)], goal)
        every = [value for values in (*running, *ended) for value in values]
        for number in found:
            assert goal.best(every) not in running[number]
