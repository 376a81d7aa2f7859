"""Run one job at the user's terminal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve

from ocicaliban.app import gpu_leases
from ocicaliban.app.launch import PreparedLaunch, Start
from ocicaliban.app.requests import JobsRequest
from ocicaliban.containers import podman
from ocicaliban.errors import of_system
from ocicaliban.jobs import group_names, records, run_journal, single_run
from ocicaliban.model.image import Image
from ocicaliban.model.job import Job, Submission
from ocicaliban.reporter import TERMINAL
from ocicaliban.system import files
from ocicaliban.targets.local import container_spec

if TYPE_CHECKING:
    from ocicaliban.model.job import Status


def at_once(
    launch: PreparedLaunch, image: Image, start: Start, argv: list[str], with_git: Callable[[Submission], Submission]
) -> int:
    """Run one job and return its exit code. `argv` is the whole command line, which `replay` may run again.

    `with_git` adds the commit to a submission (see `provenance.asking_git`).

    What the history must know is left in a file (see `run_journal`), and written while the container starts: nothing
    may delay a run whose project has not changed.
    """
    root = launch.planned.project.root
    made = with_git(launch.submission(image, group_names.of_single_runs(root), JobsRequest(), alone=True))
    job = Job(id=0, key=podman.new_key(), submission=made, args=start.args)
    place = _place(job)
    # Who mounts something at /out has the results there.
    out = str(place.out) if place and not container_spec.has_own_out(made.launch, launch.given) else ""
    port = single_run.free_port()
    options = container_spec.job_options(evolve(job, out=out), port=port)
    command = launch.command(
        image, evolve(start, key=job.key, log=str(place.log) if place else "", extra=(*options, *start.extra))
    )
    record: dict[str, Any] = {
        "submission": records.submission_to_record(made),
        "args": list(start.args),
        "handle": command.name,
    }
    where = {"out": out, "log": str(place.log)} if place else {}
    with gpu_leases.alone(launch) as leases:
        TERMINAL.say(launch.summary)
        code = run_journal.recorded(
            job.key,
            lambda: record | where,
            lambda meanwhile: podman.run(command.argv, command.name, meanwhile),
            lambda: launch.remember(argv, image, command, record if out else None, leases.units, port),
        )
    if place and out and (line := single_run.results(place.out)):
        TERMINAL.say(line)
    if place and code:
        explain(place, code, record["submission"])
    return code


def _place(job: Job) -> single_run.Place | None:
    """Make the folder of a single run; None, with a warning, if that fails: it may run all the same."""
    try:
        return single_run.make(job.submission.group, job.key)
    except OSError as fault:
        TERMINAL.warning(f"this run keeps no log and has no /out: {of_system(fault).message}")
        return None


def explain(place: single_run.Place, code: int, submission: Mapping[str, object]) -> None:
    """Explain the failure of a run, given its submission's record."""
    from ocicaliban.app import failure

    failure.explain(failure.of_record(submission), place.log, code)


def numbered(
    launch: PreparedLaunch,
    image: Image,
    jobs: JobsRequest,
    start: Start,
    with_git: Callable[[Submission], Submission],
    submitted: Callable[[int], object],
) -> int:
    """Run one job that has its number before it starts, as a folder of results or a group needs it.

    `submitted` gets the number of its submission. Return its exit code.
    """
    from ocicaliban.app import job_checks
    from ocicaliban.execution import reconcile, runner
    from ocicaliban.history import access
    from ocicaliban.jobs import lease, lifecycle, log_file
    from ocicaliban.model.job import JobSpec

    with gpu_leases.alone(launch), access.open(reporter=TERMINAL) as history:
        reconcile.take_journal(history)  # runs that began before get lower numbers
        group = jobs.group or group_names.of_single_runs(launch.planned.project.root)
        new = with_git(launch.submission(image, group, jobs, alone=True))
        submission = history.submit(new, [JobSpec(args=start.args)])
        submitted(submission.id)
        with lease.held(submission):
            [job] = history.jobs(submission=submission.id)
            out, logs = runner.results(job, jobs.out), runner.folder(job)
            attempt = history.begin(
                job.id, log=lambda number: str(logs / f"attempt-{number}.log"), out=str(out), started=time.time()
            )
            assert attempt is not None  # no other process knows the job yet
            for folder in (out, logs):
                files.make_folder(folder)
            options = container_spec.terminal_options(
                evolve(job, out=str(out)), attempt, launch.devices, port=single_run.free_port()
            )
            command = launch.command(
                image, evolve(start, extra=(*options, *start.extra), name=attempt.handle, log=attempt.log)
            )
            TERMINAL.say(launch.summary)
            TERMINAL.say(f"job {job.id} of {group}; its /out is {out}")
            job_checks.warn_of_out(launch, jobs)
            code = podman.run(command.argv, command.name, launch.record_built)
            reason = lifecycle.why_failed(code)
            status: Status = "failed" if reason else "succeeded"
            with contextlib.suppress(OSError):
                log_file.plain(attempt.log)
            history.end(job.id, attempt.number, status, exit_code=code, reason=reason, ended=time.time())
            if code:
                from ocicaliban.app import failure

                failure.explain(failure.of_submission(submission), Path(attempt.log), code)
            return code
