"""Starts jobs on this machine as podman's containers, many at a time, and reports their ends."""

from __future__ import annotations

import contextlib
import json
import os
import select
import time
from collections.abc import Callable, Mapping
from typing import Literal

from attrs import field, frozen

from ocicaliban.containers import command_line, podman, podman_args
from ocicaliban.containers.podman_api import PodmanApi, PodmanApiError
from ocicaliban.errors import OcicalibanError, ToolError
from ocicaliban.gpu import cdi, podman_options
from ocicaliban.model.image import Launch
from ocicaliban.model.job import Attempt, Job
from ocicaliban.model.resources import Resources
from ocicaliban.targets.container_runner import ContainerExit, ContainerRunner, NameTaken, ObservedContainer
from ocicaliban.targets.local import container_spec, listing
from ocicaliban.targets.local.container_spec import JobContainer
from ocicaliban.targets.local.exit_watcher import ExitWatcher, process_descriptor


@frozen(kw_only=True)
class Setup:
    """What the jobs of one submission have in common.

    `image` is its id, `launch` how it starts, `given` the user's options for podman.
    """

    image: str
    launch: Launch
    resources: Resources = field(factory=Resources)
    given: tuple[str, ...] = ()


class LocalRunner(ContainerRunner):
    """Runs the jobs of a submission through podman's API service.

    Each end is handed to `on_exit` from another thread; `on_exit` must not raise (a queue's `put` does not). The
    methods take some hundredths of a second each, and several threads may call them. Call `close` at the end; the
    containers go on. Raises UsageError if this machine cannot enforce the limits, or if a user's option for podman
    cannot be given to a job.
    """

    def __init__(self, service: PodmanApi, setup: Setup, on_exit: Callable[[ContainerExit], None]) -> None:
        container_spec.check_resources(setup.resources, service.controllers)
        container_spec.check_given(setup.given)
        podman_args.require_values(setup.given, os.environ)
        self._service = service
        self._setup = setup
        self._watcher = ExitWatcher(service, on_exit)

    def close(self) -> None:
        """Report no more ends."""
        self._watcher.close()

    def start(self, job: Job, attempt: Attempt, devices: tuple[cdi.Device, ...] = ()) -> None:
        """Start a container named `attempt.handle`, with the job's folder as /out and these GPUs alone.

        Raises NameTaken if it exists already, and OcicalibanError in podman's words; then there is none.
        """
        if job.out:
            os.makedirs(job.out, exist_ok=True)
        os.makedirs(os.path.dirname(attempt.log), exist_ok=True)
        hooks, options = podman_options.container_options(devices, podman.version()) if devices else ((), ())
        container = JobContainer(
            image=self._setup.image,
            launch=container_spec.for_job(self._setup.launch, job),
            args=job.args,
            attempt=attempt,
            labels=container_spec.labels_of(job, attempt, devices),
            device_options=options,
            resources=self._setup.resources,
        )
        self._create(container, hooks)
        try:
            if hooks:
                podman.start(attempt.handle, hooks)
            else:
                self._service.call("post", f"/containers/{attempt.handle}/start")
        except OcicalibanError as fault:
            # If the service went away before it answered, the container may run; a running one is not removed.
            if not self._lives(attempt.handle):
                with contextlib.suppress(OcicalibanError):
                    self.remove(attempt.handle)
                raise _explained(fault, attempt.handle) from fault
        self.watch(attempt.handle)

    def _create(self, container: JobContainer, hooks: tuple[str, ...]) -> None:
        """Create the container, through the API if that can express it; `hooks` are podman's global options."""
        spec = None
        if not self._setup.given and not hooks:
            spec = container_spec.api_spec(container, os.environ)
        handle = container.attempt.handle
        try:
            if spec is not None:
                self._service.call("post", "/containers/create", body=spec)
                return
            extra = (*container_spec.create_options(container), *self._setup.given)
            options = command_line.ContainerOptions(name=handle, extra=extra)
            argv = command_line.create_argv(container.image, container.launch, container.args, options)
            podman.create(argv, hooks)
        except (PodmanApiError, ToolError) as fault:
            raise _explained(fault, handle) from fault

    def watch(self, handle: str) -> None:
        """Report the end of a container that runs, or has run; one that is gone has ended without an exit code."""
        self._watcher.add(handle)

    def signal(self, handle: str, name: Literal["TERM", "KILL"]) -> bool:
        """Send a signal to a container. Return False if it does not run."""
        try:
            self._service.call("post", f"/containers/{handle}/kill", signal=name)
        except PodmanApiError as fault:
            if fault.status in (404, 409) or "can only kill running" in fault.words:
                return False
            raise
        return True

    def remove(self, handle: str) -> None:
        """Remove a container that does not run. If it is gone, do nothing."""
        # podman takes a container whose conmon was killed for a running one, and cannot remove it by force at first.
        for force in ("false", "true", "true"):
            try:
                self._service.call("delete", f"/containers/{handle}", v="true", force=force, timeout="0")
                return
            except PodmanApiError as fault:
                if fault.status == 404 or "no such container" in fault.words.lower():
                    return
                if force == "false" and self._lives(handle):
                    raise
                refused = fault
        raise refused

    def _lives(self, handle: str) -> bool:
        try:
            pid = self._service.call("get", f"/containers/{handle}/json")["State"]["Pid"]
        except PodmanApiError as fault:
            if fault.status == 404:
                return False
            raise
        fd = process_descriptor(pid, time.clock_gettime(time.CLOCK_BOOTTIME))
        if fd is None:
            return False
        try:
            return not select.select([fd], [], [], 0)[0]  # a process that its parent has not awaited is over too
        finally:
            os.close(fd)

    def find(self, **labels: str) -> Mapping[str, ObservedContainer]:
        """Return the containers with these labels (`job`, `group`, `submission`, ...; "" means any value), by name."""
        filters = json.dumps({"label": listing.label_filters(labels)})
        return listing.observed(self._service.call("get", "/containers/json", all="true", filters=filters))


_ROOM = "free disk space: `podman system df` and `ocicaliban clean --all --dry-run` show what uses it"

_HINTS = {
    "image not known": "the image was removed: build it again, and resubmit with --rebuild",
    "no such image": "the image was removed: build it again, and resubmit with --rebuild",
    "unresolvable cdi": "the GPU's CDI spec has changed or is gone: see `ocicaliban doctor`",
    "no space left": _ROOM,
    "disk quota exceeded": _ROOM,
    "statfs": "a folder or file that is mounted into the container does not exist",
    "executable file": "the image has no such command",
}


def _explained(fault: OcicalibanError, handle: str) -> OcicalibanError:
    """Return the fault for people."""
    words = fault.words if isinstance(fault, PodmanApiError) else fault.message
    if isinstance(fault, ToolError):
        words = fault.stderr.removeprefix("Error: ") or words
    if "already in use" in words:
        return NameTaken(f"the container {handle} exists already", "`ocicaliban resume` finds what runs")
    hint = next((hint for sign, hint in _HINTS.items() if sign in words.lower()), fault.hint)
    return OcicalibanError(f"the container {handle} cannot be started: {words}", hint)
