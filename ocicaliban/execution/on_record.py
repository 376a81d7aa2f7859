"""What the history has of the jobs under way, and what is left where it fails."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ocicaliban.errors import OcicalibanError
from ocicaliban.model.job import Attempt, Job

if TYPE_CHECKING:
    from ocicaliban.history.store import History


def job(history: History, number: int) -> Job:
    """Return a job. Raises OcicalibanError if it is not on record any more."""
    for found in history.jobs(ids=[number]):
        return found
    raise _gone(history, number)


def attempt(history: History, job_: Job, number: int) -> Attempt:
    """Return an attempt at a job. Raises OcicalibanError if this job is not on record any more."""
    found = job(history, job_.id)
    for each in found.attempts if found.key == job_.key else ():
        if each.number == number:
            return each
    raise _gone(history, job_.id)


def _gone(history: History, number: int) -> OcicalibanError:
    return OcicalibanError(
        f"the history {history.place} does not have job {number} any more",
        "its contents were replaced while it was in use: put them back, for example from a backup",
    )


def what_remains(under_way: int, logs: Path, out: str) -> str:
    """Return what becomes of the jobs `under_way` when the history fails, and where logs and results are."""
    jobs = "1 job has" if under_way == 1 else f"{under_way} jobs have"
    where = f"the logs and results are in {logs}"
    if out:
        where = f"the logs are in {logs}, the results in {Path(out).absolute()}"
    return f"note: {jobs} no end on record; what runs goes on; {where}"
