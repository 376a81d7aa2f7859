"""Find a submission that the same command has begun before, and that was interrupted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from ocicaliban.app import submissions
from ocicaliban.errors import UsageError
from ocicaliban.jobs import lease
from ocicaliban.model.job import Job, JobSpec, Status, Submission, under_way

if TYPE_CHECKING:
    from ocicaliban.history.access import History

_SAME = ("target", "host", "project", "mode", "module", "image")


def find_interrupted(
    history: History, new: Submission, count: int, specs: Callable[[], Iterable[JobSpec]]
) -> Submission | None:
    """Return the submission of the same image and jobs that a command like this has begun, and has not finished.

    Its jobs wait, or the service has them all and the command was killed before it could tell. A user who has stopped
    jobs of it wants new ones. Raises UsageError if another process is submitting it.
    """
    for submission in history.submissions(group=new.group, user=new.user):
        if not alike(submission, new):
            continue
        counts = history.counts(submission=submission.id)
        if not submissions.unfinished(counts) or sum(counts.values()) != count:
            continue
        if not same_jobs(history.jobs(submission=submission.id), specs()):
            continue
        if lease.is_held(submission, patience=lease.ENDING):
            raise UsageError(
                f"another ocicaliban is submitting the same jobs to '{submission.group}'",
                "wait for it, or stop it; with another --group they are submitted a second time",
            )
        # It may have finished while we waited.
        counts = history.counts(submission=submission.id)
        if goes_on(counts, killed=lambda submission=submission: lease.was_abandoned(submission)):  # type: ignore[misc]
            return submission
    return None


def alike(one: Submission, other: Submission) -> bool:
    """Whether two submissions have the same image and options, from the same project."""
    same = all(getattr(one, name) == getattr(other, name) for name in _SAME)
    return same and json.dumps(one.options, sort_keys=True) == json.dumps(other.options, sort_keys=True)


def same_jobs(jobs: Iterable[Job], specs: Iterable[JobSpec]) -> bool:
    """Whether jobs, in the order of their numbers, are those of the specs."""
    had = [(job.parameters, job.args) for job in sorted(jobs, key=lambda job: job.id)]
    return had == [(spec.parameters, spec.args) for spec in specs]


def goes_on(counts: Mapping[Status, int], killed: Callable[[], bool]) -> bool:
    """Whether to go on with a submission that no process is submitting.

    Yes, if jobs are left to submit, or if the process was `killed` after it had submitted all; no, if jobs of it were
    stopped.
    """
    if counts["stopped"]:
        return False
    return counts["queued"] > 0 or (under_way(counts) > 0 and killed())
