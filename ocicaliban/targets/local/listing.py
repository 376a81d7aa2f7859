"""What podman says about the containers of jobs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from ocicaliban.containers import command_line, conmon, podman
from ocicaliban.targets.container_runner import ContainerExit, ContainerState, ObservedContainer

_STATES: Mapping[str, ContainerState] = {
    "running": "running",
    "paused": "running",
    "stopping": "running",
    "stopped": "exited",
    "exited": "exited",
    "removing": "exited",
}


def find(**labels: str) -> Mapping[str, ObservedContainer]:
    """Return the containers with these labels (`job`, `group`, `submission`, ...; "" means any value), by name.

    This uses podman's command line, which is faster than its API for a single question.
    """
    return observed(podman.list_containers(label_filters(labels)))


def label_filters(labels: Mapping[str, str]) -> list[str]:
    """Return podman's filters for our labels."""
    return [
        f"{command_line.LABEL}{name}={value}" if value else f"{command_line.LABEL}{name}"
        for name, value in labels.items()
    ]


def observed(listed: Iterable[Mapping[str, Any]] | None) -> dict[str, ObservedContainer]:
    """Return podman's list of containers, which its API and `podman ps` give alike, by name."""
    found = {}
    for entry in listed or ():
        started, ended = (seconds if seconds > 0 else None for seconds in (entry["StartedAt"], entry["ExitedAt"]))
        state = _state(entry["State"], started is not None)
        if entry["State"] == "stopping" and not os.path.exists(f"/proc/{entry['Pid']}"):
            state = "exited"  # conmon was killed with it, so podman never learns of the end (see `user_namespace`)
        if state == "created" and (written := conmon.written_exit(entry["Id"])):
            found[entry["Names"][0]] = _ended_unnoticed(entry, written)
            continue
        if state == "created" and conmon.running_process(entry["Id"]):
            state = "running"  # podman was killed before it could save the start
        known = state == "exited" and ended is not None and entry["ExitCode"] >= 0
        handle = entry["Names"][0]
        found[handle] = ObservedContainer(
            handle=handle,
            state=state,
            exit_code=entry["ExitCode"] if known else None,
            started=started,
            ended=ended if state == "exited" else None,
            labels=_labels(entry),
        )
    return found


def _ended_unnoticed(entry: Mapping[str, Any], written: conmon.WrittenExit) -> ObservedContainer:
    """Return a container that podman takes for one that never began, and that has ended."""
    return ObservedContainer(
        handle=entry["Names"][0],
        state="exited",
        exit_code=written.code,
        ended=written.time,
        labels=_labels(entry),
    )


def _labels(entry: Mapping[str, Any]) -> dict[str, str]:
    return {
        name.removeprefix(command_line.LABEL): value
        for name, value in (entry["Labels"] or {}).items()
        if name.startswith(command_line.LABEL)
    }


def exit_of(handle: str, state: Mapping[str, Any]) -> ContainerExit | None:
    """Return the end of a container by the `State` of `podman inspect`; None if it has not ended."""
    started, ended = _seconds(state["StartedAt"]), _seconds(state["FinishedAt"])
    if _state(state["Status"], started > 0) != "exited":
        return None
    known = ended > 0 and state["ExitCode"] >= 0
    return ContainerExit(
        handle=handle,
        exit_code=state["ExitCode"] if known else None,
        oom_killed=bool(state.get("OOMKilled")),
        started=started,
        # podman notes the start after it has happened; conmon notes the end.
        ended=max(started, ended) if known else time.time(),
    )


def _state(word: str, started: bool) -> ContainerState:
    """Return the state by podman's word for it, and by whether the container ever started.

    A container that ran when the machine went down is "created" to podman 4.3, and "exited" with the code 0 to
    podman 5. Neither gives it a time of its end (libpod's resetContainerState).
    """
    return _STATES.get(word.lower(), "exited" if started else "created")


def _seconds(text: str) -> float:
    """Return one of Go's times, with up to nine digits of a second, in seconds since 1970."""
    head, _, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    zone = rest[len(digits) :] if rest else ""
    return datetime.fromisoformat(f"{head}.{(digits + '000000')[:6]}{zone}" if rest else head).timestamp()
