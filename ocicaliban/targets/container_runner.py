"""What starts the containers of a sweep's jobs, and what it reports about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from attrs import field, frozen

from ocicaliban.errors import OcicalibanError
from ocicaliban.gpu.cdi import Device
from ocicaliban.model.job import Attempt, Job

ContainerState = Literal["created", "running", "exited"]


@frozen(kw_only=True)
class ContainerExit:
    """The end of an attempt's container; times in seconds since 1970.

    `exit_code` is None if it is not known: the container is gone, or the machine went down while it ran.
    """

    handle: str
    exit_code: int | None = None
    oom_killed: bool = False
    started: float = 0.0
    ended: float = 0.0


@frozen(kw_only=True)
class ObservedContainer:
    """An attempt's container as it is now; `exit_code`, `started` and `ended` are None if they are not known."""

    handle: str
    state: ContainerState
    exit_code: int | None = None
    started: float | None = None
    ended: float | None = None
    labels: Mapping[str, str] = field(factory=dict)


class NameTaken(OcicalibanError):
    """The attempt's container exists: it was started before. Find it; do not start it again."""


class MachineFault(OcicalibanError):
    """The machine cannot start a container now: no space, no right to write, no podman. The job is not to blame."""


class ContainerRunner(Protocol):
    """Starts the attempts of one submission's jobs, and reports their ends."""

    def start(self, job: Job, attempt: Attempt, devices: tuple[Device, ...] = ()) -> None:
        """Start an attempt with these GPUs alone.

        Raises NameTaken, MachineFault, or OcicalibanError if the job
        cannot be started anywhere.
        """

    def watch(self, handle: str) -> None:
        """Report the end of an attempt that runs, and that another object has started."""

    def signal(self, handle: str, name: Literal["TERM", "KILL"]) -> bool:
        """Send a signal to an attempt. Return False if it does not run."""

    def remove(self, handle: str) -> None:
        """Remove what is left of an attempt whose result is recorded. If nothing is left, do nothing."""

    def find(self, **labels: str) -> Mapping[str, ObservedContainer]:
        """Return the attempts with these labels, by their handles."""

    def close(self) -> None:
        """Report no more ends. What runs goes on."""
