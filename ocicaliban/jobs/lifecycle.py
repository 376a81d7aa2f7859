"""The life of a job: one table of what can happen to it, in which status, and what follows. Pure.

A job and its attempts always agree: while the job is pending or running, so is its newest attempt, and no other one.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Mapping, Sequence
from typing import Literal

from attrs import frozen

from ocicaliban.model.job import ENDED, UNDER_WAY, Attempt, Status, UnderWay

Event = Literal[
    "withdrawn",
    "resubmitted",
    "accepted",
    "started",
    "discovered pending",
    "discovered running",
    "observed pending",
    "observed running",
    "succeeded",
    "failed",
    "stopped",
    "lost",
    "succeeded, again",
    "failed, again",
    "stopped, again",
    "lost, again",
]
"""What can happen to a job after it was submitted, which makes it queued.

`withdrawn`: someone stopped it before it began. `resubmitted`: someone wants it to run again. `accepted` and `started`:
a new attempt is pending at its backend, or runs. `discovered`: the backend has an attempt that is not on record, also
of a job that someone stopped before anybody knew. `observed`: what the backend says of the attempt. The others end the
attempt; with `again`, the job is queued for another one.
"""


@frozen(kw_only=True)
class Transition:
    """What an event does to a job that has one of the statuses `before`.

    `job` is its status after that, `attempt` that of its newest attempt (None: as it was). `begins` tells whether that
    attempt is a new one.
    """

    before: frozenset[Status]
    job: Status
    attempt: Status | None = None
    begins: bool = False


def _begins(status: UnderWay, *before: Status) -> Transition:
    return Transition(before=frozenset(before), job=status, attempt=status, begins=True)


def _under_way(attempt: Status, job: Status) -> Transition:
    return Transition(before=UNDER_WAY, job=job, attempt=attempt)


TRANSITIONS: Mapping[Event, Transition] = {
    "withdrawn": Transition(before=frozenset({"queued"}), job="stopped"),
    "resubmitted": Transition(before=ENDED, job="queued"),
    "accepted": _begins("pending", "queued"),
    "started": _begins("running", "queued"),
    "discovered pending": _begins("pending", "queued", "stopped"),
    "discovered running": _begins("running", "queued", "stopped"),
    "observed pending": _under_way("pending", "pending"),
    "observed running": _under_way("running", "running"),
    "succeeded": _under_way("succeeded", "succeeded"),
    "failed": _under_way("failed", "failed"),
    "stopped": _under_way("stopped", "stopped"),
    "lost": _under_way("lost", "lost"),
    "succeeded, again": _under_way("succeeded", "queued"),
    "failed, again": _under_way("failed", "queued"),
    "stopped, again": _under_way("stopped", "queued"),
    "lost, again": _under_way("lost", "queued"),
}


def beginning(status: UnderWay, *, discovered: bool = False) -> Transition:
    """Return what happens when a new attempt is pending or running, and `discovered` perhaps."""
    return TRANSITIONS[_BEGINNINGS[status, discovered]]


_BEGINNINGS: Mapping[tuple[UnderWay, bool], Event] = {
    ("pending", False): "accepted",
    ("running", False): "started",
    ("pending", True): "discovered pending",
    ("running", True): "discovered running",
}


def observation(status: UnderWay) -> Transition:
    """Return what happens when a backend says that an attempt is pending or running."""
    return TRANSITIONS["observed pending" if status == "pending" else "observed running"]


def ending(status: Status, *, again: bool = False) -> Transition:
    """Return what happens when an attempt ends, and its job is queued `again` perhaps.

    Raises ValueError for a status that is not an end.
    """
    if status not in ENDED:
        raise ValueError(f"an attempt does not end {status}")
    name: Event = f"{status}, again" if again else status  # type: ignore[assignment]
    return TRANSITIONS[name]


def after(event: Event, job: Status, attempts: Sequence[Status]) -> tuple[Status, tuple[Status, ...]] | None:
    """Return the status of a job and of its attempts after an event; None where the event cannot happen."""
    transition = TRANSITIONS[event]
    if job not in transition.before:
        return None
    if transition.attempt is None:
        return transition.job, tuple(attempts)
    kept = attempts if transition.begins else attempts[:-1]
    return transition.job, (*kept, transition.attempt)


_GONE = "its container is gone, and its result with it"
_MEMORY = "out of memory"
_OFTEN = {signal.SIGKILL: "often for want of memory", signal.SIGBUS: "often since /dev/shm is full"}
"""Why a process gets a signal that nobody is known to have sent."""


def why_failed(exit_code: int | None, *, oom_killed: bool = False, starved: bool = False) -> str:
    """Return why an attempt counts as failed, for the user; "" for one that succeeded.

    `exit_code` is None where the container is gone. `oom_killed` says that the container reached its limit of memory,
    `starved` that the kernel killed a process of this machine for want of memory while the attempt ran.
    """
    if exit_code is None:
        return _GONE
    if oom_killed:
        return f"it ran {_MEMORY} (exit code {exit_code})"
    if by := _signal(exit_code):
        if starved and by == signal.SIGKILL:
            return f"ended by {by.name} since the machine was {_MEMORY} (exit code {exit_code})"
        often = f", {_OFTEN[by]}" if by in _OFTEN else ""
        return f"ended by {by.name} (exit code {exit_code}){often}"
    return f"exit code {exit_code}" if exit_code else ""


def cause(attempt: Attempt) -> str:
    """Return in a word or two what ended a failed attempt, if not the job itself; else ""."""
    if _MEMORY in attempt.reason:
        return _MEMORY
    if attempt.status == "failed" and attempt.reason == _GONE:
        return "exit code unknown"
    by = _signal(attempt.exit_code or 0) if attempt.status == "failed" else None
    return by.name if by else ""


def _signal(exit_code: int) -> signal.Signals | None:
    with contextlib.suppress(ValueError):
        return signal.Signals(exit_code - 128) if exit_code > 128 else None
    return None


HOPELESS = "hopeless: "
"""How the reason begins for which a search stops a job."""


NO_POINT = "the search has tried all points"
"""The reason for which a search stops a job that has none."""


def is_hopeless(attempt: Attempt | None) -> bool:
    """Return whether a search has stopped an attempt: it could not become good any more, or there was no point left."""
    return attempt is not None and attempt.status == "stopped" and attempt.reason.startswith((HOPELESS, NO_POINT))
