"""Submit jobs to Slurm: new ones, those that are left, and those that run again."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from ocicaliban.app import build, job_checks, launch, origin, place, slurm_options, submissions
from ocicaliban.app.cloud_options import count, specs
from ocicaliban.app.launch import PreparedLaunch
from ocicaliban.app.requests import JobsRequest, LaunchRequest, RunRequest, SlurmRequest
from ocicaliban.containers import image_file, image_store
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.execution import reconcile
from ocicaliban.jobs import group_names, lease, provenance, records
from ocicaliban.jobs.origin import Machine, Origin
from ocicaliban.model.image import Image
from ocicaliban.model.job import Job, Submission
from ocicaliban.reporter import TERMINAL
from ocicaliban.targets.backend import BatchBackend, Refused, Request, require
from ocicaliban.targets.slurm import arrays, backend, client, clusters, given, shared
from ocicaliban.targets.slurm import options as option_records
from ocicaliban.targets.slurm.backend import BACKEND
from ocicaliban.targets.slurm.given import Given
from ocicaliban.targets.slurm.options import Options

if TYPE_CHECKING:
    from ocicaliban.history.access import History
    from ocicaliban.jobs.expansion import Sweep

_PAUSE = 30.0
"""Seconds between two tries while the user's limit lets no more jobs in."""


@frozen(kw_only=True)
class SlurmRun:
    """Jobs that are checked, and whose image is planned."""

    request: RunRequest
    options: Options
    sweep: Sweep | None
    launch: PreparedLaunch
    given: Given
    cluster: str

    def image_there(self) -> Image | None:
        """Return the image if it was built; nothing is built here."""
        if self.request.launch.image_id:
            return build.image_called(self.request.launch.image_id)
        top = self.launch.planned.plan.layers[-1:]
        return next((image_store.find_layer(layer.name, layer.key) for layer in top), None)

    def submission(self, image: Image, group: str) -> Submission:
        """Return what the history keeps of the submission."""
        made = self.launch.submission(image, group, self.request.jobs)
        return slurm_options.submission(made, self.options, self.given, self.cluster)


def prepare(request: RunRequest, wanted: SlurmRequest) -> SlurmRun:
    """Check a request for jobs, and plan their image. Raises UsageError for what Slurm would not take."""
    if not request.launch.module and not request.launch.image_id and request.launch.mode == "run":
        raise UsageError("run needs a MODULE, or --image-id", "ocicaliban run --target slurm train.py -- --lr 0.1")
    slurm_options.check(request)
    options = slurm_options.options(place.project_root(), request.jobs, wanted)
    asked_for = given.read(request.launch.podman_args, os.environ)
    sweep = None
    if request.experiment_config:
        from ocicaliban.app import sweep_input

        sweep = sweep_input.read_to_run(request.experiment_config, request.sweep_format)
    if request.jobs.group:
        group_names.check(request.jobs.group)
    # The GPUs are those of the nodes: this machine may have none, or others.
    asked = evolve(request.launch, gpu_wanted=False, gpus=None, gpu_elsewhere=slurm_options.wants_gpus(options))
    prepared = launch.prepare(asked, here=False)
    if not (asked.image_id or request.args):
        launch.check_starts(prepared.planned, asked.module)
    return SlurmRun(
        request=request, options=options, sweep=sweep, launch=prepared, given=asked_for, cluster=client.cluster().name
    )


# --- new jobs ---


def run(request: RunRequest, wanted: SlurmRequest) -> str:
    """Build the image, make the file for the nodes, submit the jobs, and return their group.

    A submission that the same command has begun, and that was killed, goes on. Raises OcicalibanError if the build or
    Slurm fails.
    """
    from ocicaliban.app import cloud_unfinished as unfinished
    from ocicaliban.history import access

    ready = prepare(request, wanted)
    first = Job(id=0, key="0" * 12, submission=ready.submission(Image(id="", digest="", key=""), "group"))
    require(BACKEND, Request(job=first))
    BACKEND.connect(first.submission).check()
    image = ready.launch.image()
    ready.launch.record_built()
    image_store.mark_used(image.id)
    made = provenance.with_git(ready.submission(image, request.jobs.group))
    _make_file(made, image)
    total = count(ready.sweep)
    with access.open(reporter=TERMINAL) as history:
        begun = unfinished.find_interrupted(history, made, total, lambda: specs(ready.sweep, request.args))
        if begun:
            TERMINAL.say(f"{begun.group}: this command was interrupted before, and goes on")
            reconcile.catch_up(history, TERMINAL, group=begun.group)
            _give(begun, _line(ready.given.env))
            return _send(history, begun, BACKEND, begun=True, wait=wanted.wait)
        group = request.jobs.group or group_names.new(place.project_root())
        made_from = _origin(ready.launch, ready.sweep)
        submission = history.submit(evolve(made, group=group), specs(ready.sweep, request.args), made_from)
        _give(submission, _line(ready.given.env))
        TERMINAL.say(f"{group}: {submissions.numbered(total)} to Slurm")
        job_checks.warn_of_out(ready.launch, request.jobs)
        return _send(history, submission, BACKEND, wait=wanted.wait)


def _make_file(submission: Submission, image: Image) -> None:
    image_file.make(shared.images(submission), image, backend.file_form(submission))


def _origin(prepared: PreparedLaunch, sweep: Sweep | None = None) -> Origin:
    return evolve(origin.of_launch(prepared, sweep), machine=Machine())  # the jobs run on others than this one


# The history has no values of variables, which may be secret. So they are in a file that the nodes see.


def _line(env: Mapping[str, str]) -> str:
    return arrays.given_line(env.items()) if env else ""


def _give(submission: Submission, line: str) -> None:
    if line:
        shared.give(submission, line)


def _given_again(old: Submission) -> str:
    """Return the line with the variables of a submission, of which those that no file has are our environment's.

    Raises UsageError if one of them is not set.
    """
    path = shared.given_file(old)
    if path.exists():
        return path.read_text(encoding="utf-8").rstrip("\n")
    return _line(given.read(_podman_args(old), os.environ).env)


def _podman_args(submission: Submission) -> str:
    return str(submission.options.get("podman_args") or "")


def dry_run_script(request: RunRequest, wanted: SlurmRequest) -> Iterator[str]:
    """Yield the lines of the script that `run` would submit; more than one if the jobs do not fit into one array."""
    from ocicaliban.app import slurm_dry_run

    yield from slurm_dry_run.lines(prepare(request, wanted))


# --- jobs that are left, and jobs that run again ---


def resume(history: History, submission: Submission, batch: BatchBackend) -> str:
    """Submit the jobs of a submission that are left, and return its group. Raises UsageError if its image is gone."""
    option_records.recorded(submission)
    clusters.checked(submission)
    _give(submission, _given_again(submission))
    batch.connect(submission).check()
    return _send(history, submission, batch, begun=True)


def resubmit(history: History, jobs: list[Job], batch: BatchBackend, *, rebuild: bool) -> str:
    """Submit jobs of one submission again, and return their group.

    With `rebuild` their image is one of the project as it is now. Raises UsageError if their image is gone, or another
    process has taken the jobs.
    """
    old = jobs[0].submission
    request, asked = records.requested(old, LaunchRequest, JobsRequest)
    options = option_records.recorded(old)
    if not rebuild:  # which is for this cluster
        clusters.checked(old)
    variables = _given_again(old)
    batch.connect(old).check()
    with lease.held(old):
        if rebuild:
            submissions.enter_project(old)
            prepared = launch.prepare(evolve(request, image_id=""), here=False)
            image = prepared.image()
            prepared.record_built()
            made = prepared.submission(image, old.group, asked)
            places = given.read(_podman_args(old), None)
            new = provenance.with_git(slurm_options.submission(made, options, places, client.cluster().name))
            _make_file(new, image)
            made_from = _origin(prepared)
        else:
            backend.image_of(old)
            new = submissions.ours(old)
            made_from = None
        submission = submissions.resubmitted(history, new, jobs, made_from)
        _give(submission, variables)
    return _send(history, submission, batch)


# --- submitting ---


def _send(
    history: History, submission: Submission, batch: BatchBackend, *, begun: bool = False, wait: bool = False
) -> str:
    """Submit the queued jobs of a submission, and return its group.

    `begun` says that another process was submitting them, and may have been killed. With `wait`, jobs that the user's
    limit does not let in are tried again until all are submitted.
    """
    group = submission.group
    queued = history.counts(submission=submission.id)["queued"]
    with TERMINAL.counting(f"{group}: submitted", queued) as count_one:

        def accepted(job: Job, name: str) -> None:
            count_one()
            if queued == 1:
                TERMINAL.say(f"job {job.id}: {name} at Slurm")

        try:
            batch.submit(history, submission, accepted, TERMINAL, settle=begun)
            while wait and history.counts(submission=submission.id)["queued"]:
                time.sleep(_PAUSE)
                try:
                    batch.submit(history, submission, accepted, TERMINAL)
                except (Refused, UsageError):
                    raise
                except OcicalibanError as fault:  # in the hours that this may take, Slurm may be down for some time
                    TERMINAL.note(f"{fault.message}; trying again in {_PAUSE:g} seconds")
        except Refused as fault:
            jobs = history.jobs(submission=submission.id)
            if begun or any(job.status != "queued" for job in jobs):
                raise
            history.stop_queued(job.id for job in jobs)
            hint = f"{fault.hint}; to try the same again: ocicaliban resubmit --group {group}"
            raise Refused(f"{fault.message}\nno job of {group} was submitted", hint) from fault
        except BaseException:
            if left := history.counts(submission=submission.id)["queued"]:
                TERMINAL.say(
                    f"{group}: {submissions.numbered(left)} of {queued} wait:"
                    f" ocicaliban resume {group}, or stop --group {group}"
                )
            raise
    TERMINAL.say(f"  to see them: ocicaliban status --group {group}")
    return group
