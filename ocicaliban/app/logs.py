"""What a job has written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ocicaliban.app import selection
from ocicaliban.errors import UsageError
from ocicaliban.execution import reconcile
from ocicaliban.jobs import status_table
from ocicaliban.model.job import ENDED, UNDER_WAY, Attempt, Job
from ocicaliban.reporter import TERMINAL

if TYPE_CHECKING:
    from ocicaliban.history.access import History

_PAUSE = 2.0  # seconds


def log_blocks(word: str, *, attempt: int = 0, follow: bool = False, failed: bool = False) -> Iterator[bytes]:
    """Yield what a job has written in an attempt (0: the last), with `follow` until the attempt ends.

    `word` names the job, or a group, whose jobs follow each other with a heading. With `failed`, only failed jobs, of
    the newest group if none is named. Raises UsageError if there is no such job or attempt, OcicalibanError if its log
    cannot be read.
    """
    from ocicaliban.history import access

    with access.open(reporter=TERMINAL) as history:
        if failed and not word.isdecimal():
            reconcile.catch_up_if_room(history)
            word = selection.group_named(history, word)
        jobs = selection.named(history, word)
        if len(jobs) == 1 and not failed:
            yield from _of_one(history, jobs[0].id, attempt=attempt, follow=follow)
            return
        if follow or attempt:
            option = "--follow" if follow else "--attempt"
            raise UsageError(f"{option} is for one job", "ocicaliban logs JOB; `ocicaliban status` shows their numbers")
        reconcile.catch_up_if_room(history, ids=[job.id for job in jobs])
        jobs = selection.jobs_by_number(history, [job.id for job in jobs])
        if failed:
            jobs = tuple(job for job in jobs if job.status == "failed")
        if not jobs:
            TERMINAL.say("no job has failed")
        for number, job in enumerate(jobs):
            before = "\n" if number else ""
            yield f"{before}==> job {job.id}, {status_table.heading(job)} <==\n".encode()
            try:
                yield from _of_one(history, job.id)
            except UsageError as fault:  # one log that is elsewhere hides no other
                TERMINAL.note(fault.message)


def _of_one(history: History, number: int, *, attempt: int = 0, follow: bool = False) -> Iterator[bytes]:
    job = _job(history, number)
    reconcile.catch_up_if_room(history, ids=[number])
    job = _job(history, number)
    while follow and not job.attempts and job.status not in ENDED:
        time.sleep(_PAUSE)
        job = _job(history, number)
    if not job.attempts:
        TERMINAL.say(f"job {number} is {job.status}; it has not been started")
        return
    chosen = _chosen(job, attempt)
    goes_on = _goes_on(history, number, chosen) if follow else None
    empty = True
    for block in reconcile.log(job, chosen, goes_on, TERMINAL):
        empty = empty and not block
        yield block
    if empty:
        why = f" ({chosen.backend_state or chosen.status})" if job.status == "pending" else ""
        TERMINAL.say(f"job {number} has written nothing{'' if job.status in ENDED else ' yet'}{why}")


def _goes_on(history: History, number: int, attempt: Attempt) -> Callable[[], bool]:
    """Return a function that looks whether an attempt has not ended."""

    def goes_on() -> bool:
        reconcile.catch_up_if_room(history, ids=[number])
        now = _job(history, number)
        return any(each.number == attempt.number and each.status in UNDER_WAY for each in now.attempts)

    return goes_on


def _chosen(job: Job, number: int) -> Attempt:
    attempts = {each.number: each for each in job.attempts}
    if number and number not in attempts:
        raise UsageError(f"job {job.id} has no attempt {number}", f"there are: {', '.join(map(str, attempts))}")
    return attempts[number] if number else job.attempts[-1]


def _job(history: History, number: int) -> Job:
    [job] = selection.jobs_by_number(history, [number])
    return job
