"""The interface of every place where jobs run: this machine, Vertex AI, later Slurm and Kubernetes.

A backend that schedules jobs itself takes all of them at once (`BatchBackend.submit`). On any other backend
`execution.runner` starts them one by one through a `ContainerRunner`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from attrs import frozen

from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.model.job import Attempt, Job, Submission
from ocicaliban.reporter import Reporter
from ocicaliban.targets import result_copies

if TYPE_CHECKING:
    from ocicaliban.history.access import History

ImageForm = Literal["store", "digest", "squashfs"]
"""How a submission names its image: an id in podman's store, a digest in a registry, or a squashfs file."""


@frozen(kw_only=True)
class Capabilities:
    """What a backend can do.

    `schedules_itself`: it takes all jobs at once, and they wait there until it has room. `arrays`: it takes many jobs
    in one request. `needs_registry`: the image must be in a registry before a job starts. `can_mount`: a job sees
    folders of the machine that submits it. `interactive` names the module in `app` that runs shells and notebooks
    there, "" if nothing does.
    """

    schedules_itself: bool
    arrays: bool
    needs_registry: bool
    can_mount: bool
    image_form: ImageForm
    interactive: str = ""


@frozen(kw_only=True)
class Request:
    """Jobs that somebody wants to run, for a check before anything slow.

    `job` stands for all of them; its submission has how they start and the backend's options. `platform` is the
    image's ("linux/amd64"), or "" while it is unknown.
    """

    job: Job
    platform: str = ""


class Connection(Protocol):
    """A connection to the service of one submission."""

    def check(self) -> None:
        """Ask whether the service takes jobs. Raises OcicalibanError in the service's own words."""


class Backend(Protocol):
    """A place where jobs run. Methods that take jobs get only jobs of this backend."""

    @property
    def title(self) -> str:
        """The name to show to people."""

    @property
    def capabilities(self) -> Capabilities:
        """What this backend can do."""

    def validate(self, request: Request) -> tuple[UsageError, ...]:
        """Return what keeps these jobs from running here. Reads nothing that takes time."""

    def observe(self, history: History, jobs: Sequence[Job], reporter: Reporter) -> None:
        """Record what has become of these unfinished jobs.

        If the backend does not answer, say so to `reporter` and leave the record as it is.
        """

    def cancel(self, history: History, jobs: Sequence[Job], reporter: Reporter) -> Iterator[Job]:
        """Stop these pending and running jobs, and yield each one that was stopped.

        `reporter` gets a line for each of the others.
        """

    def cancel_ended(
        self,
        history: History,
        jobs: Sequence[Job],
        reporter: Reporter,
        *,
        wait: Reporter | None = None,
        dry_run: bool = False,
    ) -> tuple[Job, ...]:
        """Stop what still runs of jobs that have ended by the record, and return those jobs.

        This happens if the process that stopped them was killed. With `wait`, wait first for requests that may be on
        their way, and say so to that reporter. A dry run stops nothing, and does not ask a service.
        """

    def logs(
        self, job: Job, attempt: Attempt, goes_on: Callable[[], bool] | None, reporter: Reporter
    ) -> Iterator[bytes]:
        """Yield what the job wrote in this attempt, and what it writes as long as `goes_on` returns True.

        Raises UsageError if this machine cannot read the log, OcicalibanError if the service refuses.
        """

    def results(self, jobs: Iterable[Job], reporter: Reporter) -> Mapping[int, Path]:
        """Return for each job, by its id, a folder on this machine with the metrics files that it wrote.

        `reporter` gets a note about what cannot be fetched. A job without such a folder is left out.
        """

    def copy_results(self, job: Job, to: Path) -> None:
        """Copy all results of a job to the new folder `to`. Raises OcicalibanError if they are not within reach."""
        if not os.path.isdir(job.out):
            where = f"on {job.submission.host}, not on this machine" if job.out else "kept nowhere"
            raise UsageError(f"the results of job {job.id} are {where}", "`ocicaliban status --json` has their folder")
        result_copies.copy(Path(job.out), to)


class BatchBackend(Backend, Protocol):
    """A backend that schedules jobs itself."""

    @property
    def use_case(self) -> str:
        """The full name of the module in `app` that makes, resumes and resubmits submissions for this backend."""

    def connect(self, submission: Submission) -> Connection:
        """Connect to the service of a submission. Sends nothing yet. Raises OcicalibanError."""

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
        """Submit the queued jobs of a submission, each exactly once.

        `accepted` is called with each job and its page for a browser, once it is on record. Pass the `connection` if
        there is one already. `settle` says that an earlier call was killed or stopped a moment ago, so that some jobs
        may still be on their way. Raises UsageError if another process submits them, Refused if the service refuses
        them, OcicalibanError if it does not answer; jobs that it has not accepted stay queued.
        """


def problems(backend: Backend, request: Request) -> tuple[UsageError, ...]:
    """Return what keeps these jobs from running on this backend: what it cannot do, and what it says itself."""
    submission = request.job.submission
    found = backend.validate(request)
    if submission.launch.mounts and not backend.capabilities.can_mount:
        message = f"the mode '{submission.mode}' mounts folders of this machine, which {backend.title} cannot see"
        found = (*found, UsageError(message, 'replace "source-mount" by "source-copy" in its list'))
    return found


def require(backend: Backend, request: Request) -> None:
    """Raise the first problem that keeps these jobs from running on this backend, if there is one."""
    for problem in problems(backend, request):
        raise problem


def stopped_unsent(job: Job) -> bool:
    """Return whether a job was stopped before its backend was known to have it: no attempt of it was stopped."""
    return job.status == "stopped" and not (job.last and job.last.status == "stopped")


class Refused(OcicalibanError):
    """The service refuses the jobs, and waiting does not help."""
