"""Run the project: one job at the terminal, or a job for each point of a sweep."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from attrs import fields, frozen

from ocicaliban.app import launch
from ocicaliban.app.launch import PreparedLaunch, Start
from ocicaliban.app.requests import JobsRequest, RunRequest, SearchRequest, SlurmRequest
from ocicaliban.errors import UsageError
from ocicaliban.jobs import provenance
from ocicaliban.model.image import Image
from ocicaliban.project import entry_point

if TYPE_CHECKING:
    from ocicaliban.jobs.expansion import Sweep

# What only some runs need is imported there: nothing may come between a user and a run that has changed little.


@frozen(kw_only=True)
class _PreparedRun:
    """A run that is ready to start: the plan, the sweep if there is one, and how each container starts."""

    launch: PreparedLaunch
    sweep: Sweep | None
    start: Start


def run(request: RunRequest, argv: list[str], submitted: Callable[[int], object] = lambda _: None) -> int:
    """Build what is missing of the image, run the job or the jobs, and return the exit code.

    `argv` is the whole command line, which `replay` may run again. `submitted` gets the number of the submission, if
    its jobs have theirs before they start. Raises OcicalibanError if the run cannot start.
    """
    prepared = _prepare(request)
    if prepared.sweep:
        from ocicaliban.app import local_jobs

        return local_jobs.run_sweep(prepared.launch, prepared.sweep, request, submitted)
    from ocicaliban.app import run_one

    with_git = provenance.asking_git(prepared.launch.planned.project.root)  # git looks while the folders are made
    made, image = prepared.launch.made_here()
    if request.jobs.needs_number or entry_point.is_notebook(request.launch.module):  # the executed one is in its /out
        return run_one.numbered(made, image, request.jobs, prepared.start, with_git, submitted)
    return run_one.at_once(made, image, prepared.start, argv, with_git)


def _prepare(request: RunRequest) -> _PreparedRun:
    _check_options(request)
    sweep = None
    if request.experiment_config:
        from ocicaliban.app import sweep_input

        searched = request.search != SearchRequest()
        sweep = sweep_input.read_to_run(request.experiment_config, request.sweep_format, searched=searched)
    asked = request.launch
    if not asked.module and not asked.image_id and asked.mode == "run":
        raise UsageError("run needs a MODULE, or --image-id", "ocicaliban run train.py -- --lr 0.1")
    limits: tuple[str, ...] = ()
    if sweep or request.jobs != JobsRequest() or entry_point.is_notebook(asked.module):
        from ocicaliban.app import job_checks

        job_checks.check(asked, request.jobs, sweep=sweep is not None or entry_point.is_notebook(asked.module))
        limits = job_checks.resource_options(request.jobs)
    prepared = launch.prepare(asked)
    if sweep:
        job_checks.slots(prepared.devices, request.jobs)  # a wrong number is told before anything is built
    if not (asked.image_id or request.args):
        launch.check_starts(prepared.planned, asked.module)
    asked = prepared.request
    root = prepared.planned.project.root
    entrypoint = entry_point.entry_command(root, asked.module, asked.folder) if asked.image_id else ()
    start = Start(args=request.args, extra=limits, entrypoint=entrypoint)
    return _PreparedRun(launch=prepared, sweep=sweep, start=start)


def _check_options(request: RunRequest) -> None:
    """Raise UsageError for an option that only a sweep has, if there is no sweep, or for those of a wrong search."""
    if request.search != SearchRequest():
        from ocicaliban.app import search

        search.check(request.search, request.experiment_config)
    if request.experiment_config:
        return
    jobs = request.jobs
    for option, given in (
        ("--jobs", jobs.jobs is not None),
        ("--gpus-per-job", jobs.gpus_per_job is not None),
        ("--fail-fast", jobs.fail_fast),
        ("--retries", jobs.retries != 0),
    ):
        if given:
            raise UsageError(f"{option} needs a sweep", "give a sweep file: --experiment-config sweep.json")


def is_elsewhere(target: str, wanted: SlurmRequest) -> bool:
    """Return whether jobs for this target run on other machines. Raises UsageError for options that it has not."""
    from ocicaliban.targets import registry

    if target not in ("", registry.THIS_MACHINE):
        return True
    if wanted != SlurmRequest():
        given = next(each.name for each in fields(SlurmRequest) if getattr(wanted, each.name) != each.default)
        raise UsageError(f"--{given.replace('_', '-')} is for jobs at Slurm", "add --target slurm")
    return False


def run_elsewhere(target: str, request: RunRequest, wanted: SlurmRequest) -> str:
    """Submit the jobs to a backend that schedules them itself, and return their group. Raises OcicalibanError."""
    from ocicaliban.app import submissions

    _require_points(request)
    return submissions.jobs_of_run(target).run(request, wanted)


def script_elsewhere(target: str, request: RunRequest, wanted: SlurmRequest) -> Iterator[str]:
    """Yield the lines of what `run_elsewhere` would submit. Raises OcicalibanError if it could not."""
    from ocicaliban.app import submissions

    _require_points(request)
    yield from submissions.jobs_of_run(target).dry_run_script(request, wanted)


def _require_points(request: RunRequest) -> None:
    """Raise UsageError for a search, whose jobs only this machine runs."""
    if request.search != SearchRequest():
        raise UsageError("a search runs on this machine only", "leave --target out")


def dry_run_script(request: RunRequest) -> Iterator[str]:
    """Yield the lines of a shell script that does what `run` would do, except for the history.

    The jobs of a sweep come one after the other. Raises OcicalibanError if the run could not start.
    """
    from ocicaliban.app import consent, plan
    from ocicaliban.build import plan_view
    from ocicaliban.containers import cgroups

    prepared = _prepare(request)
    ready = prepared.launch
    for line in plan_view.stack_lines(ready.planned.plan, plan.stock(ready.planned)):
        yield f"# {line}"
    for line in consent.lines(ready.planned):
        yield f"# {line}"
    if ready.request.image_id:
        image = Image(id=ready.request.image_id, digest="", key="")
    else:
        # If the build fails, `podman run` would complain about an image without a name.
        yield f"image=$({shlex.join(_build_command(ready))}) || exit"
        image = Image(id='"$image"', digest="", key="")
    every: Iterable[tuple[str, ...]] = (request.args,)
    if prepared.sweep and request.search != SearchRequest():
        from ocicaliban.app import search

        lines, every = search.dry_run(prepared.sweep, request, ready.planned.project.root)
        yield from lines
    elif prepared.sweep:
        from ocicaliban.jobs import expansion

        every = (spec.args for spec in expansion.specs(prepared.sweep, request.args))
    for number, args in enumerate(every):
        start = Start(args=args, extra=prepared.start.extra, entrypoint=prepared.start.entrypoint)
        command = ready.command(image, start)
        if not number:
            yield from command.script.splitlines()
        raw = {*command.options[1:], *(() if ready.request.image_id else (image.id,))}
        yield " ".join(word if word in raw else shlex.quote(word) for word in cgroups.in_cgroup2(command.argv))


def _build_command(ready: PreparedLaunch) -> tuple[str, ...]:
    """Return the command line of ocicaliban that builds the image of a run."""
    asked = ready.request
    gpus = ",".join(device.qualified for device in ready.devices)
    return (
        *("ocicaliban", "build", "--mode", asked.mode),
        *(("--gpus", gpus) if gpus else ("--nogpu",)),
        *(word for extra in asked.extras for word in ("--extras", extra)),
        *(word for group in asked.with_groups for word in ("--with-group", group)),
        *(word for folder in asked.dirs for word in ("--dir", folder)),
        *(word for file in asked.allow_secrets for word in ("--allow-secret", file)),
        *(flag for flag, wanted in (("--mount", asked.mount), ("--no-cache", asked.no_cache)) if wanted),
        *((asked.module,) if asked.module else ()),
    )
