"""What run, resume and resubmit do with jobs of the history: one at our terminal, or many through podman's service."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from ocicaliban.app import launch
from ocicaliban.app.launch import Asked, Ready, Recorded
from ocicaliban.containers import command_line, image_store, podman, podman_args
from ocicaliban.errors import UsageError, nearest
from ocicaliban.execution import reconcile, scheduler
from ocicaliban.execution import runner as sweep
from ocicaliban.gpu import cdi, selection
from ocicaliban.jobs import group_names, lease, lifecycle, provenance, records, status_table
from ocicaliban.model.image import Image
from ocicaliban.model.job import ENDED, Job, JobSpec, Status, Submission, under_way
from ocicaliban.model.resources import Resources, parse_resources
from ocicaliban.project import ignore_rules
from ocicaliban.reporter import TERMINAL
from ocicaliban.targets import registry
from ocicaliban.targets.backend import BatchBackend, Connection, stopped_unsent
from ocicaliban.targets.local import container_spec, runner

if TYPE_CHECKING:
    from ocicaliban.history.access import History
    from ocicaliban.jobs.expansion import Sweep


def limits(wanted: Recorded) -> Resources:
    """What each job may have at most. Raises UsageError for what is no amount."""
    return parse_resources(wanted.cpus, wanted.memory)


def limit_options(wanted: Recorded) -> tuple[str, ...]:
    """podman's options for the limits."""
    return command_line.resource_options(limits(wanted))


def check(wanted: Recorded, asked: Asked, *, many: bool) -> None:
    """Raise UsageError for what cannot be, or not here, before anything is done; `many` tells that it is a sweep."""
    if wanted.group:
        group_names.check(wanted.group)
    if wanted.retries < 0:
        raise UsageError(f"--retries {wanted.retries}: less than none", "for example --retries 2")
    if many or wanted.numbered:
        _check_given(podman_args.split(asked.podman_args))
    _check_out(wanted.out)
    container_spec.check_resources(limits(wanted), podman.cgroup_controllers)


def _check_out(out: str) -> None:
    """Raise UsageError where no folder of results can be made."""
    if not out:
        return
    there = Path(out)
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise UsageError(f"--out {out}: {there} is not a folder", "name a folder, or one that can be made")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"--out {out}: you cannot write in {there}", "name a folder that you can write in")


def _check_given(given: tuple[str, ...]) -> None:
    """Raise UsageError for options for podman that the target would refuse, when the jobs are on record already."""
    container_spec.check_given(given)
    podman_args.require_values(given, os.environ)


def places(devices: tuple[cdi.Device, ...], wanted: Recorded) -> tuple[scheduler.Slot, ...]:
    """Where the jobs run: so many at a time, on so many GPUs each. Raises UsageError where that cannot be."""
    return scheduler.slots([device.qualified for device in devices], wanted.jobs, wanted.gpus_per_job)


# --- many jobs ---


def run(ready: Ready, points: Sweep, wanted: Recorded, args: tuple[str, ...]) -> int:
    """Run a job for each point of a sweep; returns the exit code."""
    from ocicaliban.history import access
    from ocicaliban.jobs import expansion

    slots = places(ready.devices, wanted)
    with access.open(reporter=TERMINAL) as known:
        image = ready.image()
        if not ready.asked.image_id:
            launch.record_built(ready.planned)
        name = wanted.group or group_names.new(ready.planned.project.root)
        made = provenance.with_git(ready.submission(image, name, wanted))
        TERMINAL.say(ready.said)
        count = expansion.count(points)
        at_once = min(len(slots), count)
        TERMINAL.say(f"{name}: {count} job{'s' if count > 1 else ''}, {at_once} at a time")
        _warn_of_out(ready, wanted)
        made = known.submit(made, expansion.specs(points, args))
        return _carry_out(known, made, slots, ready.devices, ready.given, wanted, sweep.run)


def _warn_of_out(ready: Ready, wanted: Recorded) -> None:
    """Say so where the results would come into the next image."""
    root, out = ready.planned.project.root, Path(os.path.abspath(wanted.out)) if wanted.out else None
    if out is None or not out.is_relative_to(root) or ready.asked.image_id:
        return
    inside = str(out.relative_to(root))
    if inside == "." or ignore_rules.is_source(root, inside):
        TERMINAL.note(
            f"{wanted.out} lies in the project, so that the next image holds these results; put it elsewhere, or "
            f"a line /{'' if inside == '.' else inside} into {ignore_rules.ignore_file_name(root)}"
        )


def _carry_out(
    known: History,
    made: Submission,
    slots: tuple[scheduler.Slot, ...],
    devices: tuple[cdi.Device, ...],
    given: tuple[str, ...],
    wanted: Recorded,
    how: Callable[..., sweep.Outcome],
) -> int:
    from ocicaliban.containers import podman_api
    from ocicaliban.execution import progress

    setup = runner.Setup(image=made.image, launch=made.launch, resources=limits(wanted), given=given)
    options = sweep.Options(
        places=slots, gpus=devices, retries=wanted.retries, fail_fast=wanted.fail_fast, out=wanted.out
    )
    with podman_api.connected(made.image) as podmans, progress.Progress(places=len(slots)) as show:
        outcome = how(known, made, functools.partial(runner.LocalRunner, podmans, setup), options, show)
    TERMINAL.say("\n".join(progress.summary(made.group, outcome, show.failed)))
    return outcome.exit_code


# --- one job, at our terminal ---


def run_numbered(
    ready: Ready, image: Image, wanted: Recorded, args: tuple[str, ...], entrypoint: tuple[str, ...]
) -> int:
    """Run one job at our terminal that has a number from the beginning: a folder of results, or a group, needs one.

    Returns its exit code.
    """
    from ocicaliban.history import access

    with access.open(reporter=TERMINAL) as known:
        name = wanted.group or group_names.new(ready.planned.project.root)
        made = known.submit(
            provenance.with_git(ready.submission(image, name, wanted, alone=True)), [JobSpec(args=args)]
        )
        with lease.held(made):
            [job] = known.jobs(submission=made.id)
            out = sweep.results(job, wanted.out)
            attempt = known.begin(job.id, out=str(out), started=time.time())
            assert attempt is not None  # nobody else knows of it
            out.mkdir(parents=True, exist_ok=True)
            command = ready.command(
                image,
                args,
                extra=(*container_spec.terminal_options(evolve(job, out=str(out)), attempt), *limit_options(wanted)),
                entrypoint=entrypoint,
                name=attempt.handle,
            )
            TERMINAL.say(ready.said)
            TERMINAL.say(f"job {job.id} of {name}; its /out is {out}")
            _warn_of_out(ready, wanted)
            code = podman.run(command.argv, command.name, lambda: launch.record_built(ready.planned))
            reason = lifecycle.why_failed(code)
            status: Status = "failed" if reason else "succeeded"
            known.end(job.id, attempt.number, status, exit_code=code, reason=reason, ended=time.time())
            return code


# --- what is left, and what shall run again ---


def _of_group(known: History, group: str) -> tuple[Submission, ...]:
    """Our submissions of a group. Raises UsageError where there is none."""
    found = known.submissions(group=group, user=provenance.user())
    if not found:
        names = [each.name for each in known.groups(user=provenance.user())]
        raise UsageError(f"there is no group '{group}'", nearest(group, names))
    return found


def _again(made: Submission) -> tuple[Asked, Recorded]:
    """What `run` was told, from the history."""
    return records.requested(made, Asked, Recorded)


def resume(group: str) -> int:
    """Take up what is left of a group; returns the exit code."""
    from ocicaliban.history import access

    with access.open(reporter=TERMINAL) as known:
        reconcile.catch_up(known, group=group)
        left: list[Submission] = []
        elsewhere = False
        for one in _of_group(known, group):
            counts = known.counts(submission=one.id)
            left_over = counts["queued"] + under_way(counts)
            if not left_over:
                continue
            if provenance.alone(one) and under_way(counts):
                elsewhere = True
                TERMINAL.note(f"a job of {group} is run at a terminal of its own")
            elif (batch := registry.batch_backend(one.target)) and not counts["queued"]:
                elsewhere = True
                TERMINAL.note(f"all jobs of {group} are with {batch.title}: ocicaliban status --group {group}")
            elif one.host != provenance.host():
                elsewhere = True
                TERMINAL.note(f"{left_over} jobs of {group} are {one.host}'s: resume them there")
            elif lease.is_held(one, patience=lease.ENDING):
                elsewhere = True
                TERMINAL.note(f"another ocicaliban runs {left_over} jobs of {group}")
            else:
                left.append(one)
        if not left and not elsewhere:
            TERMINAL.say(f"{group}: nothing is left to be done")
            counts = known.counts(group)
            if unwell := counts["failed"] + counts["stopped"] + counts["lost"]:
                which = "failed or was stopped" if unwell == 1 else "failed or were stopped"
                TERMINAL.say(f"  {unwell} {which}; to run again: ocicaliban resubmit --group {group}")
        codes = [_resumed(known, one) for one in left]
        return next((code for code in codes if code), 0)


def _resumed(known: History, made: Submission) -> int:
    if batch := registry.batch_backend(made.target):
        return _resumed_in_cloud(known, made, batch)
    asked, wanted = _again(made)
    devices = selection.choose_gpus(asked.gpu_wanted, asked.gpus, TERMINAL) if made.launch.devices else ()
    _check_image(made, waiting=True)
    counts = known.counts(submission=made.id)
    TERMINAL.say(f"{made.group}: {counts['queued'] + under_way(counts)} jobs are left")
    given = (*launch.cloud_key(asked.cloud_key), *podman_args.split(asked.podman_args))
    return _carry_out(known, made, places(devices, wanted), devices, given, wanted, sweep.resume)


def _resumed_in_cloud(known: History, made: Submission, batch: BatchBackend) -> int:
    from ocicaliban.app import cloud_jobs

    asked, _ = cloud_jobs.again(made)
    connection = batch.connect(made)
    connection.check()
    cloud_jobs.check_image(made, asked, waiting=True)
    return cloud_jobs.send(known, made, batch, connection, begun=True)


def _check_image(made: Submission, *, waiting: bool = False) -> None:
    if made.image not in {image.id for image in image_store.images()}:
        hint = launch.rebuilding(made.group, waiting=waiting)
        raise UsageError(f"the image {made.image[:12]} of {made.group} is gone", hint)


def resubmit(group: str, *, all_jobs: bool, rebuild: bool, dry_run: bool) -> int:
    """Run the failed and stopped jobs of a group again, or all; returns the exit code."""
    from ocicaliban.history import access

    wanted: frozenset[Status] = ENDED if all_jobs else ENDED - {"succeeded"}
    with access.open(reporter=TERMINAL) as known:
        reconcile.catch_up(known, group=group)
        _of_group(known, group)
        jobs = known.jobs(group=group, user=provenance.user(), statuses=sorted(wanted))
        if dry_run:
            for job in jobs:
                print(f"{job.id}  {job.status}, would run again: {status_table.typed(job)}")
        if not jobs:
            TERMINAL.say(f"{group}: nothing has {'ended' if all_jobs else 'failed or was stopped'}")
        if dry_run or not jobs:
            return 0
        before: dict[int, list[Job]] = {}
        for job in jobs:
            before.setdefault(job.submission.id, []).append(job)
        far = [
            (some, batch) for some in before.values() if (batch := registry.batch_backend(some[0].submission.target))
        ]
        here = [some for some in before.values() if not registry.batch_backend(some[0].submission.target)]
        # What cannot be here is told before anything goes out.
        plans = [_renewed(some[0].submission, rebuild) for some in here]
        codes = [_resubmitted_to_cloud(known, some[0].submission, some, batch, rebuild) for some, batch in far]
        for (made, devices, given, how), some in zip(plans, here, strict=True):
            made = known.resubmit(made, [job.id for job in some])
            count = known.counts(submission=made.id)["queued"]
            if not count:
                hint = f"ocicaliban status --group {group}"
                raise UsageError(f"another ocicaliban has taken what was left of {group}", hint)
            TERMINAL.say(f"{group}: {count} job{'s' if count > 1 else ''} again")
            codes.append(_carry_out(known, made, places(devices, how), devices, given, how, sweep.run))
        return next((code for code in codes if code), 0)


def _resubmitted_to_cloud(known: History, old: Submission, jobs: list[Job], batch: BatchBackend, rebuild: bool) -> int:
    from ocicaliban.app import cloud_jobs

    asked, options = cloud_jobs.again(old)
    at: Connection
    # While another process still submits, what was stopped may be on its way.
    with lease.held(old):
        if rebuild:
            _enter(old)
            fresh, at, _ = cloud_jobs.prepared(asked, options, jobs[0])
            made = evolve(fresh, group=old.group)
        else:
            at = batch.connect(old)
            at.check()
            cloud_jobs.check_image(old, asked)
            made = evolve(old, id=0, created=0.0, user=provenance.user(), host=provenance.host())
        made = known.resubmit(made, [job.id for job in jobs])
    count = known.counts(submission=made.id)["queued"]
    if not count:
        raise UsageError(
            f"another ocicaliban has taken what was left of {old.group}", f"ocicaliban status --group {old.group}"
        )
    TERMINAL.say(f"{made.group}: {count} job{'s' if count > 1 else ''} again")
    # What was stopped when it was on its way may be there in a moment, and is taken over then.
    return cloud_jobs.send(known, made, batch, at, settle=any(map(stopped_unsent, jobs)))


_Renewed = tuple[Submission, tuple[cdi.Device, ...], tuple[str, ...], Recorded]


def _renewed(old: Submission, rebuild: bool) -> _Renewed:
    """What an old submission's jobs are run again with: its image, or with `rebuild` the project's as it is now.

    Raises OcicalibanError where that image or project is not there any more.
    """
    asked, wanted = _again(old)
    options = {name: value for name, value in old.options.items() if name != provenance.ALONE}
    renewed = evolve(old, id=0, created=0.0, user=provenance.user(), host=provenance.host(), options=options)
    given = (*launch.cloud_key(asked.cloud_key), *podman_args.split(asked.podman_args))
    _check_given(given)
    if not rebuild:
        _check_image(old)
        devices = selection.choose_gpus(asked.gpu_wanted, asked.gpus, TERMINAL) if old.launch.devices else ()
        return renewed, devices, given, wanted
    _enter(old)
    ready = launch.ready(evolve(asked, image_id=""))
    image = ready.image()
    launch.record_built(ready.planned)
    fresh = ready.submission(image, old.group, wanted)
    return provenance.with_git(evolve(fresh, options=options)), ready.devices, given, wanted


def _enter(old: Submission) -> None:
    """Go to the folder of a submission's project. Raises UsageError where it cannot be entered."""
    try:
        os.chdir(old.project)
    except OSError as exc:
        raise UsageError(
            f"the project's folder {old.project} cannot be entered: {exc.strerror}", "is it moved?"
        ) from exc
