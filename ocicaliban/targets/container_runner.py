"""Where jobs run: what every target can do, and what it tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from attrs import field, frozen

from ocicaliban.errors import OcicalibanError
from ocicaliban.gpu.cdi import Device
from ocicaliban.model.job import Attempt, Job

State = Literal["created", "running", "exited"]


@frozen(kw_only=True)
class Ended:
    """The end of an attempt; times in seconds since 1970.

    `exit_code` is None where nobody knows it: the container is gone, or the machine went down while it ran.
    """

    handle: str
    exit_code: int | None = None
    oom_killed: bool = False
    started: float = 0.0
    ended: float = 0.0


@frozen(kw_only=True)
class Found:
    """An attempt as its target knows it; `exit_code`, `started` and `ended` are None where it cannot be known."""

    handle: str
    state: State
    exit_code: int | None = None
    started: float | None = None
    ended: float | None = None
    labels: Mapping[str, str] = field(factory=dict)


class NameTaken(OcicalibanError):
    """There is a container of that attempt already: it was started before, and is to be found, not started again."""


class ContainerRunner(Protocol):
    """What starts the attempts of one submission's jobs, and tells when they end."""

    def start(self, job: Job, attempt: Attempt, devices: tuple[Device, ...] = ()) -> None:
        """Start it, alone on these GPUs. Raises NameTaken, or OcicalibanError when it cannot be started."""

    def watch(self, handle: str) -> None:
        """Tell the end of an attempt that runs and was not started by this object."""

    def signal(self, handle: str, name: Literal["TERM", "KILL"]) -> bool:
        """Send it a signal; False if it does not run."""

    def remove(self, handle: str) -> None:
        """Let it go, once its result is recorded; one that is gone is no fault."""

    def find(self, **labels: str) -> Mapping[str, Found]:
        """The attempts with these labels, by their handles."""

    def close(self) -> None:
        """Tell of no more ends; what runs goes on."""
