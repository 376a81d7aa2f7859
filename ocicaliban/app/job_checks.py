"""Check a request for jobs on this machine before anything is done, and give the limits of each job."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ocicaliban.app.launch import PreparedLaunch
from ocicaliban.app.requests import JobsRequest, LaunchRequest
from ocicaliban.containers import podman
from ocicaliban.errors import UsageError
from ocicaliban.execution import scheduler
from ocicaliban.gpu import cdi
from ocicaliban.jobs import group_names
from ocicaliban.project import source_tree
from ocicaliban.reporter import TERMINAL
from ocicaliban.system import process
from ocicaliban.targets.local import runner

_MEMORY = re.compile(r"(\d+)([bkmg]?)")
_UNIT = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def check(request: LaunchRequest, jobs: JobsRequest, *, sweep: bool) -> None:
    """Raise UsageError for a request that is not valid, or that this machine cannot serve.

    `sweep` says that there may be several jobs.
    """
    if jobs.group:
        group_names.check(jobs.group)
    if jobs.retries < 0:
        raise UsageError(f"--retries {jobs.retries}: a negative number", "for example --retries 2")
    if sweep or jobs.needs_number:
        check_podman_options(podman.words(request.podman_args))
    _check_out(jobs.out)
    runner.check_limits(limits(jobs), _controllers)


def _check_out(out: str) -> None:
    """Raise UsageError if the folder of results cannot be made."""
    if not out:
        return
    existing = Path(out)
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise UsageError(f"--out {out}: {existing} is not a folder", "name a folder, or one that can be made")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UsageError(f"--out {out}: you cannot write in {existing}", "name a folder that you can write in")


def check_podman_options(given: tuple[str, ...]) -> None:
    """Raise UsageError for podman options that a job cannot have, before the jobs are recorded."""
    runner.check_given(given)
    podman.require_values(given, os.environ)


def limits(jobs: JobsRequest) -> runner.Limits:
    """Return the limits of each job. Raises UsageError if an amount is not valid."""
    if jobs.cpus is not None and not 0 < jobs.cpus < 1e6:
        raise UsageError(f"--cpus {jobs.cpus:g}: not a positive number of cores", "for example --cpus 1.5")
    if not jobs.memory:
        return runner.Limits(cpus=jobs.cpus)
    match = _MEMORY.fullmatch(jobs.memory.lower())
    if match is None or not int(match[1]):
        raise UsageError(f"--memory {jobs.memory}: not an amount of memory", "for example --memory 8g or 500m")
    return runner.Limits(cpus=jobs.cpus, memory=int(match[1]) * _UNIT[match[2]])


def limit_options(jobs: JobsRequest) -> tuple[str, ...]:
    """Return podman's options for the limits. Raises UsageError if an amount is not valid."""
    found = limits(jobs)
    options: tuple[str, ...] = ("--cpus", f"{found.cpus:g}") if found.cpus is not None else ()
    if found.memory is not None:
        options += ("--memory", str(found.memory), "--memory-swap", str(found.memory))
    return options


def slots(devices: tuple[cdi.Device, ...], jobs: JobsRequest) -> tuple[scheduler.Slot, ...]:
    """Return a slot for each job that runs at a time, with its GPUs. Raises UsageError if there are not enough."""
    return scheduler.slots([device.qualified for device in devices], jobs.jobs, jobs.gpus_per_job)


def warn_of_out(launch: PreparedLaunch, jobs: JobsRequest) -> None:
    """Tell the user if the next image of the project would hold the results of these jobs."""
    root, out = launch.planned.project.root, Path(os.path.abspath(jobs.out)) if jobs.out else None
    if out is None or not out.is_relative_to(root) or launch.request.image_id:
        return
    inside = str(out.relative_to(root))
    if inside == "." or source_tree.takes(root, inside):
        line = f"/{'' if inside == '.' else inside}"
        TERMINAL.note(
            f"{jobs.out} is in the project, so the next image will hold these results; choose another folder, or add"
            f" the line {line} to {source_tree.ignore_file(root)}"
        )


def _controllers() -> tuple[str, ...]:
    """Ask podman which cgroup controllers can limit a container."""
    words = "{{.Host.CgroupsVersion}} {{range .Host.CgroupControllers}}{{.}} {{end}}"
    version, *controllers = process.run(process.in_cgroup2(("podman", "info", "--format", words))).split()
    return tuple(controllers) if version == "v2" else ()
