"""Find the jobs and groups that the user names: by number, by name, or as the newest ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ocicaliban.app import place, submissions
from ocicaliban.errors import UsageError
from ocicaliban.execution import reconcile
from ocicaliban.jobs import provenance, status_table
from ocicaliban.model.job import Job, Status

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


LAST = "last"
"""What stands for the newest job or group."""


def group_named(history: History, name: str, *, unfinished: bool = False, look: bool = True) -> str:
    """Return the group that a user names; "last" and "" are the newest one of the project in the current folder.

    With `unfinished`, that is the newest one with jobs left, if there is one. Without `look` it is one of those on
    record. Raises UsageError if there is none.
    """
    if name not in ("", LAST):
        return name
    if look:
        reconcile.take_journal_if_room(history)  # the newest job may be a run that nothing has recorded yet
    groups = history.groups(user=provenance.user())
    if name and any(each.name == name for each in groups):
        return name  # somebody has called it so
    root = place.project_root()
    own = [each for each in groups if each.project == str(root)]
    if not own:
        raise UsageError(
            f"the project {root} has no jobs yet", "`ocicaliban status --all` shows the jobs of all projects"
        )
    left = [each for each in own if any(each.counts[status] for status in _LEFT)]
    return (left or own)[0].name if unfinished else own[0].name


def newest_group(history: History) -> str:
    """Return the newest group of the project in the current folder, "" if it has none."""
    reconcile.take_journal_if_room(history)
    root = str(place.project_root())
    return next((each.name for each in history.groups(user=provenance.user()) if each.project == root), "")


def started_last(history: History) -> tuple[Job, ...]:
    """Return what was started last of the project in the current folder: a single run, or a sweep's jobs.

    Raises UsageError if there is none.
    """
    jobs = history.jobs(group=group_named(history, "", unfinished=True), user=provenance.user())
    last = max(job.submission.id for job in unfinished) if (unfinished := status_table.unfinished(jobs)) else 0
    return tuple(job for job in jobs if job.submission.id == last) or jobs[:1]


_LEFT: tuple[Status, ...] = ("queued", "pending", "running")


def job_named(history: History, word: str) -> Job:
    """Return the job that a user names by its number; "last" and "" are the newest one of this project.

    Raises UsageError if there is none.
    """
    if word.isdecimal():
        [job] = jobs_by_number(history, [int(word)])
        return job
    return history.jobs(group=group_named(history, word), user=provenance.user(), newest=1)[0]


def named(history: History, word: str) -> tuple[Job, ...]:
    """Return the job with this number, the newest job ("last", ""), or the jobs of the group with this name.

    Raises UsageError if there is none.
    """
    if word.isdecimal() or word in ("", LAST):
        return (job_named(history, word),)
    reconcile.take_journal_if_room(history)  # single runs are groups too
    if jobs := history.jobs(group=word, user=provenance.user()):
        return jobs
    raise submissions.no_group(history, word, provenance.user())
