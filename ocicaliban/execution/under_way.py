"""What the runner knows of an attempt while it is under way."""

from __future__ import annotations

from typing import Literal

from attrs import define, field

from ocicaliban.model.job import Attempt, Job
from ocicaliban.system import kernel
from ocicaliban.targets.container_runner import ContainerExit


@define(kw_only=True, eq=False)
class UnderWay:
    """An attempt that is under way: whether its container was `started`, and by another process (`adopted`).

    `asked` is the signal that it should get, `result` its end once that is known. `oom_kills` counts what the kernel
    had killed for want of memory before it began.
    """

    job: Job
    attempt: Attempt
    started: bool = False
    adopted: bool = False
    asked: Literal["TERM", "KILL"] | None = None
    result: ContainerExit | None = None
    oom_kills: int = field(factory=kernel.oom_kills)

    @property
    def handle(self) -> str:
        """The name of its container."""
        return self.attempt.handle
