"""Jobs on this machine: containers of podman, many at a time, whose ends are told as they come."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import selectors
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

from attrs import evolve, field, frozen

from ocicaliban.containers import podman
from ocicaliban.containers.podman_api import Service, ServiceError
from ocicaliban.errors import OcicalibanError, ToolError, UsageError
from ocicaliban.gpu import cdi
from ocicaliban.jobs import log_file
from ocicaliban.model.image import Launch
from ocicaliban.model.job import Attempt, Job
from ocicaliban.system import process
from ocicaliban.targets.container_runner import ContainerRunner, Ended, Found, NameTaken, State

OUT = "/out"
"""Where a job finds its results folder."""

_UNLIMITED = 1 << 62
"""A log's size in bytes; a user's `log_size_max` would cut it."""

_STATES: Mapping[str, State] = {
    "running": "running",
    "paused": "running",
    "stopping": "running",
    "stopped": "exited",
    "exited": "exited",
    "removing": "exited",
}
_PATIENCE = 10.0
"""Seconds from the end of a container's process until its exit code must be known."""


@frozen(kw_only=True)
class Limits:
    """What each job may have at most: `cpus` in cores, `memory` in bytes; None is no limit."""

    cpus: float | None = None
    memory: int | None = None


@frozen(kw_only=True)
class Setup:
    """What the jobs of one submission have in common: the image's id, how it starts, and podman's options given."""

    image: str
    launch: Launch
    limits: Limits = field(factory=Limits)
    given: tuple[str, ...] = ()


class LocalRunner(ContainerRunner):
    """Runs the jobs of a submission through podman's service.

    Each end is handed to `on_end`, from another thread, which must not raise (a queue's `put`). The methods take some
    hundredths of a second each and may be called from several threads. It is to be closed; what runs goes on then.
    Raises UsageError where the machine cannot keep the limits, or podman's options cannot be given to a job.
    """

    def __init__(self, service: Service, setup: Setup, on_end: Callable[[Ended], None]) -> None:
        check_limits(setup.limits, service.controllers)
        check_given(setup.given)
        podman.require_values(setup.given, os.environ)
        self._service = service
        self._setup = setup
        self._ends = _Ends(service, on_end)

    def close(self) -> None:
        """Tell of no more ends."""
        self._ends.close()

    def start(self, job: Job, attempt: Attempt, devices: tuple[cdi.Device, ...] = ()) -> None:
        """Start a container named `attempt.handle`, with the job's folder as /out and these GPUs alone.

        Raises NameTaken where there is such a container, else OcicalibanError in podman's words; then there is none.
        """
        launch = for_job(self._setup.launch, job)
        labels = labels_of(job, attempt, devices)
        if job.out:
            os.makedirs(job.out, exist_ok=True)
        os.makedirs(os.path.dirname(attempt.log), exist_ok=True)
        hooks, options = cdi.options(devices, podman.version()) if devices else ((), ())
        spec = None
        if not self._setup.given and not hooks:
            spec = container_spec(
                self._setup.image, launch, job.args, attempt, labels, options, self._setup.limits, os.environ
            )
        try:
            if spec is not None:
                self._service.call("post", "/containers/create", body=spec)
            else:
                extra = (*_cli_options(attempt, labels, self._setup.limits), *options, *self._setup.given)
                argv = podman.create_argv(self._setup.image, launch, job.args, name=attempt.handle, extra=extra)
                process.run(process.in_cgroup2((argv[0], *hooks, *argv[1:])))
        except (ServiceError, ToolError) as fault:
            raise _explained(fault, attempt.handle) from fault
        try:
            if hooks:
                process.run(process.in_cgroup2(("podman", *hooks, "start", attempt.handle)), env=podman.UTF8)
            else:
                self._service.call("post", f"/containers/{attempt.handle}/start")
        except OcicalibanError as fault:
            # Where the service was gone before it answered, it may run; what runs is not removed.
            if not self._lives(attempt.handle):
                with contextlib.suppress(OcicalibanError):
                    self.remove(attempt.handle)
                raise _explained(fault, attempt.handle) from fault
        self.watch(attempt.handle)

    def watch(self, handle: str) -> None:
        """Tell the end of a container that runs, or has run; one that is gone has ended without an exit code."""
        self._ends.add(handle)

    def signal(self, handle: str, name: Literal["TERM", "KILL"]) -> bool:
        """Send a signal to a container; False if it does not run."""
        try:
            self._service.call("post", f"/containers/{handle}/kill", signal=name)
        except ServiceError as fault:
            if fault.status in (404, 409) or "can only kill running" in fault.words:
                return False
            raise
        return True

    def remove(self, handle: str) -> None:
        """Remove a container that does not run; one that is gone is no fault."""
        # podman holds one whose conmon was killed for a running one; removed by force it fails the first time.
        for force in ("false", "true", "true"):
            try:
                self._service.call("delete", f"/containers/{handle}", v="true", force=force, timeout="0")
                return
            except ServiceError as fault:
                if fault.status == 404 or "no such container" in fault.words.lower():
                    return
                if force == "false" and self._lives(handle):
                    raise
                refused = fault
        raise refused

    def _lives(self, handle: str) -> bool:
        try:
            pid = self._service.call("get", f"/containers/{handle}/json")["State"]["Pid"]
        except ServiceError as fault:
            if fault.status == 404:
                return False
            raise
        fd = _process(pid, time.clock_gettime(time.CLOCK_BOOTTIME))
        if fd is None:
            return False
        try:
            return not select.select([fd], [], [], 0)[0]  # one that nobody has reaped is over too
        finally:
            os.close(fd)

    def find(self, **labels: str) -> Mapping[str, Found]:
        """The containers with these labels (`job`, `group`, `submission`, ...; an empty value means any)."""
        filters = json.dumps({"label": _label_filters(labels)})
        return _found(self._service.call("get", "/containers/json", all="true", filters=filters))


def find(**labels: str) -> Mapping[str, Found]:
    """As `LocalRunner.find`, by podman's command line, which is faster where it is all that is asked."""
    words = [word for text in _label_filters(labels) for word in ("--filter", f"label={text}")]
    return _found(json.loads(process.run(("podman", "ps", "--all", "--format", "json", *words)) or "[]"))


def for_job(launch: Launch, job: Job) -> Launch:
    """How a job of a submission starts: with its results folder and what it can know of itself."""
    return evolve(
        launch,
        env=(
            *launch.env,
            ("OCICALIBAN_JOB", str(job.id)),
            ("OCICALIBAN_GROUP", job.submission.group),
            ("OCICALIBAN_PARAMETERS", json.dumps(dict(job.parameters))),
        ),
        mounts=(*launch.mounts, *([f"{os.path.abspath(job.out)}:{OUT}"] if job.out else [])),
    )


def labels_of(job: Job, attempt: Attempt, devices: tuple[cdi.Device, ...] = ()) -> dict[str, str]:
    """The labels by which an attempt's container is found again, and what tells which GPUs it has."""
    return {
        **({f"{podman.LABEL}devices": ",".join(device.qualified for device in devices)} if devices else {}),
        podman.JOB: job.key,
        f"{podman.LABEL}attempt": str(attempt.number),
        f"{podman.LABEL}group": job.submission.group,
        f"{podman.LABEL}submission": str(job.submission.id),
    }


def as_options(job: Job, attempt: Attempt) -> tuple[str, ...]:
    """podman's options for a job that is run at a terminal: its labels, its results folder, what it can know."""
    own = for_job(Launch(), job)
    words = [*podman.labelled(labels_of(job, attempt))]
    words += [word for name, value in own.env for word in ("--env", f"{name}={value}")]
    return *words, *(word for mount in own.mounts for word in podman.bind(mount))


def check_limits(limits: Limits, controllers: Callable[[], Iterable[str]]) -> None:
    """Raise UsageError where the cgroups of this user cannot limit what shall be limited.

    podman itself passes over such a limit without a word.
    """
    needed = {"cpu": limits.cpus is not None, "memory": limits.memory is not None}
    if not any(needed.values()):
        return
    there = set(controllers())
    missing = [name for name, wanted in needed.items() if wanted and name not in there]
    if missing:
        option = {"cpu": "--cpus", "memory": "--memory"}[missing[0]]
        raise UsageError(
            f"{option} cannot be kept on this machine: your cgroups have no controller '{missing[0]}'",
            "it takes cgroups v2 with that controller delegated to users (systemd: Delegate=cpu memory for "
            "user@.service); or leave it out",
        )


_OURS = {"--name", "--rm", "--replace", "--restart", "--log-driver", "--log-opt", "--pull", "-d", "--detach"}


def check_given(given: tuple[str, ...]) -> None:
    """Raise UsageError for an option for podman by which a job would run twice, or its result or log be lost."""
    for word in given:
        option = word.partition("=")[0]
        if option in _OURS:
            hint = "its container is named, logged and removed once its result is recorded, by ocicaliban itself"
            raise UsageError(f"--podman-args: {option} cannot be given to a job of a group", hint)


def container_spec(
    image: str,
    launch: Launch,
    args: tuple[str, ...],
    attempt: Attempt,
    labels: Mapping[str, str],
    options: tuple[str, ...],
    limits: Limits,
    environ: Mapping[str, str],
) -> dict[str, Any] | None:
    """The body of podman's libpod `containers/create` that means what `podman.create_argv` does.

    None where a mount or one of the devices' `options` needs the command line. Ports are left out, since the host's
    network is used and podman would discard them.
    """
    if any(option != "--device" or "=" not in value for option, value in zip(options[::2], options[1::2], strict=True)):
        return None
    mounts = [podman.parsed(mount) for mount in launch.mounts]
    if any(mount is None or not os.path.isabs(mount[0]) for mount in mounts):
        return None
    spec: dict[str, Any] = {
        "name": attempt.handle,
        "image": image,
        "init": True,
        "netns": {"nsmode": "host"},
        # The service may be another's, with other settings.
        "env": {name: environ[name] for name in _PROXIES if name in environ} | dict(launch.env),
        "httpproxy": False,
        "labels": dict(labels),
        "log_configuration": {
            "driver": "k8s-file",
            "path": str(log_file.raw(os.path.abspath(attempt.log))),
            "size": _UNLIMITED,
        },
        "mounts": [
            {"type": "bind", "source": source, "destination": target, "options": list(opts)}
            for source, target, opts in filter(None, mounts)
        ],
        "command": [*launch.command[1:], *args],
    }
    if launch.command:
        spec["entrypoint"] = [launch.command[0]]
    if launch.workdir:
        spec["work_dir"] = launch.workdir
    if options:
        spec["devices"] = [{"path": name} for name in options[1::2]]
    resources: dict[str, Any] = {}
    if limits.cpus is not None:
        resources["cpu"] = {"period": _PERIOD, "quota": round(limits.cpus * _PERIOD)}
    if limits.memory is not None:
        resources["memory"] = {"limit": limits.memory, "swap": limits.memory}
    if resources:
        spec["resource_limits"] = resources
    return spec


_PERIOD = 100_000
_PROXIES = tuple(
    name for lower in ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy") for name in (lower, lower.upper())
)


def _cli_options(attempt: Attempt, labels: Mapping[str, str], limits: Limits) -> tuple[str, ...]:
    """What `container_spec` says beside the launch, as options of `podman create`."""
    words = [*podman.labelled(labels)]
    log = log_file.raw(os.path.abspath(attempt.log))
    words += ["--log-driver", "k8s-file", "--log-opt", podman.record(f"path={log}", f"max-size={_UNLIMITED}")]
    if limits.cpus is not None:
        words += ["--cpus", f"{limits.cpus:g}"]
    if limits.memory is not None:
        words += ["--memory", str(limits.memory), "--memory-swap", str(limits.memory)]
    return tuple(words)


_HINTS = {
    "image not known": "the image was removed: build it again, and resubmit with --rebuild",
    "no such image": "the image was removed: build it again, and resubmit with --rebuild",
    "unresolvable cdi": "the GPU's CDI spec has changed or is gone: see `ocicaliban doctor`",
    "no space left": "make room: `podman system df` and `ocicaliban clean --all --dry-run` show what takes it",
    "disk quota exceeded": "make room: `podman system df` and `ocicaliban clean --all --dry-run` show what takes it",
    "statfs": "a folder or file that is mounted into the container is not there",
    "executable file": "the image has no such command",
}


def _explained(fault: OcicalibanError, handle: str) -> OcicalibanError:
    """The fault for the user."""
    words = fault.words if isinstance(fault, ServiceError) else fault.message
    if isinstance(fault, ToolError):
        words = fault.stderr.removeprefix("Error: ") or words
    if "already in use" in words:
        return NameTaken(f"there is a container {handle} already", "`ocicaliban resume` finds what runs")
    hint = next((hint for sign, hint in _HINTS.items() if sign in words.lower()), fault.hint)
    return OcicalibanError(f"the container {handle} cannot be started: {words}", hint)


def _label_filters(labels: Mapping[str, str]) -> list[str]:
    return [f"{podman.LABEL}{name}={value}" if value else f"{podman.LABEL}{name}" for name, value in labels.items()]


def _found(listed: Iterable[Mapping[str, Any]] | None) -> dict[str, Found]:
    """podman's list of containers, which its service and `podman ps` give alike."""
    found = {}
    for entry in listed or ():
        started, ended = (seconds if seconds > 0 else None for seconds in (entry["StartedAt"], entry["ExitedAt"]))
        state = _state(entry["State"], started is not None)
        if entry["State"] == "stopping" and not os.path.exists(f"/proc/{entry['Pid']}"):
            state = "exited"  # conmon was killed with it: nobody will tell podman (see `userns`)
        known = state == "exited" and ended is not None and entry["ExitCode"] >= 0
        handle = entry["Names"][0]
        found[handle] = Found(
            handle=handle,
            state=state,
            exit_code=entry["ExitCode"] if known else None,
            started=started,
            ended=ended if state == "exited" else None,
            labels={
                name.removeprefix(podman.LABEL): value
                for name, value in (entry["Labels"] or {}).items()
                if name.startswith(podman.LABEL)
            },
        )
    return found


class _Ends:
    """Tells the ends of containers, by the processes in them: the kernel says when one ends.

    podman's own ways take longer, and more of the processor: its events are polled each 250 ms where they are kept in
    a file, and `wait` waits for a process of podman's that cleans up.
    """

    def __init__(self, service: Service, on_end: Callable[[Ended], None]) -> None:
        self._service = service
        self._on_end = on_end
        self._new: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._selector = selectors.DefaultSelector()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, handle: str) -> None:
        self._new.put(handle)
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        self._new.put(None)
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        for key in [*self._selector.get_map().values()]:
            os.close(key.fd)
        self._selector.close()

    def _run(self) -> None:
        asked: dict[str, _Asked] = {}
        while True:
            for key, _ in self._selector.select(_pause(asked)):
                if key.fd == self._wake:
                    os.eventfd_read(self._wake)
                    continue
                self._selector.unregister(key.fd)
                os.close(key.fd)
                asked[key.data] = _Asked(since=time.monotonic(), over=True)
            while not self._new.empty():
                handle = self._new.get()
                if handle is None:
                    return
                asked[handle] = _Asked(since=time.monotonic())
            for handle, about in [*asked.items()]:
                ended = self._ask(handle, about)
                if ended is None:
                    continue
                del asked[handle]
                if isinstance(ended, Ended):
                    self._on_end(ended)

    def _ask(self, handle: str, about: _Asked) -> Ended | int | None:
        """How it ended; or what the kernel will tell its end by; None to ask again."""
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        try:
            inspected = self._service.call("get", f"/containers/{handle}/json")
        except ServiceError as fault:
            return Ended(handle=handle, ended=time.time()) if fault.status == 404 else None
        except OcicalibanError:
            return None
        state = inspected["State"]
        ended = ended_of(handle, state)
        if ended is not None:
            return ended
        fd = None if about.over else _process(state["Pid"], now)
        if fd is not None:
            self._selector.register(fd, selectors.EVENT_READ, handle)
            return fd
        if time.monotonic() - about.since > _PATIENCE and not _conmon_lives(inspected):
            return Ended(handle=handle, ended=time.time())  # it was killed, and with it what it knew
        return None


@frozen
class _Asked:
    """A container that has ended or never ran: since when that is so, and whether the kernel said so."""

    since: float
    over: bool = False


def _pause(asked: Mapping[str, _Asked]) -> float | None:
    """Seconds until it is asked again: soon at first, since conmon takes a few milliseconds."""
    if not asked:
        return None
    since = max(about.since for about in asked.values())
    return min(max((time.monotonic() - since) / 4, 0.002), 0.25)


def _process(pid: int, now: float) -> int | None:
    """A file descriptor that is readable once this process has ended; None if it has, or came after `now`."""
    if not pid:
        return None
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # Fields 3 and on come after the name, which may have spaces; the 22nd is the start, since boot (proc(5)).
            born = int(file.read().rpartition(b")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return fd  # it has just ended
    if born <= now:
        return fd
    os.close(fd)  # the number was given to another
    return None


def _conmon_lives(inspected: Mapping[str, Any]) -> bool:
    try:
        with open(inspected["ConmonPidFile"], encoding="ascii") as file:
            pid = int(file.read())
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            return str(inspected["Id"]) in file.read()
    except (OSError, ValueError, KeyError):
        return False


def _state(word: str, started: bool) -> State:
    """The state by podman's word for it, and whether it ever started.

    What ran when the machine went down is "created" to podman 4.3, and to 5 "exited" with the code 0; neither gives it
    a time of its end (libpod's resetContainerState).
    """
    return _STATES.get(word.lower(), "exited" if started else "created")


def ended_of(handle: str, state: Mapping[str, Any]) -> Ended | None:
    """The end of a container by the `State` of podman's inspect; None while it has none."""
    started, ended = _seconds(state["StartedAt"]), _seconds(state["FinishedAt"])
    if _state(state["Status"], started > 0) != "exited":
        return None
    known = ended > 0 and state["ExitCode"] >= 0
    return Ended(
        handle=handle,
        exit_code=state["ExitCode"] if known else None,
        oom_killed=bool(state.get("OOMKilled")),
        started=started,
        # podman notes the start after it, and the end is when conmon wrote it down.
        ended=max(started, ended) if known else time.time(),
    )


def _seconds(text: str) -> float:
    """A time of Go's, with up to nine digits of a second, in seconds since 1970."""
    head, _, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    zone = rest[len(digits) :] if rest else ""
    return datetime.fromisoformat(f"{head}.{(digits + '000000')[:6]}{zone}" if rest else head).timestamp()
