"""The pure decisions of a submission: what an answer means, and how fast the next one may go."""

from __future__ import annotations

import bisect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.targets.vertex import rate_limit
from ocicaliban.targets.vertex.rate_limit import Pace

_PLUGIN = "Getting metadata from plugin failed with error: "


@pytest.mark.parametrize(
    ("code", "message", "verdict"),
    [
        ("UNAVAILABLE", "Socket closed", "unclear"),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", "unclear"),
        ("INTERNAL", "Received RST_STREAM", "unclear"),
        ("UNKNOWN", "", "unclear"),
        ("CANCELLED", "", "unclear"),
        ("RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Job or LRO submission requests'", "throttled"),
        ("RESOURCE_EXHAUSTED", "CLIENT: Sent message larger than max (6000000 vs. 4194304)", "refused"),
        ("RESOURCE_EXHAUSTED", "The following quota metrics exceed quota limits: aiplatform...v100_gpus", "refused"),
        ("PERMISSION_DENIED", "Permission 'aiplatform.customJobs.create' denied", "refused"),
        ("INVALID_ARGUMENT", 'Machine type "x" is not supported.', "refused"),
        ("UNAVAILABLE", "Getting metadata from plugin failed with error: invalid_grant", "refused"),
        (
            "UNAVAILABLE",
            f"{_PLUGIN}HTTPSConnectionPool(host='oauth2'): Max retries exceeded with url: /token",
            "unclear",
        ),
        ("UNAVAILABLE", f"{_PLUGIN}('Connection aborted.', ConnectionResetError(104))", "unclear"),
    ],
)
def test_what_a_failed_create_means(code: str, message: str, verdict: str) -> None:
    assert rate_limit.judge(code, message) == verdict


def test_a_refusal_has_a_remedy() -> None:
    remedies = {
        ("RESOURCE_EXHAUSTED", "exceed quota limits"): "quotas?project=p",
        ("PERMISSION_DENIED", "Vertex AI API has not been used in project 1 before"): "gcloud services enable",
        ("PERMISSION_DENIED", "iam.serviceAccounts.actAs"): "serviceAccountUser",
        ("PERMISSION_DENIED", "denied"): "roles/aiplatform.user",
        ("UNAUTHENTICATED", ""): "gcloud auth application-default login",
        ("INVALID_ARGUMENT", 'Machine type "x" is not supported.'): "--machine-type",
    }
    for (code, message), told in remedies.items():
        assert told in rate_limit.remedy(code, message, "p", "us-central1")


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


def test_credentials_that_have_expired_are_told_as_what_they_are() -> None:
    assert rate_limit.no_login("Getting metadata from plugin failed with error: invalid_grant") == "invalid_grant"
    assert rate_limit.no_login("Socket closed") == ""


def test_a_job_is_looked_for_several_times_before_it_is_sent_again() -> None:
    pauses: list[float] = []
    while (pause := rate_limit.next_look(len(pauses))) is not None:
        pauses.append(pause)
    assert sum(pauses) == rate_limit.LOOK_AFTER[-1] and len(pauses) >= 3
