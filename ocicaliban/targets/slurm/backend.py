"""Slurm as a backend: a cluster that schedules jobs itself, and sees a disk that we see too."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ocicaliban.containers import image_file
from ocicaliban.containers.image_file import FileForm, ImageFile
from ocicaliban.errors import UsageError
from ocicaliban.jobs import log_file, provenance
from ocicaliban.model.job import ENDED, Attempt, Job, Submission
from ocicaliban.reporter import Reporter
from ocicaliban.targets.backend import BatchBackend, Capabilities, Connection, Request, stopped_unsent
from ocicaliban.targets.clock import SYSTEM, Clock
from ocicaliban.targets.slurm import arrays, options, shared

if TYPE_CHECKING:
    from ocicaliban.history.access import History
    from ocicaliban.targets.slurm.jobs import SlurmJobs

TARGET = "slurm"
"""The name of this backend in the history."""

_EVERY = 2.0
"""Seconds between two questions whether a job still runs."""


class SlurmConnection(Connection):
    """Slurm's commands."""

    def __init__(self, script: str) -> None:
        self._script = script

    def check(self) -> None:
        """Ask Slurm whether it would take such jobs. Raises OcicalibanError in its own words."""
        from ocicaliban.targets.slurm import client

        client.test(self._script)


class SlurmBackend(BatchBackend):
    """A Slurm cluster."""

    title = "Slurm"
    use_case = "ocicaliban.app.slurm_jobs"
    capabilities = Capabilities(
        schedules_itself=True,
        arrays=True,
        needs_registry=False,
        can_mount=True,
        image_form="squashfs",
        interactive="ocicaliban.app.slurm_interactive",
    )

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock

    @property
    def _jobs(self) -> SlurmJobs:
        from ocicaliban.targets.slurm import jobs

        return jobs.SlurmJobs(clock=self._clock)

    def validate(self, request: Request) -> tuple[UsageError, ...]:
        """Return what is wrong with the options."""
        try:
            options.checked(options.recorded(request.job.submission))
        except UsageError as problem:
            return (problem,)
        return ()

    def connect(self, submission: Submission) -> Connection:
        """Return Slurm's commands."""
        return SlurmConnection(test_script(options.recorded(submission)))

    def submit(
        self,
        history: History,
        submission: Submission,
        accepted: Callable[[Job, str], None],
        reporter: Reporter,
        *,
        connection: Connection | None = None,
        settle: bool = False,
    ) -> None:
        """Submit the queued jobs of a submission in arrays; `accepted` gets each job's name at Slurm.

        Jobs that Slurm's limit for a user does not let in stay queued.
        """
        self._jobs.submit(history, submission, image_of(submission), accepted, reporter, settle=settle)

    def observe(self, history: History, jobs: Sequence[Job], reporter: Reporter) -> None:
        """Record what has become of these jobs."""
        self._jobs.observe(history, jobs, reporter)

    def cancel(self, history: History, jobs: Sequence[Job], reporter: Reporter) -> Iterator[Job]:
        """Cancel these jobs, and yield those that Slurm has cancelled."""
        yield from self._jobs.cancel(history, jobs, f"stopped by {provenance.user()}", reporter)

    def cancel_ended(
        self,
        history: History,
        jobs: Sequence[Job],
        reporter: Reporter,
        *,
        wait: Reporter | None = None,
        dry_run: bool = False,
    ) -> tuple[Job, ...]:
        """Cancel what Slurm still has of jobs that have ended by the record."""
        late = [job for job in jobs if job.status == "stopped"]
        if dry_run or not late:
            return ()
        if wait and any(map(stopped_unsent, late)):
            self._jobs.settle([*{job.submission.id: job.submission for job in late}.values()], wait)
        return self._jobs.cancel_ended(history, late, reporter)

    def logs(
        self, job: Job, attempt: Attempt, goes_on: Callable[[], bool] | None, reporter: Reporter
    ) -> Iterator[bytes]:
        """Yield the attempt's log file on the shared disk, and follow it as long as the job runs.

        Of an attempt that could not write one, yield what Slurm and the script of its array said.
        """
        if attempt.status in ENDED and not os.path.exists(attempt.log):
            return shared.said(job.submission, job.key)
        asked, answer = 0.0, goes_on is not None

        def ended() -> bool:
            nonlocal asked, answer
            if goes_on and answer and time.monotonic() - asked > _EVERY:
                answer = goes_on()
                asked = time.monotonic()
            return not answer

        return log_file.follow(attempt.log, ended)

    def results(self, jobs: Iterable[Job], reporter: Reporter) -> Mapping[int, Path]:
        """Return the jobs' own folders of results, if this machine sees them."""
        return {job.id: Path(job.out) for job in jobs if job.out and os.path.isdir(job.out)}


def test_script(asked: options.Options) -> str:
    """Return a script that asks for what the jobs need, and does nothing."""
    return "\n".join(["#!/bin/sh", *(f"#SBATCH {words}" for words in options.sbatch_lines(asked)), ""])


def file_form(submission: Submission) -> FileForm:
    """Return what the image file of a submission is like.

    charliecloud alone cannot mount a folder where its image has none, and which runtime a node has is not known.
    """
    asked = options.recorded(submission)
    points = dict(arrays.mount_points(submission.launch)) if asked.runtime in ("", "charliecloud") else {}
    of_files = frozenset(target for target, source in points.items() if os.path.isfile(source))
    return FileForm(form=asked.image, points=tuple(points), files=of_files)


def image_of(submission: Submission) -> ImageFile:
    """Return the image file of a submission. Raises UsageError if it is gone."""
    form = file_form(submission)
    if found := image_file.stored(shared.images(submission), submission.image, form):
        return found
    path = image_file.path_of(shared.images(submission), submission.image, form)
    hint = f"ocicaliban resubmit --group {submission.group} --rebuild makes one of the project as it is now"
    raise UsageError(f"the image file {path} of {submission.group} is gone", hint)


BACKEND = SlurmBackend()
