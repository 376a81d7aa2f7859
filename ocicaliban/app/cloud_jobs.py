"""Submit jobs to Vertex AI: new ones, those that are left, and those that run again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from ocicaliban import google_auth
from ocicaliban.app import build, cloud_image, cloud_options, cloud_unfinished, place, submissions
from ocicaliban.app.cloud_image import CloudImage
from ocicaliban.app.cloud_key import key_file
from ocicaliban.app.requests import CloudRequest, MachinesRequest
from ocicaliban.execution import reconcile
from ocicaliban.jobs import group_names, lease, provenance, records
from ocicaliban.model.job import Job, JobSpec, Submission
from ocicaliban.project import entry_point, git
from ocicaliban.reporter import TERMINAL
from ocicaliban.system import threads
from ocicaliban.targets.backend import BatchBackend, Connection, Refused, stopped_unsent
from ocicaliban.targets.vertex import backend, job_spec, machines
from ocicaliban.targets.vertex import options as vertex_options
from ocicaliban.targets.vertex.options import Options

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ocicaliban.history.access import History
    from ocicaliban.jobs.expansion import Sweep
    from ocicaliban.targets.vertex.client import VertexClient


@frozen(kw_only=True)
class CloudJobs:
    """Jobs that are checked, and not submitted: `first` is the first of them, and all are like it."""

    request: CloudRequest
    options: Options
    sweep: Sweep | None
    args: tuple[str, ...]
    first: Job

    @property
    def count(self) -> int:
        """The number of jobs."""
        return cloud_options.count(self.sweep)

    def specs(self) -> Iterator[JobSpec]:
        """Yield the jobs."""
        return cloud_options.specs(self.sweep, self.args)


def prepare(
    request: CloudRequest,
    wanted: MachinesRequest,
    experiment_config: str,
    args: tuple[str, ...],
    sweep_format: str = "flags",
) -> CloudJobs:
    """Check a request for jobs: one, or one for each point of the sweep file `experiment_config`.

    Raises UsageError for what the service would not take.
    """
    build.note_root()
    request = place.entered(request, TERMINAL)
    cloud_options.check_request(request, wanted)
    sweep = None
    if experiment_config:
        from ocicaliban.app import sweep_input

        sweep = sweep_input.read_to_run(experiment_config, sweep_format)
    if request.group:
        group_names.check(request.group)
    region = request.region or backend.REGION
    options, warnings = cloud_options.vertex_options(wanted, region)
    for warning in warnings:
        TERMINAL.warning(warning)
    if entry_point.is_notebook(request.module) and not options.output:
        TERMINAL.note("the executed notebook is lost with its container: --output-dir gs://BUCKET/results keeps it")
    request = evolve(request, region=region, cloud_key=key_file(request.cloud_key), gpu=bool(wanted.gpu_spec))
    first = cloud_options.first_job(request, options, sweep, args)
    return CloudJobs(request=request, options=options, sweep=sweep, args=args, first=first)


# --- new jobs ---


def submit(jobs: CloudJobs) -> str:
    """Build and push the image, submit the jobs, and return their group.

    A submission that the same command has begun, and that was interrupted, goes on. Raises OcicalibanError if the
    build, the registry or the service fails.
    """
    from ocicaliban.history import access
    from ocicaliban.targets.vertex import library

    library.preload()  # it takes seconds, in parallel with building and pushing the image
    with access.open(reporter=TERMINAL) as history:
        prepared = _with_image(jobs.request, jobs.options, jobs.first)
        begun = cloud_unfinished.find_interrupted(history, prepared.submission, jobs.count, jobs.specs)
        if begun:
            return _go_on(history, evolve(prepared, submission=begun))
        group = jobs.request.group or group_names.new(place.project_root())
        submission = history.submit(evolve(prepared.submission, group=group), jobs.specs())
        TERMINAL.say(f"{group}: {submissions.numbered(jobs.count)} to {jobs.request.region}")
        return _send(history, evolve(prepared, submission=submission))


@frozen(kw_only=True)
class _Prepared:
    """A submission whose image is in the registry, and the connection to its backend's service."""

    submission: Submission
    batch: BatchBackend
    connection: Connection


def _with_image(request: CloudRequest, options: Options, first: Job) -> _Prepared:
    """Return a submission for jobs like `first`, whose image is in the registry.

    Nothing that takes long is built, and nothing is pushed, before the service has said that it takes such jobs.
    Raises OcicalibanError if it does not.
    """
    connecting = threads.start(lambda: _connected(request, options, first))
    if request.image_tag:
        image = cloud_image.look_up(request, first)
    else:
        unknown = options.machine.accelerator not in _accelerators()
        image = cloud_image.build_and_push(request, first, lambda: _wait(connecting), at_once=unknown)
    service = connecting.result()
    options = evolve(options, entrypoint=image.entrypoint, command=image.command)
    submission = _submission(evolve(request, project_id=service.project), options, image)
    return _Prepared(submission=submission, batch=backend.BACKEND, connection=service)


def _wait(connecting: Future[VertexClient]) -> None:
    connecting.result()


def _connected(request: CloudRequest, options: Options, first: Job) -> VertexClient:
    """Return a connection to the service, which has said that it takes jobs like `first`."""
    from ocicaliban.targets.vertex import client

    service = client.connect(request.project_id, request.region, key_file=request.cloud_key)
    service.check(job_spec.custom_job(first, backend.NO_DIGEST, options)[0])
    return service


def _accelerators() -> set[str]:
    """Return the accelerators of the table, and ""; the library may not know any other."""
    return {"", *machines.table().accelerators.values()}


def _submission(request: CloudRequest, options: Options, image: CloudImage) -> Submission:
    commit, dirty = git.head(place.project_root())
    return Submission(
        group=request.group,
        user=provenance.user(),
        host=provenance.host(),
        target=backend.TARGET,
        project=str(place.project_root()),
        mode=request.mode,
        module=request.module,
        image=image.reference,
        plan_key=image.plan_key,
        launch=image.launch,
        options={**records.to_record(request), vertex_options.KEY: vertex_options.to_record(options)},
        commit=commit,
        dirty=dirty,
    )


def _go_on(history: History, begun: _Prepared) -> str:
    """Submit what is left of a submission that this command has begun, and return its group."""
    submission = begun.submission
    group = submission.group
    reconcile.catch_up(history, TERMINAL, group=group)
    counts = history.counts(submission=submission.id)
    if count := counts["queued"]:
        left = f"the {count} jobs that are left are submitted" if count > 1 else "the job that is left is submitted"
        TERMINAL.say(
            f"{group}: this command was interrupted before; {left} now"
            f" (to start over instead: ocicaliban stop --group {group})"
        )
        return _send(history, begun, begun=True)
    with lease.held(submission):  # from now on it does not count as killed
        states = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
        TERMINAL.say(
            f"{group}: this command was killed after it had submitted all jobs ({states}); none is submitted twice."
            " The same command submits new jobs next time"
        )
    return group


# --- jobs that are left, and jobs that run again ---


def resume(history: History, submission: Submission, batch: BatchBackend) -> str:
    """Submit the jobs of a submission that are left, and return its group. Raises UsageError if its image is gone."""
    request = _recorded(submission)
    connection = batch.connect(submission)
    connection.check()
    cloud_image.check(submission, request, waiting=True)
    return _send(history, _Prepared(submission=submission, batch=batch, connection=connection), begun=True)


def resubmit(history: History, jobs: list[Job], batch: BatchBackend, *, rebuild: bool) -> str:
    """Submit jobs of one submission again, and return their group.

    With `rebuild` their image is one of the project as it is now. Raises UsageError if their image is gone, or another
    process has taken the jobs.
    """
    old = jobs[0].submission
    request = _recorded(old)
    # While another process still submits, a job that was stopped may be on its way.
    with lease.held(old):
        if rebuild:
            submissions.enter_project(old)
            prepared = _with_image(request, vertex_options.recorded(old), jobs[0])
            new = evolve(prepared.submission, group=old.group)
        else:
            connection = batch.connect(old)
            connection.check()
            cloud_image.check(old, request)
            prepared = _Prepared(submission=old, batch=batch, connection=connection)
            new = submissions.ours(old)
        submission = submissions.resubmitted(history, new, jobs)
    # A job that was stopped on its way may arrive in a moment; then it is taken over.
    settle = any(map(stopped_unsent, jobs))
    return _send(history, evolve(prepared, submission=submission), settle=settle)


def _recorded(submission: Submission) -> CloudRequest:
    """Return what `cloud` was asked for. Raises UsageError if another version wrote it in another form."""
    request = records.requested(submission, CloudRequest)
    vertex_options.recorded(submission)  # before anything is changed
    return evolve(request, cloud_key=google_auth.recorded(request.cloud_key))


# --- submitting ---


def _send(history: History, prepared: _Prepared, *, begun: bool = False, settle: bool = False) -> str:
    """Submit the queued jobs of a submission, and return its group.

    `begun` says that another process was submitting them, and may have been killed; `settle` that the service may get
    some of them in a moment for another reason. Raises OcicalibanError if the service refuses.
    """
    submission = prepared.submission
    group, count = submission.group, history.counts(submission=submission.id)["queued"]
    taken = 0
    with TERMINAL.counting(f"{group}: submitted", count) as count_one:

        def accepted(job: Job, page: str) -> None:
            nonlocal taken
            taken += 1
            count_one()
            if count == 1:
                TERMINAL.say(f"job {job.id}: {page}")

        try:
            prepared.batch.submit(
                history, submission, accepted, TERMINAL, connection=prepared.connection, settle=begun or settle
            )
        except Refused as fault:
            waiting = history.jobs(submission=submission.id)
            if begun or taken or any(job.status != "queued" for job in waiting):
                _say_left(group, taken, count)
                raise
            raise _withdrawn(history, group, waiting, fault) from fault
        except BaseException:
            _say_left(group, taken, count)
            raise
    if stopped := count - taken:
        TERMINAL.say(f"{group}: {stopped} of {count} were stopped meanwhile")
    TERMINAL.say(f"  to see them: ocicaliban status --group {group}")
    return group


def _withdrawn(history: History, group: str, waiting: Iterable[Job], fault: Refused) -> Refused:
    """Stop the jobs, because the service has taken none of them, and return its refusal with what the user can do."""
    history.stop_queued(job.id for job in waiting)
    return Refused(
        f"{fault.message}\nno job of {group} was submitted",
        f"{fault.hint}; to try the same again: ocicaliban resubmit --group {group}",
    )


def _say_left(group: str, taken: int, count: int) -> None:
    TERMINAL.say(
        f"{group}: {taken} of {count} jobs were submitted; the others wait:"
        f" ocicaliban resume {group}, or stop --group {group}"
    )
