"""What podman says of containers, and what that means."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ocicaliban.containers import conmon
from ocicaliban.targets.container_runner import ContainerState, ObservedContainer
from ocicaliban.targets.local import listing
from tests.folders import write


def seen(state: ContainerState, **more: Any) -> ObservedContainer:
    return ObservedContainer(handle="n", state=state, **more)


ENTRY = {
    "Id": "1d",
    "Names": ["n"],
    "State": "exited",
    "ExitCode": 3,
    "StartedAt": 100,
    "ExitedAt": 160,
    "Labels": None,
}
NEVER = -62135596800
GONE = 1 << 30  # more than a process's number can be


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ({}, seen("exited", exit_code=3, started=100, ended=160)),
        ({"State": "stopped"}, seen("exited", exit_code=3, started=100, ended=160)),
        ({"State": "running", "ExitCode": 0, "ExitedAt": NEVER}, seen("running", started=100)),
        ({"State": "configured", "ExitedAt": NEVER, "StartedAt": NEVER}, seen("created")),
        ({"State": "exited", "ExitCode": 0, "ExitedAt": NEVER}, seen("exited", started=100)),
        ({"State": "created", "ExitCode": 0, "ExitedAt": NEVER}, seen("exited", started=100)),
        ({"ExitCode": -1}, seen("exited", started=100, ended=160)),
        ({"State": "stopping", "ExitCode": 0, "ExitedAt": NEVER, "Pid": os.getpid()},
         seen("running", started=100)),
        ({"State": "stopping", "ExitCode": 0, "ExitedAt": NEVER, "Pid": GONE},
         seen("exited", started=100)),
        ({"Labels": {"ocicaliban.job": "k", "x": "y"}, "State": "Running"},
         seen("running", started=100, labels={"job": "k"})),
    ],
)  # fmt: skip
def test_what_podman_lists(entry: dict[str, Any], found: ObservedContainer) -> None:
    assert listing.observed([ENTRY | entry]) == {"n": found}


def test_a_start_of_which_podman_never_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = ENTRY | {"State": "created", "StartedAt": NEVER, "ExitedAt": NEVER}
    for pid, state in ((0, "created"), (5, "running")):
        monkeypatch.setattr(conmon, "running_process", lambda container, pid=pid: pid)
        assert listing.observed([entry])["n"].state == state


def test_an_end_of_which_podman_never_learnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    path = write(tmp_path / "libpod" / "tmp" / "exits", {"1d": "7\n"}) / "1d"
    os.utime(path, (5, 5))
    entry = ENTRY | {"State": "initialized", "StartedAt": NEVER, "ExitedAt": NEVER}
    assert listing.observed([entry]) == {"n": seen("exited", exit_code=7, ended=5)}


def test_no_containers() -> None:
    assert listing.observed(None) == listing.observed([]) == {}


STATE = {
    "Status": "exited", "ExitCode": 0, "OOMKilled": False,
    "StartedAt": "2026-11-24T02:22:38.958941489Z", "FinishedAt": "2026-11-24T03:22:39.9589+01:00",
}  # fmt: skip


def test_the_end_of_a_container() -> None:
    ended = listing.exit_of("n", STATE)
    assert ended is not None
    assert ended.exit_code == 0 and ended.ended - ended.started == pytest.approx(1.0, abs=1e-3)
    assert listing.exit_of("n", STATE | {"Status": "running"}) is None
    killed = listing.exit_of("n", STATE | {"ExitCode": 137, "OOMKilled": True})
    assert killed is not None and killed.oom_killed and killed.exit_code == 137


@pytest.mark.parametrize("status", ["exited", "created", "configured"])
def test_a_container_that_ran_when_the_machine_went_down_has_no_exit_code(status: str) -> None:
    ended = listing.exit_of("n", STATE | {"Status": status, "FinishedAt": "0001-01-01T00:00:00Z"})
    assert ended is not None and ended.exit_code is None


def test_no_container_ends_before_it_started() -> None:
    ended = listing.exit_of("n", STATE | {"FinishedAt": "2026-11-24T02:22:38.95Z"})
    assert ended is not None and ended.ended == ended.started and ended.exit_code == 0
