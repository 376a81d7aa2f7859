"""Jobs on this machine, in podman's containers."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ocicaliban.containers import podman, podman_args
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.jobs import lease, lifecycle, log_file, provenance, run_journal
from ocicaliban.model.job import ENDED, UNDER_WAY, Attempt, Job, Status, Submission
from ocicaliban.reporter import Reporter
from ocicaliban.targets.backend import Backend, Capabilities, Request
from ocicaliban.targets.container_runner import ObservedContainer
from ocicaliban.targets.local import container_spec, listing

if TYPE_CHECKING:
    from ocicaliban.history.access import History

_EVERY = 1.0
"""Seconds between two questions whether a job still runs."""

_GRACE = 10
"""Seconds from SIGTERM to SIGKILL, as for `podman stop`."""


class Containers(Protocol):
    """The containers of this machine, by their names."""

    def find(self, **labels: str) -> Mapping[str, ObservedContainer]:
        """Return the containers with these labels."""

    def stop(self, handles: Sequence[str], *, grace: int) -> None:
        """Send SIGTERM to all of them, and SIGKILL after so many seconds. Raises OcicalibanError."""

    def remove_ended(self, handle: str) -> bool:
        """Remove a container unless it runs. Return whether it was removed."""

    def remove_at_once(self, handle: str) -> bool:
        """Kill and remove a container. Return whether it was removed."""

    def oom_killed(self, handle: str) -> bool:
        """Return whether the kernel ended it at its limit of memory; False if it does not exist."""


class PodmanContainers(Containers):
    """podman's containers."""

    def find(self, **labels: str) -> Mapping[str, ObservedContainer]:
        """Return the containers with these labels."""
        return listing.find(**labels)

    def stop(self, handles: Sequence[str], *, grace: int) -> None:
        """Stop containers, all at once."""
        podman.stop(handles, grace=grace)

    def remove_ended(self, handle: str) -> bool:
        """Remove a container unless it runs."""
        return podman.remove_ended(handle)

    def remove_at_once(self, handle: str) -> bool:
        """Kill and remove a container."""
        return podman.remove_at_once(handle)

    def oom_killed(self, handle: str) -> bool:
        """Return whether the kernel ended a container at its limit of memory; podman's list does not say that."""
        return any(found["State"].get("OOMKilled") for found in podman.inspect_containers([handle]))


class LocalBackend(Backend):
    """podman on this machine. The submission's host must be this machine; other jobs are left alone."""

    title = "this machine"
    capabilities = Capabilities(
        schedules_itself=False, arrays=False, needs_registry=False, can_mount=True, image_form="store"
    )

    def __init__(self, containers: Containers | None = None) -> None:
        self._containers = containers or PodmanContainers()

    def validate(self, request: Request) -> tuple[UsageError, ...]:
        """Return an error for options for podman that a job cannot have."""
        options = request.job.submission.options
        texts = (options.get(name) for name in (provenance.RUN_OPTIONS, "podman_args"))
        given = tuple(word for text in texts for word in podman_args.split(str(text or "")))
        try:
            container_spec.check_given(given)
            podman_args.require_values(given, os.environ)
        except UsageError as problem:
            return (problem,)
        return ()

    def observe(self, history: History, jobs: Sequence[Job], reporter: Reporter) -> None:
        """Record the end of running jobs that no process of ours waits for.

        Jobs whose container is gone are queued again, or are lost if `resume` cannot run them.
        """
        here = [job for job in jobs if job.status in UNDER_WAY and _here(job.submission)]
        # A run that another process began may have come on record after the journal was read.
        left = [
            job
            for job in here
            if not (provenance.alone(job.submission) and run_journal.has(job.key)) and not lease.is_held(job.submission)
        ]
        for submission in {job.submission.id: job.submission for job in left}.values():
            try:
                with lease.held(submission):
                    # Look at containers only now: no other process can start or end one.
                    labels = {"job": ""} if provenance.alone(submission) else {"submission": str(submission.id)}
                    found = self._containers.find(**labels)
                    for job in history.jobs(submission=submission.id, statuses=UNDER_WAY):
                        self._settle(history, job, found)
            except UsageError:
                continue  # another process has taken it up

    def cancel(self, history: History, jobs: Sequence[Job], reporter: Reporter) -> Iterator[Job]:
        """Send SIGTERM to the jobs' containers, SIGKILL ten seconds later, and yield the jobs that were stopped."""
        stopped: list[Job] = []
        for job in jobs:
            if job.status not in UNDER_WAY or job.last is None:
                continue
            if not _here(job.submission):
                reporter.say(f"job {job.id} runs on {job.submission.host}: stop it there")
                continue
            # On record first, so that the process that runs it does not take it for a failure.
            reason = f"stopped by {provenance.user()}"
            if history.end(job.id, job.last.number, "stopped", reason=reason, ended=time.time()):
                stopped.append(job)
        self.stop_containers([job.last.handle for job in stopped if job.last])
        for job in stopped:
            self._remove(job)
            yield job

    def cancel_ended(
        self,
        history: History,
        jobs: Sequence[Job],
        reporter: Reporter,
        *,
        wait: Reporter | None = None,
        dry_run: bool = False,
    ) -> tuple[Job, ...]:
        """Stop containers that still run though their jobs have ended by the record."""
        ended = {job.last.handle: job for job in jobs if job.status in ENDED and job.last and _here(job.submission)}
        found = self._containers.find(job="") if ended else {}
        rest = {handle: job for handle, job in ended.items() if handle in found and found[handle].state == "running"}
        if not dry_run:
            self.stop_containers([*rest])
            for job in rest.values():
                self._remove(job)
        return tuple(rest.values())

    def logs(
        self, job: Job, attempt: Attempt, goes_on: Callable[[], bool] | None, reporter: Reporter
    ) -> Iterator[bytes]:
        """Yield the attempt's log file, and follow it as long as the job runs."""
        if not _here(job.submission):
            raise UsageError(f"job {job.id} was run on {job.submission.host}", "its log is there")
        if attempt.reason == lifecycle.NO_POINT:
            raise UsageError(
                f"job {job.id} has no log: it was not started, since {attempt.reason}", "give it wider ranges"
            )
        if not attempt.log:
            raise UsageError(
                f"job {job.id} has no log: its output went to the terminal that started it",
                "only the jobs of a sweep have log files",
            )
        asked, answer = 0.0, goes_on is not None

        def ended() -> bool:
            nonlocal asked, answer
            if goes_on and answer and time.monotonic() - asked > _EVERY:
                asked, answer = time.monotonic(), goes_on()
            return not answer

        return log_file.follow(attempt.log, ended)

    def results(self, jobs: Iterable[Job], reporter: Reporter) -> Mapping[int, Path]:
        """Return the jobs' own folders of results, if they are on this machine."""
        return {job.id: Path(job.out) for job in jobs if job.out and os.path.isdir(job.out)}

    def _settle(self, history: History, job: Job, found: Mapping[str, ObservedContainer]) -> None:
        """Record the end of a running job's attempt, if it has ended."""
        attempt = job.last
        if attempt is None:
            return
        there = found.get(attempt.handle)
        if there and there.state == "running":
            return
        if there is None or there.exit_code is None:
            # Without force: a container that runs after all, or is about to start, stays.
            if there and not self._containers.remove_ended(attempt.handle):
                return
            reason = lifecycle.why_failed(None) if there is None or there.state != "created" else "it was never started"
            _finish_log(attempt)
            again = not provenance.alone(job.submission)
            history.end(job.id, attempt.number, "lost", reason=reason, ended=time.time(), again=again)
        else:
            _finish_log(attempt)
            starved = bool(there.exit_code) and self._containers.oom_killed(attempt.handle)
            reason = lifecycle.why_failed(there.exit_code, oom_killed=starved)
            status: Status = "failed" if reason else "succeeded"
            ended = there.ended or time.time()
            history.end(job.id, attempt.number, status, exit_code=there.exit_code, reason=reason, ended=ended)
            self._containers.remove_at_once(attempt.handle)

    def _remove(self, job: Job) -> None:
        """Finish the log and remove the container of a stopped job, unless the process that runs it does so."""
        if job.last and not lease.is_held(job.submission):
            _finish_log(job.last)
            self._containers.remove_at_once(job.last.handle)

    def stop_containers(self, handles: Sequence[str]) -> None:
        """Send SIGTERM to containers, all at once, and SIGKILL to those that still run ten seconds later."""
        if not handles:
            return
        try:
            # Uninterrupted: the jobs are on record as stopped, and one that ignores SIGTERM would go on forever.
            self._containers.stop(handles, grace=_GRACE)
        except OcicalibanError:
            # A container that was removed meanwhile has ended.
            left = self._containers.find(job="")
            if any(handle in left and left[handle].state == "running" for handle in handles):
                raise


def _finish_log(attempt: Attempt) -> None:
    """Turn the log of an ended attempt into plain text; without room for that, it stays as conmon wrote it."""
    if attempt.log:
        with contextlib.suppress(OSError):
            log_file.plain(attempt.log)


def _here(submission: Submission) -> bool:
    return submission.host == provenance.host()


BACKEND = LocalBackend()
