"""Run the jobs of a sweep on this machine, take them up after an interruption, or run them again."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from ocicaliban.app import job_checks, launch, origin, search, submissions
from ocicaliban.app.launch import PreparedLaunch
from ocicaliban.app.requests import JobsRequest, LaunchRequest, RunRequest, SearchRequest
from ocicaliban.build import folder_store
from ocicaliban.containers import image_store
from ocicaliban.errors import UsageError
from ocicaliban.execution import reconcile, runner, scheduler
from ocicaliban.gpu import cdi, selection
from ocicaliban.jobs import group_names, provenance, records
from ocicaliban.jobs.origin import Origin
from ocicaliban.model.job import Job, JobSpec, Submission
from ocicaliban.reporter import TERMINAL
from ocicaliban.targets.local import runner as local

if TYPE_CHECKING:
    from ocicaliban.history.access import History
    from ocicaliban.jobs.expansion import Sweep

_OF_SETTINGS = (provenance.RUN_OPTIONS, "caches")
"""The options of a submission that the tables `run` of the settings decide."""


@frozen(kw_only=True)
class LocalSubmission:
    """A submission with what its jobs need to run here: how they go, their slots and GPUs, the options for podman."""

    submission: Submission
    jobs: JobsRequest
    slots: tuple[scheduler.Slot, ...]
    devices: tuple[cdi.Device, ...]
    given: tuple[str, ...]
    share_gpus: bool = False
    caches: bool = False
    made_from: Origin | None = None


# --- a new sweep ---


def run_sweep(
    prepared: PreparedLaunch, sweep: Sweep, request: RunRequest, submitted: Callable[[int], object] = lambda _: None
) -> int:
    """Run a job for each point of a sweep, or for each trial of a search in it, and return the exit code.

    `submitted` gets the number of their submission.
    """
    from ocicaliban.history import access

    jobs = request.jobs
    group = jobs.group or group_names.new(prepared.planned.project.root)
    with access.open(reporter=TERMINAL) as history:
        reconcile.take_journal(history)  # runs that began before get lower numbers
        specs, count, kept = _jobs_of(history, sweep, request, group)
        slots = job_checks.slots(prepared.devices, jobs)[:count]
        prepared, image = prepared.made_here()
        prepared.record_built()
        new = provenance.with_git(prepared.submission(image, group, jobs))
        TERMINAL.say(prepared.summary)
        TERMINAL.say(f"{group}: {submissions.numbered(count)}, {min(len(slots), count)} at a time")
        job_checks.warn_of_out(prepared, jobs)
        made_from = origin.of_launch(prepared, sweep)
        submission = history.submit(evolve(new, options={**new.options, **kept}), specs, made_from)
        submitted(submission.id)
        whole = LocalSubmission(
            submission=submission,
            jobs=jobs,
            slots=slots,
            devices=prepared.devices,
            given=prepared.given,
            share_gpus=prepared.request.share_gpus,
            caches=prepared.request.caches,
        )
        return carry_out(history, whole, runner.run)


def _jobs_of(
    history: History, sweep: Sweep, request: RunRequest, group: str
) -> tuple[Iterable[JobSpec], int, dict[str, object]]:
    """Return the jobs of a sweep, their number, and what the history keeps beside the options of `run`."""
    if request.search != SearchRequest():
        return search.jobs_of(history, sweep, request, group)
    from ocicaliban.jobs import expansion

    return expansion.specs(sweep, request.args), expansion.count(sweep), {}


def carry_out(history: History, whole: LocalSubmission, how: Callable[..., runner.Outcome], *, earlier: int = 0) -> int:
    """Run jobs by `how`, show them, and return the exit code; `earlier` jobs have failed or been stopped before."""
    from ocicaliban.containers import podman_api
    from ocicaliban.execution import progress

    submission, jobs = whole.submission, whole.jobs
    setup = local.Setup(
        image=submission.image,
        launch=submission.launch,
        resources=job_checks.resources(jobs),
        given=whole.given,
        log_limit=job_checks.log_limit(submission),
        caches=whole.caches,
    )
    options = runner.Options(
        places=whole.slots,
        gpus=whole.devices,
        share_gpus=whole.share_gpus,
        retries=jobs.retries,
        fail_fast=jobs.fail_fast,
        out=jobs.out,
        points=search.points(history, submission),
    )
    with (
        podman_api.connected(submission.image) as service,
        progress.Progress(places=len(whole.slots)) as show,
    ):
        connect = functools.partial(local.LocalRunner, service, setup)
        outcome = how(history, submission, connect, options, show)
    if options.points and (note := options.points.note()):
        TERMINAL.say(note)
    TERMINAL.say("\n".join(progress.summary(submission.group, outcome, show.failed, earlier)))
    if show.failed:
        from ocicaliban.app import failure

        failure.explain_all(history.jobs(ids=show.failed))
    return outcome.exit_code


# --- what is left ---


def resume(history: History, submission: Submission) -> int:
    """Run the jobs of a submission that have not ended, and return the exit code.

    Raises UsageError if its image is gone.
    """
    request, jobs = _recorded(submission)
    devices = _gpus(submission, request)
    _check_image(submission, waiting=True)
    counts = history.counts(submission=submission.id)
    left = submissions.unfinished(counts)
    TERMINAL.say(f"{submission.group}: {submissions.numbered(left)} left")
    whole = LocalSubmission(
        submission=submission,
        jobs=jobs,
        slots=job_checks.slots(devices, jobs),
        devices=devices,
        given=launch.podman_options(request, launch.recorded_settings(submission)),
        share_gpus=request.share_gpus,
        caches=request.caches,
    )
    return carry_out(history, whole, runner.resume, earlier=submissions.unwell(history, submission=submission.id))


# --- jobs that run again ---


def renew(old: Submission, *, rebuild: bool) -> LocalSubmission:
    """Return a submission in which jobs of an old one run again: with its image, or a new one if `rebuild`.

    Raises OcicalibanError if that image or the project is gone.
    """
    request, jobs = _recorded(old)
    options = {name: value for name, value in old.options.items() if name != provenance.ALONE}
    given = launch.podman_options(request, () if rebuild else launch.recorded_settings(old))
    job_checks.check_podman_options(given)
    made_from = None
    if rebuild:
        if reference := old.options.get(provenance.REPRODUCES):
            raise UsageError(
                f"{old.group} reproduces {reference}, and has no project to build", f"ocicaliban reproduce {reference}"
            )
        submissions.enter_project(old)
        # What the settings said then does not count any more.
        options = {name: value for name, value in options.items() if name not in _OF_SETTINGS}
        prepared = launch.prepare(evolve(request, image_id="", caches=True))
        prepared, image = prepared.made_here()
        prepared.record_built()
        devices, given, request = prepared.devices, prepared.given, prepared.request
        made_from = origin.of_launch(prepared)
        made = prepared.submission(image, old.group, jobs)
        options |= {name: made.options[name] for name in _OF_SETTINGS if name in made.options}
        submission = provenance.with_git(evolve(made, options=options))
    else:
        _check_image(old)
        devices = _gpus(old, request)
        submission = evolve(submissions.ours(old), options=options)
    return LocalSubmission(
        submission=submission,
        jobs=jobs,
        slots=job_checks.slots(devices, jobs),
        devices=devices,
        given=given,
        share_gpus=request.share_gpus,
        caches=request.caches,
        made_from=made_from,
    )


def run_again(history: History, renewed: LocalSubmission, jobs: list[Job]) -> int:
    """Run these jobs again and return the exit code. Raises UsageError if another process has taken them."""
    submission = submissions.resubmitted(history, renewed.submission, jobs, renewed.made_from)
    return carry_out(history, evolve(renewed, submission=submission), runner.run)


# --- what the history tells ---


def _recorded(submission: Submission) -> tuple[LaunchRequest, JobsRequest]:
    """Return what `run` was asked for. Raises UsageError if another version wrote it in another form."""
    return records.requested(submission, LaunchRequest, JobsRequest)


def _gpus(submission: Submission, request: LaunchRequest) -> tuple[cdi.Device, ...]:
    """Return the GPUs for a submission's jobs, none if they use none."""
    if not submission.launch.devices:
        return ()
    return selection.choose_gpus(request.gpu_wanted, request.gpus, TERMINAL)


def _check_image(submission: Submission, *, waiting: bool = False) -> None:
    """Raise UsageError if the image or the files of its folders are gone. `waiting` says that jobs wait for them."""
    if submission.image not in {image.id for image in image_store.images()}:
        hint = submissions.rebuild_hint(submission.group, waiting=waiting)
        raise UsageError(f"the image {submission.image[:12]} of {submission.group} does not exist any more", hint)
    if folder_store.missing(submission.launch.mounts):
        hint = submissions.rebuild_hint(submission.group, waiting=waiting)
        raise UsageError(f"the files of {submission.group}, which its jobs mount, do not exist any more", hint)
