"""Turn what `cloud` is asked for into the service's options, and check it before anything slow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ocicaliban.app import place
from ocicaliban.app.requests import CloudRequest, MachinesRequest
from ocicaliban.errors import UsageError
from ocicaliban.jobs import expansion
from ocicaliban.model.job import Job, JobSpec, Submission
from ocicaliban.targets.backend import Request, require
from ocicaliban.targets.vertex import backend
from ocicaliban.targets.vertex import machines as vertex_machines
from ocicaliban.targets.vertex import options as option_records
from ocicaliban.targets.vertex.options import Options

if TYPE_CHECKING:
    from ocicaliban.jobs.expansion import Sweep

_TIME = re.compile(r"\d+|(?:\d+[dhms])+")
_LONGEST = 315_576_000_000  # seconds, 10,000 years: the most that protobuf's Duration takes
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def check_request(request: CloudRequest, machines: MachinesRequest) -> None:
    """Raise UsageError for options that exclude each other, and for a missing MODULE."""
    if not request.module and request.mode == "cloud" and not request.image_tag:
        raise UsageError("cloud needs a MODULE", "ocicaliban cloud trainer.train -- --lr 0.1")
    if machines.nogpu and machines.gpu_spec:
        raise UsageError("--nogpu and --gpu-spec exclude each other", "leave one of them out")
    if not request.image_tag:
        return
    for option, given in (
        ("--to", request.repository),
        ("--extras", request.extras),
        ("--with-group", request.with_groups),
        ("--dir", request.dirs),
        ("--allow-secret", request.allow_secrets),
        ("--no-cache", request.no_cache),
    ):
        if given:
            hint = f"--image-tag names an image that exists, {option} says how to make one: leave one of them out"
            raise UsageError(f"--image-tag and {option} exclude each other", hint)


def vertex_options(machines: MachinesRequest, region: str) -> tuple[Options, tuple[str, ...]]:
    """Return the service's options for jobs in a region, and warnings.

    Raises UsageError if they are not valid, or the table of machines contradicts them.
    """
    machine, warnings = vertex_machines.machine(
        machines.machine_type, machines.gpu_spec, machines.tpu_spec, region, machines.force
    )
    made = Options(
        machine=machine,
        replicas=machines.replicas,
        boot_disk=machines.boot_disk,
        spot=machines.spot,
        timeout=seconds(machines.timeout),
        restarts=machines.max_restarts,
        service_account=machines.service_account,
        network=machines.network,
        output=machines.output_dir,
        labels=tuple(map(_label, machines.label)),
        name=machines.name,
    )
    return made, warnings


def seconds(text: str) -> int | None:
    """Return the seconds of --timeout, None for "". Raises UsageError if it is not a length of time."""
    if not text:
        return None
    total = 0
    if _TIME.fullmatch(lower := text.lower()) and len(lower) < 60:
        total = sum(int(number) * _SECONDS[unit] for number, unit in re.findall(r"(\d+)([dhms]?)", lower))
    if not 0 < total <= _LONGEST:
        raise UsageError(f"--timeout {text}: not a length of time", "for example 12h, 1h30m or 3600")
    return total


def _label(text: str) -> tuple[str, str]:
    parts = re.split("[=:]", text, maxsplit=1)  # Caliban's documentation has the colon
    if len(parts) != 2:
        raise UsageError(f"--label {text}: not of the form KEY=VALUE", "for example --label team=vision")
    return parts[0], parts[1]


def specs(sweep: Sweep | None, args: tuple[str, ...]) -> Iterator[JobSpec]:
    """Yield the jobs of a sweep, or the one job without a sweep; `args` go to each script."""
    yield from expansion.specs(sweep, args) if sweep else (JobSpec(args=args),)


def count(sweep: Sweep | None) -> int:
    """Return the number of jobs."""
    return expansion.count(sweep) if sweep else 1


def first_job(request: CloudRequest, made: Options, sweep: Sweep | None, args: tuple[str, ...]) -> Job:
    """Return the first job as it would be; all jobs are like it.

    Raises UsageError if the service would not take such a job.
    """
    spec = next(specs(sweep, args))
    submission = Submission(
        group=request.group or "group",
        user="",
        host="",
        target=backend.TARGET,
        project=str(place.project_root()),
        mode=request.mode,
        module=request.module,
        options={option_records.KEY: option_records.to_record(made)},
    )
    job = Job(id=0, key="0" * 12, submission=submission, parameters=spec.parameters, args=spec.args)
    require(backend.BACKEND, Request(job=job))
    return job
