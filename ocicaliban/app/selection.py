"""Find the jobs that the user names by their numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ocicaliban.errors import UsageError
from ocicaliban.model.job import Job

if TYPE_CHECKING:
    from ocicaliban.history.access import History


def jobs_by_number(history: History, numbers: Iterable[int]) -> tuple[Job, ...]:
    """Return the jobs with these numbers. Raises UsageError if one of them does not exist."""
    wanted = tuple(dict.fromkeys(numbers))
    possible = [number for number in wanted if 0 < number < 1 << 63]
    found = {job.id: job for job in history.jobs(ids=possible)} if possible else {}
    for number in wanted:
        if number not in found:
            raise UsageError(f"there is no job {number}", "`ocicaliban status --max-jobs 0` shows all jobs")
    return tuple(found[number] for number in wanted)
