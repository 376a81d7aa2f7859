"""Starts jobs on this machine as podman's containers, many at a time, and reports their ends."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import evolve, field, frozen

from ocicaliban.containers import command_line, conmon, podman, podman_args, settings_files
from ocicaliban.containers.podman_api import NoAnswer, PodmanApi, PodmanApiError
from ocicaliban.errors import OcicalibanError, ToolError, of_system
from ocicaliban.gpu import cdi, podman_options
from ocicaliban.jobs import job_variables, log_parts, single_run
from ocicaliban.model.image import Launch
from ocicaliban.model.job import Attempt, Job
from ocicaliban.model.resources import Resources
from ocicaliban.system import files, filesystems
from ocicaliban.targets.container_runner import (
    ContainerExit,
    ContainerRunner,
    MachineFault,
    NameTaken,
    ObservedContainer,
)
from ocicaliban.targets.local import container_spec, listing
from ocicaliban.targets.local.container_spec import JobContainer
from ocicaliban.targets.local.exit_watcher import ExitWatcher, process_descriptor


@frozen(kw_only=True)
class Setup:
    """What the jobs of one submission have in common.

    `image` is its id, `launch` how it starts, `given` the user's options for podman. `log_limit` is how large a job's
    log becomes, in bytes (0: any). With `caches` they keep what they put into ~/.cache.
    """

    image: str
    launch: Launch
    resources: Resources = field(factory=Resources)
    given: tuple[str, ...] = ()
    log_limit: int = log_parts.LIMIT
    caches: bool = False


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
        self._choosing = threading.Lock()
        self._ports: dict[str, int] = {}

    def close(self) -> None:
        """Report no more ends."""
        self._watcher.close()
        conmon.end_forsaken()

    def start(self, job: Job, attempt: Attempt, devices: tuple[cdi.Device, ...] = ()) -> None:
        """Start a container named `attempt.handle`, with the job's folder as /out and these GPUs alone.

        Raises NameTaken if it exists already, MachineFault if the machine cannot start any container, and
        OcicalibanError in podman's words if the job is at fault; then there is no container.
        """
        with _machine_faults():
            for folder in filter(None, (job.out, os.path.dirname(attempt.log))):
                files.make_folder(Path(os.path.abspath(folder)))
            parts = log_parts.LogParts(os.path.abspath(attempt.log))
            parts.prepare()
            parameters = _parameters_file(job, attempt)
            launch = self._with_caches()
        hooks, options = podman_options.container_options(devices, podman.version()) if devices else ((), ())
        container = JobContainer(
            image=self._setup.image,
            launch=container_spec.for_job(launch, job, port=self._port(attempt.handle), parameters_file=parameters),
            args=job.args,
            attempt=attempt,
            labels=container_spec.labels_of(job, attempt, devices),
            device_options=options,
            resources=self._setup.resources,
            log_limit=self._setup.log_limit,
            shm=filesystems.shared_memory(),
        )
        try:
            self._make_and_start(container, hooks)
        except OcicalibanError as fault:
            self._release_port(attempt.handle)
            if not isinstance(fault, NameTaken):
                parts.drop_empty()
            raise
        self.watch(attempt.handle)

    def _with_caches(self) -> Launch:
        """Return how the jobs start, with the folder of their caches, which is there then."""
        launch, folder = self._setup.launch, files.kept_caches()
        mount = container_spec.caches_mount(launch, self._setup.given, folder) if self._setup.caches else ""
        if not mount:
            return launch
        files.make_folder(folder)
        return evolve(launch, mounts=(*launch.mounts, mount))

    def _port(self, handle: str) -> int:
        """Return a free port that no other container of ours has got."""
        with self._choosing:
            port = single_run.free_port(self._ports.values())
            self._ports[handle] = port
            return port

    def _release_port(self, handle: str) -> None:
        """Let another container have the port of this one."""
        with self._choosing:
            self._ports.pop(handle, None)

    def _make_and_start(self, container: JobContainer, hooks: tuple[str, ...]) -> None:
        """Create a container and start it, exactly once, whatever becomes of podman's service meanwhile.

        A service that was killed may have done what it was asked for, or a part of it: so look what there is before
        asking again. A container with this name is ours, since we were the first to ask for it. There are two steps,
        and podman saves the first one: a container that is "created" has certainly not run a line.
        """
        handle = container.attempt.handle
        status = killed = ""  # `killed`: the status when a service did not answer
        for left in reversed(range(_TRIES)):
            try:
                if not status:
                    self._create(container, hooks)
                    status = "created"
                if status == "created" and not hooks:
                    # Now its process exists, and has not run a line.
                    self._service.call_once("post", f"/containers/{handle}/init")
                    status = "initialized"
                self._start_made(handle, hooks)
                return
            except NoAnswer as fault:
                killed, status = status or "none", self._status(handle)
                if status not in ("", "created", "initialized"):
                    return  # it was started
                if killed == "initialized" and (status == "created" or not self._waits(handle)):
                    return  # it was started too; podman takes one that it did not see start back to "created" later
                if (killed == status == "created") or not left:
                    # Its process may exist, and wait for its start, without podman's knowledge.
                    self._clear(handle)
                    status = ""
                if not left:
                    raise _explained(fault, handle) from fault
            except OcicalibanError as fault:
                if status and (self._lives(handle) or killed == status == "initialized"):
                    return  # the service that was killed has started it, and had not saved that
                again = bool(killed) or (status == "created" and left > _TRIES - 4 and _conmon_died(fault))
                if status or killed:
                    self._clear(handle)
                    status = ""
                if not again or not left:
                    raise _explained(fault, handle) from fault

    def _create(self, container: JobContainer, hooks: tuple[str, ...]) -> None:
        """Create the container, through the API if that can express it; `hooks` are podman's global options."""
        spec = None
        # Only podman's command line applies the ulimits of containers.conf.
        if not self._setup.given and not hooks and not settings_files.sets("default_ulimits"):
            spec = container_spec.api_spec(container, os.environ)
        if spec is not None:
            self._service.call_once("post", "/containers/create", body=spec)
            return
        extra = (*container_spec.create_options(container, podman.version()), *self._setup.given)
        options = command_line.ContainerOptions(name=container.attempt.handle, extra=extra)
        argv = command_line.create_argv(container.image, container.launch, container.args, options)
        podman.create(argv, hooks)

    def _start_made(self, handle: str, hooks: tuple[str, ...]) -> None:
        if hooks:
            podman.start(handle, hooks)
        else:
            # Never twice: podman runs a container that has ended again.
            self._service.call_once("post", f"/containers/{handle}/start")

    def _status(self, handle: str) -> str:
        """Return podman's word for the state of a container, "" if there is none of this name."""
        try:
            return str(self._service.call("get", f"/containers/{handle}/json")["State"]["Status"])
        except PodmanApiError as fault:
            if fault.status == 404:
                return ""
            raise

    def _waits(self, handle: str) -> bool:
        """Return whether a container's process waits for its start: then it has certainly not run a line."""
        try:
            return _waiting(self._service.call("get", f"/containers/{handle}/json")) is not None
        except PodmanApiError as fault:
            if fault.status == 404:
                return False
            raise

    def _clear(self, handle: str) -> None:
        """Remove a container that never ran a line, or the part of one that a killed service left."""
        with contextlib.suppress(OcicalibanError):
            inspected: Mapping[str, Any] = {}
            with contextlib.suppress(PodmanApiError):
                inspected = self._service.call("get", f"/containers/{handle}/json")
                _kill_waiting(inspected)
            self._remove(handle)
            if inspected:
                conmon.end_waiting(inspected["Id"])
            # podman's API knows nothing of a container that is in its storage alone; its command line does.
            podman.remove_at_once(handle)

    def watch(self, handle: str) -> None:
        """Report the end of a container that runs, or has run; one that is gone has ended without an exit code."""
        self._watcher.add(handle)

    def signal(self, handle: str, name: Literal["TERM", "KILL"]) -> bool:
        """Send a signal to a container. Return False if it does not run."""
        try:
            self._service.call("post", f"/containers/{handle}/kill", signal=name)
        except PodmanApiError as fault:
            if fault.status in (404, 409) or "can only kill running" in fault.words:
                return self._signal_unknown(handle, name)
            raise
        return True

    def _signal_unknown(self, handle: str, name: str) -> bool:
        """Send a signal to a container that runs without podman's knowledge. Return False if it does not run."""
        with contextlib.suppress(PodmanApiError, ProcessLookupError):
            inspected = self._service.call("get", f"/containers/{handle}/json")
            if pid := conmon.running_process(inspected["Id"]):
                os.kill(pid, signal.Signals[f"SIG{name}"])
                return True
        return False

    def remove(self, handle: str) -> None:
        """Remove a container that does not run. If it is gone, do nothing."""
        self._remove(handle)
        self._release_port(handle)

    def _remove(self, handle: str) -> None:
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
            # A process that its parent has not awaited is over too. Not select(2), which takes none above 1023.
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            return not poll.poll(0)
        finally:
            os.close(fd)

    def find(self, **labels: str) -> Mapping[str, ObservedContainer]:
        """Return the containers with these labels (`job`, `group`, `submission`, ...; "" means any value), by name."""
        filters = json.dumps({"label": listing.label_filters(labels)})
        return listing.observed(self._service.call("get", "/containers/json", all="true", filters=filters))


_TRIES = 20
"""How often a container is made and started while podman's service ends before it answers."""
_ROOM = "free disk space: `podman system df` and `ocicaliban clean --all --dry-run` show what uses it"
_REBUILD = "the image was removed: build it again, and resubmit with --rebuild"

_MACHINE_FAULTS = {
    "api service does not answer": "check that `podman info` works",
    "api service does not start": "check that `podman info` works",
    "image not known": _REBUILD,
    "no such image": _REBUILD,
    "unresolvable cdi": "the GPU's CDI spec has changed or is gone: see `ocicaliban doctor`",
    "no space left": _ROOM,
    "disk quota exceeded": _ROOM,
    "read-only file system": "mount it writable, or set another place in storage.conf",
    "input/output error": "the disk or its file system is faulty: see the kernel's messages",
    "too many open files": "raise the limit of open files: ulimit -n 4096",
    "cannot allocate memory": "the machine has no memory left: free some, or run fewer jobs at a time (--jobs)",
    "resource temporarily unavailable": "the limit of processes is reached: ulimit -u",
}
"""What podman says if it can start no container now, whatever the job, with hints."""

_HINTS = {
    "statfs": "a folder or file that is mounted into the container does not exist",
    "executable file": "the image has no such command",
}


def _parameters_file(job: Job, attempt: Attempt) -> str:
    """Write the parameters of a job into a file beside its log, if they are too long for a variable; return its path.

    Raises OSError.
    """
    if not job_variables.has_parameters_file(job):
        return ""
    path = Path(attempt.log).with_name("parameters.json")
    files.replace(path, job_variables.parameters_text(job))
    return str(path)


def _conmon_died(fault: OcicalibanError) -> bool:
    """Return whether a container was not made since what watches it was killed at that moment."""
    words = fault.words if isinstance(fault, PodmanApiError) else str(fault)
    return any(sign in words.lower() for sign in ("broken pipe", "conmon"))


def _waiting(inspected: Mapping[str, Any]) -> int | None:
    """Return the process of a container that waits for its start; None if it was started, or has ended."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        pid = inspected["State"]["Pid"] or int(Path(inspected["PidFile"]).read_text())
        process = Path("/proc", str(pid))
        # Until the start, this is still the runtime: crun's command line has the container's id, runc has its own name.
        if inspected["Id"].encode() in (process / "cmdline").read_bytes():
            return pid
        if (process / "comm").read_text().startswith("runc:["):
            return pid
    return None


def _kill_waiting(inspected: Mapping[str, Any]) -> None:
    """Kill the process of a container that waits for its start, if podman does not know of it."""
    pid = _waiting(inspected)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def _machine_faults() -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        ours = of_system(fault)
        raise MachineFault(ours.message, ours.hint) from fault


def _explained(fault: OcicalibanError, handle: str) -> OcicalibanError:
    """Return the fault for people."""
    words = fault.words if isinstance(fault, PodmanApiError) else fault.message
    if isinstance(fault, ToolError):
        words = fault.stderr.removeprefix("Error: ") or words
    if "already in use" in words:
        return NameTaken(f"the container {handle} exists already", "`ocicaliban resume` finds what runs")
    message = f"the container {handle} cannot be started: {words}"
    if hint := next((hint for sign, hint in _MACHINE_FAULTS.items() if sign in words.lower()), ""):
        return MachineFault(message, hint)
    hint = next((hint for sign, hint in _HINTS.items() if sign in words.lower()), fault.hint)
    return OcicalibanError(message, hint)
