"""What has become of a job, by the files that its task wrote, by accounting and by squeue. Pure.

The files count. Slurm says of a task that is requeued that it was preempted or that its node failed, as if that were
its end; and the files appear on other machines some seconds after the task wrote them.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from ocicaliban.jobs import lifecycle
from ocicaliban.model.job import Status

_RUNNING = frozenset({"RUNNING", "COMPLETING", "SUSPENDED", "SIGNALING", "STAGE_OUT", "STOPPED", "RESIZING"})
_PENDING = frozenset(
    {
        "PENDING",
        "CONFIGURING",
        "REQUEUED",
        "REQUEUE_FED",
        "REQUEUE_HOLD",
        "SPECIAL_EXIT",
        "RESV_DEL_HOLD",
        "POWER_UP_NODE",
    }
)
ALIVE = _RUNNING | _PENDING
"""Slurm's states of a task that has not ended."""

_ENDS: Mapping[str, tuple[Status, str]] = {
    "CANCELLED": ("stopped", "cancelled at Slurm"),
    "REVOKED": ("stopped", "revoked by Slurm"),
    "TIMEOUT": ("failed", "it reached its time limit"),
    "DEADLINE": ("failed", "it reached its deadline at Slurm"),
    "OUT_OF_MEMORY": ("failed", "it ran out of memory"),
    "FAILED": ("failed", "failed at Slurm"),
    "NODE_FAIL": ("lost", "its node failed"),
    "BOOT_FAIL": ("lost", "its node did not start"),
    "LAUNCH_FAILED": ("lost", "Slurm could not start it"),
    "PREEMPTED": ("lost", "it was preempted"),
}
_UNRUN = frozenset({"CANCELLED", "TIMEOUT", "DEADLINE", "OUT_OF_MEMORY", "FAILED", "REVOKED"})
"""Ends that a task may have before it begins."""
_SURE = _UNRUN | {"COMPLETED"}
"""Ends after which Slurm requeues nothing by itself."""

NOT_LISTED = "not listed by Slurm"


@frozen(kw_only=True)
class Began:
    """What a task wrote when an attempt began: the task ("17_3"), its node, and the time in seconds since 1970."""

    task: str
    at: float
    node: str = ""


@frozen(kw_only=True)
class Ended:
    """What a task wrote when an attempt ended.

    `code` is None if the container's result is lost. `signal` is what the script got from Slurm ("TERM" for scancel and
    preemption, "USR1" for the time limit), or "". `again` says that the task has asked for another attempt.
    `fault` is what kept the container from starting.
    """

    code: int | None
    at: float
    signal: str = ""
    again: bool = False
    fault: str = ""


@frozen(kw_only=True)
class Shown:
    """What squeue or sacct says of a task: its state, how often it was requeued, why it waits, its exit code."""

    state: str
    restarts: int = 0
    reason: str = ""
    code: int | None = None


@frozen(kw_only=True)
class Evidence:
    """All that is known of one job's attempts in an array.

    `first` is the number of its first attempt there. `absent` is for how many seconds Slurm has not shown it as alive,
    `deadline` after how many it has ended.
    """

    first: int
    began: Mapping[int, Began]
    ended: Mapping[int, Ended]
    queue: Shown | None
    accounting: Shown | None = None
    absent: float = 0.0
    deadline: float = 120.0


@frozen(kw_only=True)
class News:
    """What has become of one attempt; times are in seconds since 1970, None where nobody knows them."""

    number: int
    status: Status
    state: str = ""
    reason: str = ""
    exit_code: int | None = None
    started: float | None = None
    ended: float | None = None


def judge(seen: Evidence) -> tuple[News, ...]:
    """Return what has become of each attempt, oldest first; all but the last one have ended."""
    alive = seen.queue is not None and seen.queue.state in ALIVE
    restarts = seen.queue.restarts if seen.queue else 0
    newest = max((seen.first + restarts, *seen.began))
    # The task has asked for another attempt, and squeue does not show that yet.
    if alive and seen.ended.get(newest, Ended(code=0, at=0)).again:
        newest += 1
    earlier = tuple(_requeued(seen, number) for number in range(seen.first, newest))
    return (*earlier, _newest(seen, newest, alive))


def _newest(seen: Evidence, number: int, alive: bool) -> News:
    began, ended = seen.began.get(number), seen.ended.get(number)
    started = began.at if began else None
    told = next((one for one in (seen.queue, seen.accounting) if one and one.state not in ALIVE), None)
    late = seen.absent >= seen.deadline
    over = not alive and (late or (told is not None and told.state in _SURE))
    if ended and (over or not (ended.signal or ended.again)):
        return _by_mark(number, started, ended, told.state if told else "")
    if alive and seen.queue:
        # Slurm may already show the requeued task, whose newest attempt has not begun.
        runs = seen.queue.state in _RUNNING and (began is not None or number == seen.first + seen.queue.restarts)
        word = "" if seen.queue.state == "RUNNING" else _word(seen.queue)
        return News(number=number, status="running" if runs else "pending", state=word, started=started)
    if told and (late or (began is None and told.state in _UNRUN)):
        return _by_slurm(number, started, told)
    if late:
        return News(number=number, status="lost", reason="Slurm does not know it any more", started=started)
    word = f"{told.state.lower()}; its result is awaited" if told else NOT_LISTED
    return News(number=number, status="running" if began else "pending", state=word, started=started)


def _word(shown: Shown) -> str:
    reason = shown.reason if shown.reason not in ("", "None") else ""
    return reason if shown.state == "PENDING" and reason else shown.state.lower()


def _by_mark(number: int, started: float | None, ended: Ended, state: str) -> News:
    """Return the end of an attempt as its task wrote it. `state` is Slurm's word, if it says one."""
    status: Status = "succeeded" if ended.code == 0 else "failed"
    reason = ended.fault or lifecycle.why_failed(ended.code)
    if status == "failed":
        if ended.signal == "USR1" or state == "TIMEOUT":
            reason = f"it reached its time limit ({reason})"
        elif ended.signal == "TERM":
            status, why = _ENDS[state] if state in _ENDS and state != "FAILED" else ("stopped", "stopped by Slurm")
            reason = f"{why} ({reason})"
        elif ended.code is None and not ended.fault:
            status = "lost"
    return News(number=number, status=status, reason=reason, exit_code=ended.code, started=started, ended=ended.at)


def _by_slurm(number: int, started: float | None, told: Shown) -> News:
    """Return the end of an attempt that wrote nothing about it, as Slurm tells it."""
    if told.state == "COMPLETED" and started is None:
        # A job that ran said so: this task did nothing, or its disk does not show what it wrote.
        return News(number=number, status="lost", reason="Slurm says completed, and nothing shows that it began")
    if told.state == "COMPLETED":
        return News(number=number, status="succeeded", exit_code=told.code or 0, started=started)
    status, reason = _ENDS.get(told.state, ("lost", f"{told.state.lower()} at Slurm"))
    if told.state == "FAILED" and told.code:
        reason = lifecycle.why_failed(told.code)
    code = told.code if status == "failed" and told.code else None
    return News(number=number, status=status, reason=reason, exit_code=code, started=started)


def _requeued(seen: Evidence, number: int) -> News:
    """Return the end of an attempt after which another one came."""
    began, ended = seen.began.get(number), seen.ended.get(number)
    started = began.at if began else None
    if ended is None:
        reason = "requeued by Slurm" if began else "requeued before it began"
        return News(number=number, status="lost", reason=reason, started=started)
    why = ended.fault or lifecycle.why_failed(ended.code)
    if ended.again:
        return News(number=number, status="failed", reason=why, exit_code=ended.code, started=started, ended=ended.at)
    reason = f"requeued by Slurm ({why})" if why else "requeued by Slurm"
    return News(number=number, status="lost", reason=reason, exit_code=ended.code, started=started, ended=ended.at)
