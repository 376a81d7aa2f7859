"""Take up the jobs of a group that have not ended, after a crash or a Ctrl-C."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ocicaliban.app import build, selection, submissions
from ocicaliban.execution import reconcile
from ocicaliban.jobs import lease, provenance
from ocicaliban.model.job import Status, Submission, under_way
from ocicaliban.reporter import TERMINAL
from ocicaliban.targets import registry

if TYPE_CHECKING:
    from ocicaliban.history.access import History


def resume(group: str) -> submissions.Outcome:
    """Take up what is left of a group, by default the newest of this project: no job that has ended runs again.

    Raises UsageError if there is no such group, OcicalibanError if its jobs cannot run.
    """
    from ocicaliban.history import access

    build.note_root()
    with access.open(reporter=TERMINAL) as history:
        reconcile.catch_up(history, group="" if group in ("", selection.LAST) else group)
        group = selection.group_named(history, group, unfinished=True)
        left: list[Submission] = []
        elsewhere = False
        for submission in submissions.of_group(history, group):
            counts = history.counts(submission=submission.id)
            if not submissions.unfinished(counts):
                continue
            if reason := obstacle(submission, counts):
                elsewhere = True
                TERMINAL.note(reason)
            else:
                left.append(submission)
        if not left and not elsewhere:
            TERMINAL.say(f"{group}: all jobs have ended")
        _tell_unwell(history, group)
        return submissions.Outcome.of([_taken_up(history, submission) for submission in left])


def obstacle(submission: Submission, counts: Mapping[Status, int]) -> str:
    """Return why we cannot take up a submission that has jobs left, "" if we can."""
    group, left = submission.group, submissions.numbered(submissions.unfinished(counts))
    if provenance.alone(submission) and under_way(counts):
        return f"a job of {group} runs at a terminal of its own"
    if (batch := registry.batch_backend(submission.target)) and not counts["queued"]:
        return f"all jobs of {group} have been submitted to {batch.title}: ocicaliban status --group {group}"
    if submission.host != provenance.host():
        return f"{left} of {group} can only be resumed on {submission.host}"
    if lease.is_held(submission, patience=lease.ENDING):
        return f"another ocicaliban runs {left} of {group}"
    return ""


def _taken_up(history: History, submission: Submission) -> submissions.Outcome:
    if batch := registry.batch_backend(submission.target):
        group = submissions.batch_jobs(batch).resume(history, submission, batch)
        return submissions.Outcome(groups=(group,))
    from ocicaliban.app import local_jobs

    return submissions.Outcome(exit_code=local_jobs.resume(history, submission))


def _tell_unwell(history: History, group: str) -> None:
    """Say which jobs `resume` does not run, though they are not done, and what runs them."""
    if unwell := submissions.unwell(history, group=group):
        which = "failed or was stopped" if unwell == 1 else "failed or were stopped"
        TERMINAL.say(f"  {unwell} {which}; to run again: ocicaliban resubmit --group {group}")
