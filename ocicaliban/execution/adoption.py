"""Takes up a submission that another process left: what still runs, and what ended meanwhile."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import field, frozen

from ocicaliban.errors import OcicalibanError
from ocicaliban.jobs import lifecycle, log_file
from ocicaliban.model.job import UNDER_WAY, Attempt, Job, Submission
from ocicaliban.targets.container_runner import ContainerRunner, ObservedContainer

if TYPE_CHECKING:
    from ocicaliban.history.store import History

MACHINE_DOWN = "the machine went down while it ran"
"""Why an attempt is lost whose container ended without an exit code."""


@frozen(kw_only=True)
class Remains:
    """What another process left of a submission.

    `running` are the jobs whose containers run, or ended with a result; the last attempt of each is under way.
    `devices` are the CDI devices of each job, `failures` the number of its failed attempts in this submission.
    """

    running: tuple[Job, ...] = ()
    devices: Mapping[int, tuple[str, ...]] = field(factory=dict)
    failures: Mapping[int, int] = field(factory=dict)


def adopt(history: History, submission: Submission, containers: ContainerRunner) -> Remains:
    """Record as lost the attempts under way that have no result and do not run, and return the others."""
    found = containers.find(submission=str(submission.id))
    running: list[Job] = []
    devices: dict[int, tuple[str, ...]] = {}
    failures: dict[int, int] = {}
    for job in history.jobs(submission=submission.id, statuses=UNDER_WAY | {"queued"}):
        # A job that was resubmitted has older attempts.
        since = submission.created
        if failed := sum(each.status == "failed" and each.started >= since for each in job.attempts):
            failures[job.id] = failed
        if job.status not in UNDER_WAY or job.last is None:
            continue
        container = found.get(job.last.handle)
        reason = _why_lost(container)
        if reason and _removed(containers, job.last):
            if job.last.log:
                with contextlib.suppress(OSError):  # it stays as conmon wrote it, and can be read
                    log_file.plain(job.last.log)
            history.end(job.id, job.last.number, "lost", reason=reason, ended=time.time(), again=True)
            continue
        running.append(job)
        if container and (names := container.labels.get("devices", "")):
            devices[job.id] = tuple(names.split(","))
    return Remains(running=tuple(running), devices=devices, failures=failures)


def left_over(history: History, submission: Submission, containers: ContainerRunner) -> list[str]:
    """Return the containers of attempts that are over: one was being made when another process was killed."""
    found = containers.find(submission=str(submission.id))
    keys = {there.labels.get("job", "") for there in found.values() if there.state != "running"}
    return [
        attempt.handle
        for job in (history.jobs(keys=keys, submission=submission.id) if keys else ())
        for attempt in job.attempts
        if attempt.handle in found and attempt.status not in UNDER_WAY
    ]


def end_hopeless(history: History, submission: Submission, containers: ContainerRunner) -> None:
    """Kill the jobs that a search has stopped, and that still run since it was killed before it could say so."""
    found = containers.find(submission=str(submission.id))
    running = {there.labels.get("job", ""): there for there in found.values() if there.state == "running"}
    for job in history.jobs(keys=running, submission=submission.id, statuses=["stopped"]) if running else ():
        if job.last and lifecycle.is_hopeless(job.last) and job.last.handle in found:
            with contextlib.suppress(OcicalibanError):
                containers.signal(job.last.handle, "KILL")


def _why_lost(container: ObservedContainer | None) -> str:
    """Return why an attempt with this container will have no result; "" where it will."""
    if container is None:
        return "its container is gone"
    if container.state == "exited" and container.exit_code is None:
        return MACHINE_DOWN
    return "it was never started, since ocicaliban was killed" if container.state == "created" else ""


def _removed(containers: ContainerRunner, attempt: Attempt) -> bool:
    """Remove the container of an attempt; return whether there is none any more."""
    try:
        containers.remove(attempt.handle)
    except OcicalibanError:
        return False  # it was just being started
    return True
