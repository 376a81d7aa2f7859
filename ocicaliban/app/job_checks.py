"""Check a request for jobs on this machine before anything is done, and return what each job may use."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ocicaliban.app.launch import PreparedLaunch
from ocicaliban.app.requests import JobsRequest, LaunchRequest
from ocicaliban.containers import command_line, podman, podman_args
from ocicaliban.errors import UsageError
from ocicaliban.execution import scheduler
from ocicaliban.gpu import cdi
from ocicaliban.jobs import group_names
from ocicaliban.model.job import Submission
from ocicaliban.model.resources import Resources, parse_resources
from ocicaliban.project import config, ignore_rules, log_size, user_config
from ocicaliban.reporter import TERMINAL
from ocicaliban.targets.local import container_spec


def check(request: LaunchRequest, jobs: JobsRequest, *, sweep: bool) -> None:
    """Raise UsageError for a request that is not valid, or that this machine cannot serve.

    `sweep` says that there may be several jobs.
    """
    if jobs.group:
        group_names.check(jobs.group)
    if jobs.retries < 0:
        raise UsageError(f"--retries {jobs.retries}: a negative number", "for example --retries 2")
    if sweep or jobs.needs_number:
        check_podman_options(podman_args.split(request.podman_args))
    _check_out(jobs.out)
    container_spec.check_resources(resources(jobs), podman.cgroup_controllers)


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
    container_spec.check_given(given)
    podman_args.require_values(given, os.environ)


def resources(jobs: JobsRequest) -> Resources:
    """Return what each job may use. Raises UsageError if an amount is not valid."""
    return parse_resources(jobs.cpus, jobs.memory)


def resource_options(jobs: JobsRequest) -> tuple[str, ...]:
    """Return podman's options for what a job may use. Raises UsageError if an amount is not valid."""
    return command_line.resource_options(resources(jobs))


def log_limit(submission: Submission) -> int:
    """Return how large the log of a job becomes, in bytes, by the settings as they are now; 0 for any size."""
    project = ""
    with contextlib.suppress(UsageError):  # `resume` needs no project, and it may have changed
        project = config.load_project(Path(submission.project)).log_size_max
    return log_size.in_bytes(project, user_config.load_user_config().log_size_max)


def slots(devices: tuple[cdi.Device, ...], jobs: JobsRequest) -> tuple[scheduler.Slot, ...]:
    """Return a slot for each job that runs at a time, with its GPUs. Raises UsageError if there are not enough."""
    return scheduler.slots([device.qualified for device in devices], jobs.jobs, jobs.gpus_per_job)


def warn_of_out(launch: PreparedLaunch, jobs: JobsRequest) -> None:
    """Tell the user if the next image of the project would hold the results of these jobs."""
    root, out = launch.planned.project.root, Path(os.path.abspath(jobs.out)) if jobs.out else None
    if out is None or not out.is_relative_to(root) or launch.request.image_id:
        return
    inside = str(out.relative_to(root))
    if inside == "." or ignore_rules.is_source(root, inside):
        line = f"/{'' if inside == '.' else inside}"
        TERMINAL.note(
            f"{jobs.out} is in the project, so the next image will hold these results; choose another folder, or add"
            f" the line {line} to {ignore_rules.ignore_file_name(root)}"
        )
