"""The container of a job on this machine: for podman's API, and for its command line (pure)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from ocicaliban.containers import command_line, versions
from ocicaliban.containers.versions import Version
from ocicaliban.errors import UsageError
from ocicaliban.gpu.cdi import Device
from ocicaliban.jobs import job_variables, log_file, log_parts, single_run
from ocicaliban.model.image import Launch
from ocicaliban.model.job import Attempt, Job
from ocicaliban.model.resources import Mount, Resources, parse_mount

OUT = "/out"
"""Where a job finds its results folder."""


@frozen(kw_only=True)
class JobContainer:
    """The container of one attempt at a job.

    `image` is an id; `device_options` are podman's options for the GPUs, `log_limit` the largest log in bytes (0: any).
    `shm` is the size of /dev/shm in bytes (0: podman's).
    """

    image: str
    launch: Launch
    args: tuple[str, ...]
    attempt: Attempt
    labels: Mapping[str, str] = field(factory=dict)
    device_options: tuple[str, ...] = ()
    resources: Resources = field(factory=Resources)
    log_limit: int = log_parts.LIMIT
    shm: int = 0


def for_job(launch: Launch, job: Job, *, port: int = 0, parameters_file: str = "") -> Launch:
    """Return how a job of a submission starts: with its results folder, and variables that describe the job.

    `port` is one that is free for it. `parameters_file` has its parameters, if they are too long for a variable.
    """
    mounts = [f"{os.path.abspath(job.out)}:{OUT}"] if job.out else []
    if parameters_file:
        mounts.append(f"{os.path.abspath(parameters_file)}:{job_variables.PARAMETERS}:ro")
    own = job_variables.of_job(job, in_file=bool(parameters_file))
    return evolve(
        launch,
        env=(*launch.env, *own, *single_run.port_environment(port)),
        mounts=(*launch.mounts, *mounts),
    )


_MOUNTS_OUT = re.compile(rf"(?::|(?:target|dst|destination)=){OUT}/*(?:[:,]|$)")


def has_own_out(launch: Launch, given: tuple[str, ...]) -> bool:
    """Return whether a recipe, or the user's options for podman, mount something of their own at /out."""
    return any(_MOUNTS_OUT.search(text) for text in (*launch.mounts, *given))


_HOME = "/root"
_CACHES = f"{_HOME}/.cache"
_MOUNTS_CACHES = re.compile(rf"(?::|(?:target|dst|destination)=){_HOME}(?:/\.cache)?/*(?:[:,]|$)")


def caches_mount(launch: Launch, given: tuple[str, ...], folder: Path) -> str:
    """Return the mount by which a container keeps its ~/.cache in a folder; "" if its home is another one's matter.

    `given` are options for podman.
    """
    if any(_MOUNTS_CACHES.search(text) for text in (*launch.mounts, *given)):
        return ""
    homes = [word for word in given if word.startswith(("HOME=", "--env=HOME="))]
    if homes or any(name == "HOME" for name, _ in launch.env):
        return ""
    return f"{folder}:{_CACHES}"


def job_options(job: Job, *, port: int = 0, parameters_file: str = "") -> tuple[str, ...]:
    """Return podman's options for what `for_job` adds to a launch."""
    own = for_job(Launch(), job, port=port, parameters_file=parameters_file)
    words = [word for name, value in own.env for word in ("--env", f"{name}={value}")]
    return *words, *(word for mount in own.mounts for word in command_line.mount_option(mount))


def labels_of(job: Job, attempt: Attempt, devices: tuple[Device, ...] = ()) -> dict[str, str]:
    """Return the labels that identify an attempt's container, and that say which GPUs it has."""
    shared = job.submission.options.get("share_gpus") is True
    return {
        **({command_line.DEVICES: ",".join(device.qualified for device in devices)} if devices else {}),
        **({command_line.SHARED: "true"} if devices and shared else {}),
        command_line.JOB: job.key,
        f"{command_line.LABEL}attempt": str(attempt.number),
        f"{command_line.LABEL}group": job.submission.group,
        f"{command_line.LABEL}submission": str(job.submission.id),
    }


def terminal_options(job: Job, attempt: Attempt, devices: tuple[Device, ...] = (), *, port: int = 0) -> tuple[str, ...]:
    """Return podman's options for a job at a terminal, with these GPUs: its labels, variables and results folder."""
    return *command_line.label_options(labels_of(job, attempt, devices)), *job_options(job, port=port)


def check_resources(resources: Resources, controllers: Callable[[], Iterable[str]]) -> None:
    """Raise UsageError if this user's cgroups cannot enforce a limit; podman itself ignores such a limit silently."""
    needed = {"cpu": resources.cpus is not None, "memory": resources.memory is not None}
    if not any(needed.values()):
        return
    there = set(controllers())
    missing = [name for name, wanted in needed.items() if wanted and name not in there]
    if missing:
        option = {"cpu": "--cpus", "memory": "--memory"}[missing[0]]
        raise UsageError(
            f"{option} has no effect on this machine: your cgroups have no controller '{missing[0]}'",
            "leave it out, or use cgroups v2 and delegate that controller to users (systemd: Delegate=cpu memory "
            "for user@.service)",
        )


_OURS = {"--name", "--rm", "--replace", "--restart", "--log-driver", "--log-opt", "--pull", "-d", "--detach"}


def check_given(given: tuple[str, ...]) -> None:
    """Raise UsageError for a user's option for podman that would run a job twice, or lose its result or log."""
    for word in given:
        option = word.partition("=")[0]
        if option in _OURS:
            hint = "leave it out: ocicaliban names, logs and removes the containers of a group's jobs itself"
            raise UsageError(f"--podman-args: {option} cannot be given to a job of a group", hint)


def api_spec(container: JobContainer, environ: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the body of the libpod API's `containers/create` that means what `command_line.create_argv` does.

    Return None if a mount or a device needs the command line. Ports are left out: containers use the host's network,
    and podman would discard them.
    """
    mounts = _api_mounts(container.launch.mounts)
    devices = _api_devices(container.device_options)
    if mounts is None or devices is None:
        return None
    launch, attempt = container.launch, container.attempt
    overlays = [{"source": mount.source, "destination": mount.target} for mount in mounts if _OVERLAY in mount.options]
    spec: dict[str, Any] = {
        "name": attempt.handle,
        "image": container.image,
        "init": True,
        "netns": {"nsmode": "host"},
        # The service may run in another environment, with other settings.
        "env": {name: environ[name] for name in _PROXIES if name in environ} | dict(launch.env),
        "httpproxy": False,
        "timezone": "local",
        "labels": dict(container.labels),
        "log_configuration": {
            "driver": "k8s-file",
            "path": str(log_file.raw(os.path.abspath(attempt.log))),
            "size": log_parts.conmon_limit(container.log_limit),
        },
        "mounts": [
            {"type": "bind", "source": mount.source, "destination": mount.target, "options": list(mount.options)}
            for mount in mounts
            if _OVERLAY not in mount.options
        ],
        "command": [*launch.command[1:], *container.args],
        "cap_drop": [] if "ALL" in launch.capabilities else ["all"],
        "cap_add": [*launch.capabilities],
        "no_new_privileges": True,
    }
    if overlays:
        spec["overlay_volumes"] = overlays
    if launch.command:
        spec["entrypoint"] = [launch.command[0]]
    if launch.workdir:
        spec["work_dir"] = launch.workdir
    if devices:
        spec["devices"] = [{"path": name} for name in devices]
    if container.shm:
        spec["shm_size"] = container.shm
    if container.resources.limited:
        spec["resource_limits"] = _api_resources(container.resources)
    return spec


_OVERLAY = "O"
"""podman's option for a mount with an overlay above it, which takes what the container writes and ends with it."""


def _api_mounts(texts: Iterable[str]) -> list[Mount] | None:
    """Return the mounts; None if the API cannot express one, such as a volume or podman's option `U`."""
    mounts = []
    for text in texts:
        mount = parse_mount(text)
        if mount is None or not os.path.isabs(mount.source):
            return None
        if mount.options != (_OVERLAY,) and not {*mount.options} <= {"ro", "rw"}:
            return None
        mounts.append(mount)
    return mounts


def _api_devices(options: tuple[str, ...]) -> list[str] | None:
    """Return the CDI names of the devices; None if the options say more than the API can express."""
    pairs = [*zip(options[::2], options[1::2], strict=True)]
    if any(option != "--device" or "=" not in value for option, value in pairs):
        return None
    return [value for _, value in pairs]


_PERIOD = 100_000


def _api_resources(resources: Resources) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if resources.cpus is not None:
        found["cpu"] = {"period": _PERIOD, "quota": round(resources.cpus * _PERIOD)}
    if resources.memory is not None:
        found["memory"] = {"limit": resources.memory, "swap": resources.memory}
    return found


_PROXIES = tuple(
    name for lower in ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy") for name in (lower, lower.upper())
)


def create_options(container: JobContainer, podman: Version) -> tuple[str, ...]:
    """Return what `api_spec` says beside the launch, as options of `podman create` of this version."""
    size = log_parts.conmon_limit(container.log_limit)
    path = f"path={log_file.raw(os.path.abspath(container.attempt.log))}"
    if versions.log_option_is_csv(podman):
        path = command_line.csv_record(path)
    return (
        *command_line.label_options(container.labels),
        *(
            "--log-driver",
            "k8s-file",
            "--log-opt",
            path,
            "--log-opt",
            f"max-size={size}",
        ),
        *command_line.resource_options(container.resources),
        *command_line.shared_memory_options(container.shm),
        *container.device_options,
    )
