"""Run the jobs of a published experiment again, in its image, and compare their metrics with the published ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from ocicaliban.app import build, fetching, job_checks, local_jobs, published, report, submissions
from ocicaliban.app.local_jobs import LocalSubmission
from ocicaliban.app.published import Published
from ocicaliban.app.requests import JobsRequest, LaunchRequest, ReproduceRequest
from ocicaliban.containers import podman
from ocicaliban.errors import UsageError, nearest
from ocicaliban.execution import runner
from ocicaliban.gpu import cdi, selection
from ocicaliban.jobs import group_names, provenance, records
from ocicaliban.model.image import Launch
from ocicaliban.model.job import JobSpec, Submission
from ocicaliban.model.resources import parse_resources
from ocicaliban.publish import comparison
from ocicaliban.publish.comparison import Difference
from ocicaliban.publish.experiment import PublishedJob
from ocicaliban.reporter import TERMINAL
from ocicaliban.reports import objective, values
from ocicaliban.targets import registry as backends
from ocicaliban.targets.local import container_spec

_WHICH = "all, best, 4 (the first four), or numbers: 1,3-5,"
_NUMBER = re.compile(r"\d{1,9}", re.A)
_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.A)


@frozen(kw_only=True)
class Reproduction:
    """What came of it: the group of the new jobs, their exit code, and each metric beside the published one."""

    group: str
    exit_code: int
    rows: tuple[Difference, ...]

    @property
    def agrees(self) -> bool:
        """Whether all jobs succeeded, and all their metrics are near enough."""
        return self.exit_code == 0 and not comparison.disagreeing(self.rows)


def find(request: ReproduceRequest) -> tuple[Published, tuple[PublishedJob, ...]]:
    """Return the experiment of a request, and those of its jobs that are to run.

    Raises UsageError for jobs that it does not have, OcicalibanError if it cannot be read.
    """
    if request.tolerance < 0:
        raise UsageError("--tolerance is below 0", "0.01 accepts a difference of one percent")
    if request.group:
        group_names.check(request.group)
    found = published.read(request.reference, tls_verify=request.tls_verify, key=request.verify_key)
    jobs = chosen(found.jobs, request.jobs, request.goal)
    known = {name for job in jobs for name in job.results}
    for pattern in request.metrics:
        if not any(comparison.matches(name, [pattern]) for name in known):
            raise UsageError(f"--metric '{pattern}': its jobs have no such metric", nearest(pattern, sorted(known)))
    limits = found.experiment.resources
    container_spec.check_resources(parse_resources(limits.cpus or None, limits.memory), podman.cgroup_controllers)
    if unwell := [job for job in jobs if job.status != "succeeded"]:
        TERMINAL.note(f"{submissions.numbered(len(unwell))} of them did not succeed when they were published")
    return found, jobs


def chosen(jobs: Sequence[PublishedJob], which: str, goal: str = "") -> tuple[PublishedJob, ...]:
    """Return the jobs that `which` names (see ReproduceRequest), in their order. Raises UsageError."""
    if not jobs:
        raise UsageError("the experiment has no jobs", "`ocicaliban inspect` shows what it has")
    if which == "all":
        return tuple(jobs)
    if which == "best":
        return (_best(jobs, goal),)
    if _NUMBER.fullmatch(which) and int(which):
        return tuple(jobs[: int(which)])
    known, numbers = {job.number for job in jobs}, set[int]()
    for part in filter(None, which.split(",")):
        match = _RANGE.fullmatch(part.strip())
        if not match:
            raise UsageError(f"--jobs '{which}' names no jobs", _WHICH)
        asked = range(int(match[1]), int(match[2] or match[1]) + 1)
        unknown = next((number for number in asked if number not in known), None)
        if unknown is not None:
            raise UsageError(f"the experiment has no job {unknown}", f"its jobs are 1 to {len(jobs)}")
        numbers.update(asked)
    if not numbers:
        raise UsageError(f"--jobs '{which}' names no jobs", _WHICH)
    return tuple(job for job in jobs if job.number in numbers)


def _best(jobs: Sequence[PublishedJob], goal: str) -> PublishedJob:
    """Return the job with the best value of the goal: a metric, or -METRIC for the lowest value."""
    names = list(dict.fromkeys(name for job in jobs for name in job.results))
    if goal:
        name, lowest = goal.removeprefix("-"), goal.startswith("-")
        if name not in names:
            raise UsageError(f"the experiment has no metric '{name}'", nearest(name, names))
    else:
        guessed = objective.guess((name, name) for name in names)
        if guessed is None:
            raise UsageError("the metrics' names do not tell which job is the best", "name one: --goal accuracy")
        name, lowest = guessed.column, guessed.better == "lowest"
    known = [(value, job) for job in jobs if (value := values.as_number(job.results.get(name))) is not None]
    if not known:
        raise UsageError(f"no job has a number as {name}", "name another metric: --goal NAME")
    return (min if lowest else max)(known, key=lambda each: each[0])[1]


def reproduce(request: ReproduceRequest, found: Published, jobs: tuple[PublishedJob, ...]) -> Reproduction:
    """Fetch the image, run the jobs, and compare what they report with what was published.

    What others publish does not see the caches that our own jobs keep. Raises OcicalibanError if the image cannot be
    fetched, or is not the one of the experiment.
    """
    from ocicaliban.history import access

    build.note_root()
    made = found.experiment
    devices = _gpus(found)
    identity = fetching.image(found, tls_verify=request.tls_verify)
    asked = JobsRequest(
        group=request.group or f"again-{made.group}"[:63].rstrip("-_."),
        jobs=request.at_a_time,
        gpus_per_job=made.resources.gpus or None,
        cpus=made.resources.cpus or None,
        memory=made.resources.memory,
    )
    launch = Launch(
        command=made.command,
        env=made.env,
        workdir=made.workdir,
        devices=tuple(device.qualified for device in devices),
    )
    own = LaunchRequest(mode=made.mode, module=made.module, image_id=identity, caches=False)
    new = Submission(
        group=asked.group,
        user=provenance.user(),
        host=provenance.host(),
        target=backends.THIS_MACHINE,
        project=str(Path.cwd()),
        mode=made.mode,
        module=made.module,
        image=identity,
        launch=launch,
        commit=made.commit,
        dirty=made.dirty,
        options={**records.to_record(own, asked), provenance.REPRODUCES: found.reference},
    )
    slots = job_checks.slots(devices, asked)[: len(jobs)]
    with access.open(reporter=TERMINAL) as history:
        submission = history.submit(new, [JobSpec(parameters=job.parameters, args=job.args) for job in jobs])
        TERMINAL.say(f"{asked.group}: {submissions.numbered(len(jobs))}, {len(slots)} at a time")
        whole = LocalSubmission(submission=submission, jobs=asked, slots=slots, devices=devices, given=())
        code = local_jobs.carry_out(history, whole, runner.run)
        done = history.jobs(submission=submission.id)
    reported, _ = report.metrics_of(done, 0)
    rows = [
        row
        for before, job in zip(jobs, done, strict=True)
        for row in comparison.compare(
            before.number,
            before.results,
            reported[job.id].results,
            tolerance=request.tolerance,
            only=request.metrics,
        )
    ]
    return Reproduction(group=asked.group, exit_code=code, rows=tuple(rows))


def _gpus(found: Published) -> tuple[cdi.Device, ...]:
    """Return the GPUs for the jobs, none if they had none. Raises OcicalibanError if this machine has none."""
    if not found.experiment.resources.gpus:
        return ()
    return selection.choose_gpus(True, None, TERMINAL)
