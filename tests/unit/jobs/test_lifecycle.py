from __future__ import annotations

from typing import get_args

import pytest
from attrs import evolve

from ocicaliban.jobs import lifecycle
from ocicaliban.model.job import ENDED, UNDER_WAY, Attempt, Status


def test_every_event_has_a_transition() -> None:
    assert set(lifecycle.TRANSITIONS) == set(get_args(lifecycle.Event))


def test_a_job_agrees_with_its_newest_attempt() -> None:
    """Start from every status: a job is under way exactly when its newest attempt is, and no older one is."""
    seen: set[tuple[Status, tuple[Status, ...]]] = set()
    states: list[tuple[Status, tuple[Status, ...]]] = [("queued", ())]
    while states:
        job, attempts = states.pop()
        if (job, attempts) in seen or len(attempts) > 2:
            continue
        seen.add((job, attempts))
        assert not UNDER_WAY & set(attempts[:-1]) and "queued" not in attempts
        assert (job in UNDER_WAY) == bool(UNDER_WAY & set(attempts[-1:]))
        assert job not in UNDER_WAY or job == attempts[-1]
        for event in get_args(lifecycle.Event):
            if following := lifecycle.after(event, job, attempts):
                states.append(following)
    assert {job for job, _ in seen} == set(get_args(Status))


@pytest.mark.parametrize("status", [*sorted(ENDED)])
def test_what_has_ended_only_begins_again_when_it_is_queued(status: Status) -> None:
    possible = {event for event in get_args(lifecycle.Event) if lifecycle.after(event, status, (status,))}
    discovered = {"discovered pending", "discovered running"} if status == "stopped" else set()
    assert possible == {"resubmitted"} | discovered


def test_an_attempt_ends_with_an_end() -> None:
    assert lifecycle.ending("lost", again=True) == lifecycle.TRANSITIONS["lost, again"]
    with pytest.raises(ValueError, match="does not end pending"):
        lifecycle.ending("pending")


def test_why_an_attempt_failed() -> None:
    assert lifecycle.why_failed(0) == ""
    assert lifecycle.why_failed(3) == "exit code 3"
    assert lifecycle.why_failed(139) == "ended by SIGSEGV (exit code 139)"
    assert lifecycle.why_failed(255) == "exit code 255"
    assert lifecycle.why_failed(137, oom_killed=True) == "it ran out of memory (exit code 137)"
    assert lifecycle.why_failed(None) == "its container is gone, and its result with it"


@pytest.mark.parametrize(
    ("code", "how", "words", "short"),
    [
        (3, {}, "exit code 3", ""),
        (139, {}, "ended by SIGSEGV (exit code 139)", "SIGSEGV"),
        (137, {}, "ended by SIGKILL (exit code 137), often for want of memory", "SIGKILL"),
        (
            137,
            {"starved": True},
            "ended by SIGKILL since the machine was out of memory (exit code 137)",
            "out of memory",
        ),
        (137, {"oom_killed": True}, "it ran out of memory (exit code 137)", "out of memory"),
        (1, {"oom_killed": True}, "it ran out of memory (exit code 1)", "out of memory"),
        (1, {"starved": True}, "exit code 1", ""),
        (None, {}, "its container is gone, and its result with it", "exit code unknown"),
        (135, {}, "ended by SIGBUS (exit code 135), often since /dev/shm is full", "SIGBUS"),
    ],
)
def test_what_killed_a_job_is_told_in_full_and_in_short(
    code: int | None, how: dict[str, bool], words: str, short: str
) -> None:
    reason = lifecycle.why_failed(code, **how)
    attempt = Attempt(number=1, handle="h", status="failed", exit_code=code, reason=reason)
    assert (reason, lifecycle.cause(attempt)) == (words, short)
    assert lifecycle.cause(evolve(attempt, status="stopped", reason="stopped by ada")) == ""
