"""Run one job at the user's terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import evolve

from ocicaliban.app import gpu_leases
from ocicaliban.app.launch import PreparedLaunch, Start
from ocicaliban.app.requests import JobsRequest
from ocicaliban.containers import podman
from ocicaliban.jobs import records, run_journal
from ocicaliban.model.image import Image
from ocicaliban.reporter import TERMINAL

if TYPE_CHECKING:
    from ocicaliban.model.job import Status


def at_once(launch: PreparedLaunch, image: Image, start: Start, argv: list[str]) -> int:
    """Run one job and return its exit code. `argv` is the whole command line, which `replay` may run again.

    What the history must know is left in a file (see `run_journal`), and written while the container starts: nothing
    may delay a run whose project has not changed.
    """
    command = launch.command(image, evolve(start, labelled=True, logged=True))
    told: dict[str, object] = {}

    def value() -> dict[str, object]:
        # The group gets its name when the job gets its number.
        told["submission"] = records.submission_to_record(launch.submission(image, "", JobsRequest(), alone=True))
        return told | {"args": list(start.args), "handle": command.name}

    with gpu_leases.alone(launch) as leases:
        TERMINAL.say(launch.summary)
        code = run_journal.recorded(
            command.key,
            value,
            lambda meanwhile: podman.run(command.argv, command.name, meanwhile),
            lambda: launch.remember(argv, image, command, told, leases.units),
        )
    submission = told.get("submission")
    after(command.key, code, submission if isinstance(submission, dict) else {})
    return code


def after(key: str, code: int, submission: Mapping[str, object]) -> None:
    """Explain the failure of a run, given its submission's record, and remove its output."""
    if code and submission:
        from ocicaliban.app import failure

        failure.explain(failure.of_record(submission), run_journal.output_log(key), code)
    run_journal.drop_log(key)


def numbered(launch: PreparedLaunch, image: Image, jobs: JobsRequest, start: Start) -> int:
    """Run one job that has its number before it starts, as a folder of results or a group needs it.

    Return its exit code.
    """
    from ocicaliban.app import job_checks
    from ocicaliban.execution import runner
    from ocicaliban.history import access
    from ocicaliban.jobs import group_names, lease, lifecycle, provenance
    from ocicaliban.model.job import JobSpec
    from ocicaliban.targets.local import container_spec

    with gpu_leases.alone(launch), access.open(reporter=TERMINAL) as history:
        group = jobs.group or group_names.new(launch.planned.project.root)
        new = provenance.with_git(launch.submission(image, group, jobs, alone=True))
        submission = history.submit(new, [JobSpec(args=start.args)])
        with lease.held(submission):
            [job] = history.jobs(submission=submission.id)
            out = runner.results(job, jobs.out)
            attempt = history.begin(job.id, out=str(out), started=time.time())
            assert attempt is not None  # no other process knows the job yet
            out.mkdir(parents=True, exist_ok=True)
            options = container_spec.terminal_options(evolve(job, out=str(out)), attempt, launch.devices)
            command = launch.command(
                image, evolve(start, extra=(*options, *start.extra), name=attempt.handle, logged=True)
            )
            TERMINAL.say(launch.summary)
            TERMINAL.say(f"job {job.id} of {group}; its /out is {out}")
            job_checks.warn_of_out(launch, jobs)
            code = podman.run(command.argv, command.name, launch.record_built)
            reason = lifecycle.why_failed(code)
            status: Status = "failed" if reason else "succeeded"
            history.end(job.id, attempt.number, status, exit_code=code, reason=reason, ended=time.time())
            after(command.key, code, records.submission_to_record(submission))
            return code
