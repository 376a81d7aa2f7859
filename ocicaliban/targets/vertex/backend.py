"""Vertex AI as a backend: custom jobs, each with a machine of its own."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ocicaliban import google_auth
from ocicaliban.errors import UsageError
from ocicaliban.model.job import Attempt, Job, Submission
from ocicaliban.reporter import Reporter
from ocicaliban.targets.backend import BatchBackend, Capabilities, Connection, Request
from ocicaliban.targets.clock import SYSTEM, Clock
from ocicaliban.targets.service_jobs import Service, ServiceJobs
from ocicaliban.targets.vertex import job_spec, options

if TYPE_CHECKING:
    from ocicaliban.history.access import History
    from ocicaliban.targets.submit_once import Client, Limits
    from ocicaliban.targets.vertex.client import VertexClient

TARGET = "vertex"
"""The name of this backend in the history."""

REGION = "us-central1"
"""Where jobs run if no region is named, as in Caliban and gcloud."""

NO_DIGEST = f"image@sha256:{'0' * 64}"
"""An image whose digest is not known yet."""


class VertexService(Service):
    """What `ServiceJobs` needs to know of Vertex AI."""

    title = "Vertex AI"

    @property
    def limits(self) -> Limits:
        """Those of the client."""
        from ocicaliban.targets.vertex import client

        return client.documented_limits()

    def place(self, submission: Submission) -> Hashable:
        """Return the project, the region and the credentials."""
        return _place(submission)

    def region(self, submission: Submission) -> str:
        """Return the region."""
        return _place(submission)[1]

    def client(self, submission: Submission, patience: float | None = None) -> VertexClient:
        """Connect to the project and region of a submission."""
        from ocicaliban.targets.vertex import client

        project, region, key_file = _place(submission)
        connected = client.connect(project, region, key_file=key_file)
        return connected if patience is None else connected.patient(patience)

    def body(self, job: Job, attempt: int) -> tuple[Mapping[str, object], tuple[str, ...]]:
        """Return the CustomJob."""
        return job_spec.custom_job(job, job.submission.image, options.recorded(job.submission), attempt)

    def output(self, job: Job) -> str:
        """Return the job's folder in the bucket."""
        held = job.submission.options.get(options.KEY)
        output = str(held.get("output") or "") if isinstance(held, dict) else ""
        return job_spec.output_folder(output, job.submission.group, job.key)


def _place(submission: Submission) -> tuple[str, str, str]:
    held = submission.options
    return (
        str(held.get("project_id") or ""),
        str(held.get("region") or REGION),
        google_auth.recorded(held.get("cloud_key")),
    )


class VertexBackend(BatchBackend):
    """Vertex AI's custom jobs."""

    title = "Vertex AI"
    use_case = "ocicaliban.app.cloud_jobs"
    capabilities = Capabilities(
        schedules_itself=True, arrays=False, needs_registry=True, can_mount=False, image_form="digest"
    )

    def __init__(self, service: Service | None = None, clock: Clock = SYSTEM) -> None:
        self._service = service or VertexService()
        self._jobs = ServiceJobs(service=self._service, clock=clock)

    def validate(self, request: Request) -> tuple[UsageError, ...]:
        """Return what is wrong with the image's platform, the labels and the options."""
        job, submission = request.job, request.job.submission
        problems = []
        try:
            job_spec.check_platform(request.platform)
        except UsageError as problem:
            problems.append(problem)
        try:
            job_spec.custom_job(job, submission.image or NO_DIGEST, options.recorded(submission))
        except UsageError as problem:
            problems.append(problem)
        return tuple(problems)

    def connect(self, submission: Submission) -> Connection:
        """Connect to the project and region of a submission."""
        return cast(Connection, self._service.client(submission))

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
        """Submit the queued jobs of a submission, each exactly once; `accepted` gets each job's page."""
        client = cast("Client[object]", connection) if connection else self._service.client(submission)

        def with_page(job: Job, name: str) -> None:
            accepted(job, job_spec.console(name))

        self._jobs.submit(history, submission, client, with_page, reporter, settle=settle)

    def observe(self, history: History, jobs: Sequence[Job], reporter: Reporter) -> None:
        """Record what the service says of these jobs."""
        self._jobs.observe(history, jobs, reporter)

    def cancel(self, history: History, jobs: Sequence[Job], reporter: Reporter) -> Iterator[Job]:
        """Ask the service to end these jobs, and yield those that it agreed to end."""
        return self._jobs.cancel(history, jobs, reporter)

    def cancel_ended(
        self,
        history: History,
        jobs: Sequence[Job],
        reporter: Reporter,
        *,
        wait: Reporter | None = None,
        dry_run: bool = False,
    ) -> tuple[Job, ...]:
        """Cancel what the service has of jobs that were stopped before anybody knew that it has them."""
        return () if dry_run else self._jobs.cancel_late(history, jobs, reporter, wait=wait)

    def logs(
        self, job: Job, attempt: Attempt, goes_on: Callable[[], bool] | None, reporter: Reporter
    ) -> Iterator[bytes]:
        """Yield the job's entries in Cloud Logging."""
        from ocicaliban.targets.vertex import logs

        return logs.read(job, attempt, goes_on, reporter)

    def results(self, jobs: Iterable[Job], reporter: Reporter) -> Mapping[int, Path]:
        """Fetch the jobs' metrics files from Cloud Storage."""
        from ocicaliban.targets.vertex import results

        return results.fetch(jobs, reporter)

    def copy_results(self, job: Job, to: Path) -> None:
        """Fetch all results of a job from Cloud Storage."""
        from ocicaliban.targets.vertex import results

        results.fetch_all(job, to)


BACKEND = VertexBackend()
