"""Run jobs of a group again that have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ocicaliban.app import build, submissions
from ocicaliban.execution import reconcile
from ocicaliban.jobs import lifecycle, provenance
from ocicaliban.model.job import ENDED, Job, Status
from ocicaliban.reporter import TERMINAL
from ocicaliban.targets import registry
from ocicaliban.targets.backend import BatchBackend

if TYPE_CHECKING:
    from ocicaliban.history.access import History


def candidates(group: str, *, all_jobs: bool) -> tuple[Job, ...]:
    """Return the jobs that `resubmit` would run again. Raises UsageError if there is no such group."""
    from ocicaliban.history import access

    build.note_root()
    with access.open(reporter=TERMINAL) as history:
        return _candidates(history, group, all_jobs=all_jobs)


def resubmit(group: str, *, all_jobs: bool, rebuild: bool) -> submissions.Outcome:
    """Run the jobs of a group again that failed, were stopped or lost, or with `all_jobs` all that have ended.

    They run in the image that they had, or with `rebuild` in one of the project as it is now. Raises UsageError if
    there is no such group, OcicalibanError if its jobs cannot run.
    """
    from ocicaliban.history import access

    build.note_root()
    with access.open(reporter=TERMINAL) as history:
        jobs = _candidates(history, group, all_jobs=all_jobs)
        return _run_again(history, jobs, rebuild=rebuild)


def _candidates(history: History, group: str, *, all_jobs: bool) -> tuple[Job, ...]:
    wanted: frozenset[Status] = ENDED if all_jobs else ENDED - {"succeeded"}
    reconcile.catch_up(history, group=group)
    submissions.of_group(history, group)
    jobs = history.jobs(group=group, user=provenance.user(), statuses=sorted(wanted))
    if not all_jobs:  # what a search has given up may rest
        jobs = tuple(job for job in jobs if not lifecycle.is_hopeless(job.last))
    if not jobs:
        TERMINAL.say(f"{group}: no job has {'ended' if all_jobs else 'failed or been stopped'}")
    return jobs


def _run_again(history: History, jobs: tuple[Job, ...], *, rebuild: bool) -> submissions.Outcome:
    far, here = split(jobs)
    if here:
        from ocicaliban.app import local_jobs
    # Faults here are told before anything is submitted elsewhere.
    renewed = [local_jobs.renew(some[0].submission, rebuild=rebuild) for some in here]
    outcomes = []
    for some, batch in far:
        group = submissions.batch_jobs(batch).resubmit(history, some, batch, rebuild=rebuild)
        outcomes.append(submissions.Outcome(groups=(group,)))
    for one, some in zip(renewed, here, strict=True):
        outcomes.append(submissions.Outcome(exit_code=local_jobs.run_again(history, one, some)))
    return submissions.Outcome.of(outcomes)


def split(jobs: tuple[Job, ...]) -> tuple[list[tuple[list[Job], BatchBackend]], list[list[Job]]]:
    """Return the jobs by submission: those whose backend schedules them itself, and those that we run."""
    before: dict[int, list[Job]] = {}
    for job in jobs:
        before.setdefault(job.submission.id, []).append(job)
    far, here = [], []
    for some in before.values():
        if batch := registry.batch_backend(some[0].submission.target):
            far.append((some, batch))
        else:
            here.append(some)
    return far, here
