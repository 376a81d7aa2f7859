"""What `status` shows: the newest jobs, and how the jobs of their groups are doing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from ocicaliban.app import selection, submissions
from ocicaliban.app.requests import StatusRequest
from ocicaliban.execution import reconcile
from ocicaliban.jobs import provenance
from ocicaliban.model.job import Job
from ocicaliban.reporter import TERMINAL

if TYPE_CHECKING:
    from ocicaliban.history.access import History
    from ocicaliban.history.store import Group

_SHOWN = 20
_MOST = 1 << 62  # what a database can count to


@frozen(kw_only=True)
class JobsStatus:
    """The jobs that are shown, newest first, their groups, and the groups with queued jobs that no process starts.

    `others` is how many other groups the user has, if only the newest one of a project is shown.
    """

    jobs: tuple[Job, ...]
    groups: tuple[Group, ...]
    unattended: tuple[str, ...]
    others: int = 0


def looks(request: StatusRequest) -> Iterator[JobsStatus]:
    """Yield what there is to show, each time after a new look at what really runs.

    Raises UsageError if the group does not exist.
    """
    from ocicaliban.history import access

    user = "" if request.all_users else provenance.user()
    with access.open(reporter=TERMINAL) as history:
        while True:
            yield _look(history, request, user)


def _look(history: History, request: StatusRequest, user: str) -> JobsStatus:
    group = selection.group_named(history, request.group) if request.group else ""
    if newest := selection.newest_group(history) if request.newest_group else "":
        found = _look(history, evolve(request, group=newest), user)
        return evolve(found, others=len(history.groups(user=user)) - 1)
    reconcile.catch_up_if_room(history, group=group)
    most = _SHOWN if request.max_jobs is None else request.max_jobs
    jobs = history.jobs(group=group, user=user, newest=min(max(most, 0), _MOST))
    if group and not jobs:
        raise submissions.no_group(history, group, user)
    return JobsStatus(jobs=jobs, groups=_groups(history, jobs, group, user), unattended=_unattended(jobs))


def _groups(history: History, jobs: tuple[Job, ...], group: str, user: str) -> tuple[Group, ...]:
    """Return the groups of the jobs, oldest first; not those with one job, unless the user asks for a group."""
    shown = {job.submission.group for job in jobs}
    found = []
    for each in reversed(history.groups(user=user)):
        if each.name not in shown or not (group or sum(each.counts.values()) > 1):
            continue
        found.append(each)
    return tuple(found)


def _unattended(jobs: tuple[Job, ...]) -> tuple[str, ...]:
    left = reconcile.unattended(jobs)
    return tuple(sorted({job.submission.group for job in jobs if job.submission.id in left}))
