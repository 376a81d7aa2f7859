"""How fast the next job may go."""

from __future__ import annotations

import bisect

from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.targets import rate_limit
from ocicaliban.targets.rate_limit import Pace


def _drive(quota: int, jobs: int, window: float, latency: float) -> tuple[list[float], int]:
    """Send `jobs` to a service with this quota per window, one at a time; when each was accepted, and the refusals."""
    state, now, taken, refusals = Pace(per_minute=60), 0.0, list[float](), 0
    while len(taken) < jobs:
        state, pause = rate_limit.take(state, now)
        if pause:
            now += pause
            continue
        sent, now = now, now + latency
        if len(taken) - bisect.bisect_right(taken, now - window) < quota:
            taken.append(now)
            state = rate_limit.accepted(state, now)
        else:
            refusals += 1
            state = rate_limit.throttled(state, now, sent)
    return taken, refusals


@given(st.integers(1, 500), st.integers(1, 150), st.floats(0, 2))
def test_whatever_the_quota_all_go_out_with_few_refusals(quota: int, jobs: int, latency: float) -> None:
    taken, refusals = _drive(quota, jobs, 60.0, latency)
    # At worst one refusal for each hold: they double from two seconds until one is accepted, five in a minute.
    assert refusals <= 12 + taken[-1] / 10
    assert taken[-1] <= 90 + 90 * jobs / min(quota, 60) + 2 * jobs * latency


def test_a_raised_quota_is_found_in_the_first_minute() -> None:
    taken, refusals = _drive(quota=100_000, jobs=1000, window=60.0, latency=0.001)
    assert taken[-1] < 60 and refusals == 0


@given(st.lists(st.floats(0, 5), min_size=1, max_size=80), st.integers(1, 30))
def test_never_more_than_the_rate_in_any_minute(steps: list[float], per_minute: int) -> None:
    state, now, sent = Pace(per_minute=per_minute), 0.0, list[float]()
    for step in steps:
        now += step
        state, pause = rate_limit.take(state, now)
        assert pause >= 0
        if not pause:
            sent.append(now)
    assert all(len([at for at in sent if start <= at < start + 60]) <= per_minute for start in sent)


@given(st.floats(1, 1000), st.lists(st.sampled_from(["accepted", "throttled"]), max_size=60))
def test_a_wait_always_ends(per_minute: float, answers: list[str]) -> None:
    state, now = Pace(per_minute=per_minute), 0.0
    for answer in answers:
        state, pause = rate_limit.take(state, now)
        while pause:
            now += pause
            assert now < 1e6
            state, pause = rate_limit.take(state, now)
        after = rate_limit.accepted if answer == "accepted" else None
        state = after(state, now) if after else rate_limit.throttled(state, now, now)


def test_those_under_way_at_a_refusal_hold_the_rest_up_once() -> None:
    state = Pace(per_minute=60)
    for _ in range(10):
        state, _ = rate_limit.take(state, 0.0)
    one = rate_limit.throttled(state, 1.0, 0.0)
    both = rate_limit.throttled(one, 1.1, 0.0)
    assert both.held_until == one.held_until and both.refusals == 1
