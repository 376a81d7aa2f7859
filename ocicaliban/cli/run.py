"""The command run. What it works with is imported where it runs: completion and help need none."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ocicaliban.app.images import state
from ocicaliban.cli.options import CloudKey, Debug, Dirs, Extras, Gpu, Gpus, ImageId, Module, Mount, NoCache, PodmanArgs
from ocicaliban.reporter import TERMINAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ocicaliban.app.launch import Ready
    from ocicaliban.jobs.expansion import Sweep
    from ocicaliban.model.image import Image


def run(
    context: typer.Context,
    module: Module = "",
    mode: Annotated[str, typer.Option("--mode", help="Which mode's recipes to build and run.")] = "run",
    image_id: ImageId = "",
    podman_args: PodmanArgs = "",
    mount: Mount = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done.")] = False,
    no_cache: NoCache = False,
    gpu_wanted: Gpu = None,
    gpus: Gpus = None,
    extras: Extras = None,
    dirs: Dirs = None,
    cloud_key: CloudKey = "",
    experiment_config: Annotated[
        str, typer.Option("--experiment-config", metavar="FILE|stdin", help="A sweep file: run a job for each point.")
    ] = "",
    group: Annotated[
        str, typer.Option("-g", "--group", "--xgroup", help="The group of the jobs (default: a new one).")
    ] = "",
    jobs: Annotated[
        int | None, typer.Option("-j", "--jobs", help="How many at a time (default: one per GPU, else one).")
    ] = None,
    gpus_per_job: Annotated[int | None, typer.Option("--gpus-per-job", help="GPUs that each job has alone.")] = None,
    cpus: Annotated[float | None, typer.Option("--cpus", help="Processor cores for each job, at most.")] = None,
    memory: Annotated[str, typer.Option("--memory", help="Memory for each job, at most: 8g, 500m.")] = "",
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="End the sweep when a job fails.")] = False,
    retries: Annotated[int, typer.Option("--retries", help="How often a job that fails is tried again.")] = 0,
    out: Annotated[
        str, typer.Option("-o", "--out", metavar="DIR", help="Where each job gets a folder, which it sees as /out.")
    ] = "",
    debug: Debug = False,
) -> None:
    """Build what is missing of the image and run MODULE in it; arguments after -- go to the script.

    With a sweep file there is a job for each of its points, which go on after a crash by `ocicaliban resume`.
    """
    from ocicaliban.app import launch
    from ocicaliban.app.launch import Recorded
    from ocicaliban.errors import UsageError
    from ocicaliban.project import entry_point

    if not experiment_config:
        for option, given in (
            ("--jobs", jobs is not None),
            ("--gpus-per-job", gpus_per_job is not None),
            ("--fail-fast", fail_fast),
            ("--retries", retries),
        ):
            if given:
                raise UsageError(f"{option} is for many jobs", "give a sweep file: --experiment-config sweep.json")
    points = None
    if experiment_config:
        from ocicaliban.app.sweep_input import read

        points = read(experiment_config)
    if not module and not image_id and mode == "run":
        raise UsageError("run needs a MODULE, or --image-id", "ocicaliban run train.py -- --lr 0.1")
    asked = launch.Asked(
        mode=mode,
        module=module,
        image_id=image_id,
        podman_args=podman_args,
        mount=mount,
        dry_run=dry_run,
        no_cache=no_cache,
        gpu_wanted=gpu_wanted,
        gpus=gpus,
        extras=tuple(extras or ()),
        dirs=tuple(dirs or ()),
        cloud_key=cloud_key,
    )
    recorded = Recorded(
        group=group,
        jobs=jobs,
        gpus_per_job=gpus_per_job,
        cpus=cpus,
        memory=memory,
        fail_fast=fail_fast,
        retries=retries,
        out=os.path.abspath(os.path.expanduser(out)) if out else "",  # a shell leaves --out=~/results as it is
    )
    if points or recorded != Recorded():
        from ocicaliban.app import local_jobs

        local_jobs.check(recorded, asked, many=points is not None)
    ready = launch.ready(asked)
    if points:
        local_jobs.places(ready.devices, recorded)  # a wrong number is told before anything is built
    args = context.obj.script
    if not (image_id or args):
        launch.check_starts(ready.planned, module)
    entrypoint = entry_point.entry_command(Path.cwd(), module) if image_id else ()
    limits = local_jobs.limit_options(recorded) if recorded.limited else ()
    if dry_run:
        for line in _dry_run(ready, args, entrypoint, limits, points):
            print(line)
        return
    if points:
        raise typer.Exit(local_jobs.run(ready, points, recorded, args))
    image = ready.image()
    if recorded.numbered:
        raise typer.Exit(local_jobs.run_numbered(ready, image, recorded, args, entrypoint))
    raise typer.Exit(_run(ready, image, args, entrypoint, limits, context.obj.argv))


def _run(
    ready: Ready,
    image: Image,
    args: tuple[str, ...],
    entrypoint: tuple[str, ...],
    limits: tuple[str, ...],
    argv: list[str],
) -> int:
    """Run one job at our terminal; returns its exit code.

    What the history shall know is left in a file (see `spool`), and made when podman is under way: nothing may come
    between a user and a run of which nothing has changed.
    """
    from ocicaliban.app import launch
    from ocicaliban.containers import podman
    from ocicaliban.jobs import records, run_journal

    command = ready.command(image, args, extra=limits, entrypoint=entrypoint, labelled=True)
    TERMINAL.say(ready.said)
    told: dict[str, object] = {}

    def value() -> dict[str, object]:
        # Its group is named when it gets its number.
        made = ready.submission(image, "", launch.Recorded(), alone=True)
        told["submission"] = records.submission_to_record(made)
        return told | {"args": list(args), "handle": command.name}

    return run_journal.recorded(
        command.key,
        value,
        lambda meanwhile: podman.run(command.argv, command.name, meanwhile),
        lambda: ready.keep(argv, image, command, told),
    )


def _dry_run(
    ready: Ready,
    args: tuple[str, ...],
    entrypoint: tuple[str, ...],
    limits: tuple[str, ...],
    points: Sweep | None,
) -> Iterator[str]:
    """The lines of a script that does what `run` would do, but for the history: of a sweep one job after the other."""
    from ocicaliban.build import plan_view
    from ocicaliban.containers import cgroups
    from ocicaliban.model.image import Image

    asked = ready.asked
    for line in plan_view.stack_lines(ready.planned.plan, *state(ready.planned)):
        yield f"# {line}"
    if asked.image_id:
        image = Image(id=asked.image_id, digest="", key="")
    else:
        words = ["ocicaliban", "build", "--mode", asked.mode]
        words += ["--gpus", ",".join(device.qualified for device in ready.devices)] if ready.devices else ["--nogpu"]
        words += [word for extra in asked.extras for word in ("--extras", extra)]
        words += [word for folder in asked.dirs for word in ("--dir", folder)]
        words += [flag for flag, wanted in (("--mount", asked.mount), ("--no-cache", asked.no_cache)) if wanted]
        words += [asked.module] if asked.module else []
        # A failing build in podman's own words would leave it without an image there.
        yield f"image=$({shlex.join(words)}) || exit"
        image = Image(id='"$image"', digest="", key="")
    every: Iterable[tuple[str, ...]] = (args,)
    if points:
        from ocicaliban.jobs import expansion

        every = (spec.args for spec in expansion.specs(points, args))
    for number, each in enumerate(every):
        command = ready.command(image, each, extra=limits, entrypoint=entrypoint)
        if not number:
            yield from command.script.splitlines()
        raw = {*command.options[1:], *(() if asked.image_id else (image.id,))}
        yield " ".join(word if word in raw else shlex.quote(word) for word in cgroups.in_cgroup2(command.argv))
