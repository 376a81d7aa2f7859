"""Write podman's command lines for containers (pure)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

from attrs import frozen

from ocicaliban.model.image import Image, Launch
from ocicaliban.model.resources import Resources, parse_mount

LABEL = "ocicaliban."
"""The prefix of our containers' labels."""

JOB = f"{LABEL}job"
"""The label with a job's key."""

DEVICES = f"{LABEL}devices"
"""The label with the GPUs of a container."""

SHARED = f"{LABEL}shared"
"""The label of a container whose GPUs others may use (--share-gpus)."""

SESSION = f"{LABEL}session"
"""The label of the container of a shell or a notebook that has GPUs; its value is the name of the command."""


@frozen(kw_only=True)
class ContainerOptions:
    """The options of one container.

    `name` is the container's; `extra` are more options for podman; `entrypoint` replaces the launch's command;
    `terminal` is whether the container may read stdin, and whether it has a terminal.
    """

    name: str
    extra: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    terminal: tuple[bool, bool] = (False, False)


def run_argv(
    image: Image, launch: Launch, args: tuple[str, ...], options: ContainerOptions, *, detached: bool = False
) -> tuple[str, ...]:
    """Return the command that runs a container; a `detached` one continues alone, and is kept with its log at its end.

    The container gets an init process, because the kernel delivers no SIGTERM to a PID 1 that does not handle it.
    """
    verb = ("podman", "run", "--detach" if detached else "--rm")
    tty: list[str] = []
    if options.terminal[0]:
        tty.append("-i")
    if all(options.terminal):
        # Programs choose their colours by these variables; podman omits those that are not set.
        tty += ["-t", "--env", "TERM", "--env", "COLORTERM", "--env", "NO_COLOR"]
    return *verb, *_container(image.id, launch, args, options, tuple(tty))


def create_argv(image: str, launch: Launch, args: tuple[str, ...], options: ContainerOptions) -> tuple[str, ...]:
    """Return the command that creates a container of the image with this id, as `run_argv` does, but does not start it.

    The container has no terminal.
    """
    return "podman", "create", *_container(image, launch, args, options, ())


def _container(
    image: str, launch: Launch, args: tuple[str, ...], options: ContainerOptions, tty: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the words after the verb: podman's options, the image and its arguments."""
    # With the host's network, podman publishes no port.
    network = () if "--publish" in options.extra else ("--network", "host")
    argv = ["--init", "--pull=never", "--name", options.name, *network]
    argv += [*confining_options(launch.capabilities, options.extra), "--tz", "local", *tty]
    for key, value in launch.env:
        argv += ["--env", f"{key}={value}"]
    for mount in launch.mounts:
        argv += mount_option(mount)
    for port in launch.ports:
        argv += ["-p", port]
    if launch.workdir:
        argv += ["--workdir", launch.workdir]
    argv += options.extra
    command = options.entrypoint or launch.command
    if command:
        argv += ["--entrypoint", command[0]]
        return (*argv, image, *command[1:], *args)
    return (*argv, image, *args)


_PRIVILEGED = {"--privileged", *(f"--privileged={yes}" for yes in ("1", "t", "T", "TRUE", "true", "True"))}


def confining_options(capabilities: Iterable[str], given: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return podman's options that leave root in a container these capabilities alone, and no program that gives more.

    A container that is privileged by the options that the user has `given` stays so.
    """
    if _PRIVILEGED & {*given}:
        return ()
    asked = [word.removeprefix("--cap-add=") for word in given if word.startswith("--cap-add=")]
    asked += [value for option, value in itertools.pairwise(given) if option == "--cap-add"]
    # podman cannot take all of them and give all of them.
    every = "ALL" in {*capabilities, *(name.upper() for text in asked for name in text.split(","))}
    dropped = () if every else ("--cap-drop", "all")
    added = (word for name in capabilities for word in ("--cap-add", name))
    return *dropped, *added, "--security-opt", "no-new-privileges"


def shared_memory_options(size: int) -> tuple[str, ...]:
    """Return podman's options for a /dev/shm of so many bytes; none for 0."""
    return ("--shm-size", f"{size}b") if size else ()


def bare_run_argv(name: str, image: str, options: tuple[str, ...] = (), args: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the command that runs a container with these options alone, and removes it at its end."""
    return "podman", "run", "--rm", "--pull=never", "--name", name, *options, image, *args


def label_options(labels: Mapping[str, str]) -> tuple[str, ...]:
    """Return podman's options that give a container these labels."""
    return tuple(word for name, value in labels.items() for word in ("--label", f"{name}={value}"))


def log_options(log: str) -> tuple[str, ...]:
    """Return podman's options that make conmon write what the container prints into a file, beside the terminal.

    When the file is full, conmon begins a new one in its place. It returns none for a path that conmon may not take.
    """
    if not log.isascii() or _QUOTED & {*log}:
        return ()
    return "--log-driver", "k8s-file", "--log-opt", f"path={log}", "--log-opt", f"max-size={_LARGEST_LOG}"


_LARGEST_LOG = 1 << 30
"""Bytes, as of a sweep's jobs."""


_QUOTED = {'"', ",", "\n", "\r"}


def mount_option(mount: str) -> tuple[str, ...]:
    """Return podman's option for a mount `SOURCE:TARGET[:OPTIONS]`; -v takes no source that contains a colon."""
    parsed = parse_mount(mount)
    if parsed is None or ":" not in parsed.source:
        return "-v", mount
    words = ["type=bind", f"source={parsed.source}", f"target={parsed.target}"]
    if parsed.readonly:
        words.append("readonly")
    return "--mount", csv_record(*words)


def csv_record(*words: str) -> str:
    """Return the words as a CSV record, which is how podman reads some of its options."""
    return ",".join('"' + word.replace('"', '""') + '"' if _QUOTED & {*word} else word for word in words)


def resource_options(resources: Resources) -> tuple[str, ...]:
    """Return podman's options that limit a container to these resources; it gets no swap beside its memory."""
    options: tuple[str, ...] = ("--cpus", f"{resources.cpus:g}") if resources.cpus is not None else ()
    if resources.memory is not None:
        options += ("--memory", str(resources.memory), "--memory-swap", str(resources.memory))
    return options
