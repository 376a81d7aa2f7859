"""Run podman: a container on our terminal, and the operations on containers and images that we need.

A run that is replayed imports only this module of the package, so it imports little itself.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ocicaliban.containers import cgroups
from ocicaliban.errors import OcicalibanError
from ocicaliban.system import process

UTF8 = {"LC_ALL": "C.UTF-8"}
"""The environment in which podman starts a container with a log: otherwise conmon accepts only ASCII paths.

podman passes LC_* on to conmon, but not LANG (configureConmonEnv in libpod).
"""


# --- a container on our terminal ---


def run(argv: tuple[str, ...], name: str, meanwhile: Callable[[], None] = lambda: None) -> int:
    """Run the container called `name` on our terminal, and call `meanwhile`; return the exit code of its script.

    Signals reach the container through `podman kill`: podman 4.3 returns 0 after it forwarded one itself. A second
    SIGTERM kills the container.
    """
    ended = threading.Event()
    try:
        return process.run_in_foreground(
            cgroups.in_cgroup2(argv), on_signal=_Signals(name, ended).forward, meanwhile=meanwhile
        )
    finally:
        ended.set()


def run_interactively(argv: tuple[str, ...], name: str, meanwhile: Callable[[], None] = lambda: None) -> int:
    """Call `meanwhile` and replace our process by the container called `name`; without a terminal act as `run`.

    podman 4.3 then loses the exit code of a shell that a signal ends. At a terminal that does not matter.
    """
    if all(terminal()):
        with contextlib.suppress(OSError, OcicalibanError):
            meanwhile()
        process.replace_process(cgroups.in_cgroup2(argv))
    return run(argv, name, meanwhile)


class _Signals:
    """Forwards signals to a container, which may not exist yet, until `ended` is set."""

    def __init__(self, name: str, ended: threading.Event) -> None:
        self._name = name
        self._ended = ended
        self._under_way: set[int] = set()
        self._terminated = False

    def forward(self, number: int) -> None:
        """Forward a signal without waiting; the same signal is ignored until the first one is delivered."""
        if number in self._under_way:
            return  # `timeout` sends each signal twice: to us and to our process group
        again = number == signal.SIGTERM and self._terminated
        self._terminated = self._terminated or number == signal.SIGTERM
        self._under_way.add(number)
        threading.Thread(target=self._deliver, args=(number, again), daemon=True).start()

    def _deliver(self, number: int, again: bool) -> None:
        word = "KILL" if again else signal.Signals(number).name
        while not (kill(self._name, word) or self._ended.wait(0.1)):
            pass
        self._under_way.discard(number)


def terminal() -> tuple[bool, bool]:
    """Return whether a container may read our stdin, and whether it gets a terminal: stdin and stdout are one.

    In the background, reading from a terminal would stop the process.
    """
    attended = process.has_terminal()
    return attended or not os.isatty(0), attended and os.isatty(1)


def new_key() -> str:
    """Return a unique key for a job."""
    return os.urandom(6).hex()


def container_name(given: tuple[str, ...] = (), key: str = "") -> str:
    """Return the name in podman's options `given`, or one made of the job's key, or else a new name."""
    for number, word in reversed([*enumerate(given)]):
        if word.startswith("--name="):
            return word.removeprefix("--name=")
        if word == "--name" and number + 1 < len(given):
            return given[number + 1]
    return f"ocicaliban-{key or new_key()}"


# --- containers ---


def start_detached(argv: tuple[str, ...], *, env: Mapping[str, str], doing: str) -> None:
    """Run a detached container with this command line; `doing` says in the error what failed."""
    process.run(cgroups.in_cgroup2(argv), env=env, whole=True, doing=doing)


def create(argv: tuple[str, ...], global_options: tuple[str, ...] = ()) -> None:
    """Create a container with a command line of `command_line.create_argv`."""
    process.run(cgroups.in_cgroup2((argv[0], *global_options, *argv[1:])))


def start(container: str, global_options: tuple[str, ...] = ()) -> None:
    """Start a container that was created."""
    process.run(cgroups.in_cgroup2(("podman", *global_options, "start", container)), env=UTF8)


def kill(container: str, signal_name: str) -> bool:
    """Send a signal; return whether it was delivered."""
    return process.ok(("podman", "kill", "--signal", signal_name, container))


def stop(containers: Sequence[str], *, grace: int) -> None:
    """Send SIGTERM, and SIGKILL after `grace` seconds, to all containers at once, and wait for them.

    It finishes even if we are interrupted. Raises ToolError if podman cannot stop all of them.
    """
    argv = ("podman", "stop", "--ignore", "--time", str(grace), *containers)
    process.run(argv, whole=True, doing="podman cannot stop all containers")


def remove(*containers: str, grace: int) -> None:
    """Remove containers; those that run get SIGTERM, and SIGKILL after `grace` seconds. Absent ones are ignored."""
    process.run(("podman", "rm", "--force", "--ignore", "--time", str(grace), *containers), whole=True)


def remove_at_once(container: str) -> bool:
    """Kill and remove a container; return whether it was removed."""
    return process.ok(("podman", "rm", "--force", "--time", "0", container))


def remove_ended(container: str) -> bool:
    """Remove a container unless it runs; return whether it was removed."""
    return process.ok(("podman", "rm", container))


def with_label(label: str) -> tuple[str, ...]:
    """Return the full ids of all containers with this label, `NAME` or `NAME=VALUE`, running or not."""
    argv = ("podman", "ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={label}")
    return tuple(process.run(argv).split())


def remove_labelled(label: str, *, grace: int) -> None:
    """Remove all containers with this label, as `remove` does; if podman cannot list them, do nothing."""
    listed = process.output(("podman", "ps", "--all", "--quiet", "--filter", f"label={label}")).split()
    if listed:
        remove(*listed, grace=grace)


def list_containers(labels: Sequence[str]) -> list[dict[str, Any]]:
    """Return what `podman ps` reports about the containers that have all of these labels, running or not."""
    import json

    filters = [word for label in labels for word in ("--filter", f"label={label}")]
    listed: list[dict[str, Any]] = json.loads(
        process.run(("podman", "ps", "--all", "--format", "json", *filters)) or "[]"
    )
    return listed


def inspect_containers(containers: Sequence[str]) -> list[dict[str, Any]]:
    """Return what `podman inspect` reports about those of the containers that still exist."""
    import json

    if not containers:
        return []
    # For a container that was just removed podman reports an error, but it describes the others nevertheless.
    found: list[dict[str, Any]] = json.loads(
        process.output(("podman", "inspect", "--type", "container", *containers)) or "[]"
    )
    return found


def exit_code(container: str) -> str:
    """Return a container's exit code in digits, or "" if the container does not exist."""
    return process.output(("podman", "inspect", "--format", "{{.State.ExitCode}}", container)).strip()


def logs(container: str) -> str:
    """Return what a container has written to stdout and stderr."""
    return process.output(("podman", "logs", container), errors=True).strip()


@contextlib.contextmanager
def waiting_for(container: str) -> Iterator[Callable[[float | None], bool]]:
    """Wait for a container to end; the yielded function waits so many seconds and returns whether it has ended."""
    from ocicaliban.system import background  # late: a replay does not need it

    with background.waiting(("podman", "wait", container)) as ended:
        yield ended


# --- images and podman itself ---


def image_id(name: str) -> str:
    """Return the id of the local image with this name or id, or "" if there is none."""
    return process.output(("podman", "image", "inspect", "--format", "{{.Id}}", name)).strip()


def image_exists(name: str) -> bool:
    """Return whether the local store has an image with this name or id."""
    return process.ok(("podman", "image", "exists", name))


def save_layout(image: str, layout: Path, *, doing: str) -> None:
    """Write an image into the OCI layout `layout`, with layers that are not compressed, unlike buildah.

    A layer that the layout already has, named by its diff id, is not written.
    """
    argv = ("podman", "save", "--quiet", "--format", "oci-dir", "--uncompressed", "--output", str(layout), image)
    process.run(argv, doing=doing)


def remove_image(name: str) -> bool:
    """Remove a name of an image, and with its last name the image; return whether that succeeded."""
    return process.ok(("podman", "image", "rm", name))


def pull(image: str, log: Path, *, tls_verify: bool = True) -> int:
    """Pull an image, with podman's messages appended to the file `log`; return podman's exit code."""
    return process.run_logged(
        ("podman", "pull", "--quiet", *(() if tls_verify else ("--tls-verify=false",)), image), log
    )


@functools.cache
def version() -> tuple[int, ...]:
    """Return the installed podman's version, such as (4, 3, 1); raises OcicalibanError if podman is not installed."""
    words = process.run(("podman", "--version")).split()
    return tuple(int(part) for part in words[-1].split(".")[:3] if part.isdigit())


def cgroup_controllers() -> tuple[str, ...]:
    """Return the cgroup controllers that can limit this user's containers; empty with cgroups v1."""
    words = "{{.Host.CgroupsVersion}} {{range .Host.CgroupControllers}}{{.}} {{end}}"
    cgroups_version, *controllers = process.run(cgroups.in_cgroup2(("podman", "info", "--format", words))).split()
    return tuple(controllers) if cgroups_version == "v2" else ()


def store_location() -> tuple[Path, str]:
    """Return the graph root and the driver of podman's image store."""
    root, driver = process.run(
        ("podman", "info", "--format", "{{.Store.GraphRoot}}\n{{.Store.GraphDriverName}}"),
        doing="podman cannot open its image store",
    ).splitlines()
    return Path(root), driver


def api_service_argv(socket: Path, idle: int) -> tuple[str, ...]:
    """Return the command of an API service on this socket that ends after `idle` seconds without a connection."""
    return cgroups.in_cgroup2(("podman", "system", "service", f"--time={idle}", f"unix://{socket}"))
