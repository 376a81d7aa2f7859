"""Stop jobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import frozen

from ocicaliban.app import selection, submissions
from ocicaliban.errors import UsageError
from ocicaliban.execution import reconcile
from ocicaliban.execution import stop as execution_stop
from ocicaliban.jobs import provenance, status_table
from ocicaliban.model.job import Job
from ocicaliban.reporter import TERMINAL, Reporter


@frozen(kw_only=True)
class StoppedJob:
    """A job that was stopped, or would be. `ended` says that it ran although it had ended in the history."""

    job: Job
    ended: bool = False


def stop(words: Sequence[str], group: str, refusals: Reporter, *, dry_run: bool = False) -> Iterator[StoppedJob]:
    """Stop the jobs with these numbers, what was started last ("last"), or the jobs of a group, and yield each.

    `refusals` gets a line for each job that cannot be stopped. In a dry run nothing is stopped. Raises UsageError if
    there are no such jobs.
    """
    from ocicaliban.history import access

    if bool(words) == bool(group):
        raise UsageError("say which jobs to stop", "give their numbers, `last`, or --group GROUP")
    for word in words:
        if word != selection.LAST and not word.isdecimal():
            raise UsageError(f"{word} is not the number of a job", f"for a group: ocicaliban stop --group {word}")
    with access.open(reporter=TERMINAL) as history:
        group = selection.group_named(history, group, unfinished=True) if group == selection.LAST else group
        ids = [each.id for each in selection.jobs_by_number(history, [int(word) for word in words if word.isdecimal()])]
        if selection.LAST in words:
            ids += [each.id for each in selection.started_last(history)]
        reconcile.catch_up(history, TERMINAL, group=group, ids=ids)
        user = provenance.user()
        jobs = selection.jobs_by_number(history, ids) if ids else history.jobs(group=group, user=user)
        if not jobs:
            raise submissions.no_group(history, group, user)
        unfinished = status_table.unfinished(jobs)
        stopped = unfinished if dry_run else execution_stop.stop(history, unfinished, refusals, TERMINAL)
        for job in stopped:
            yield StoppedJob(job=job)
        rest = execution_stop.stop_rest(history, jobs, refusals, dry_run=dry_run)
        for job in rest:
            yield StoppedJob(job=job, ended=True)
        if not unfinished and not rest:
            TERMINAL.say("all of these jobs have ended already")
