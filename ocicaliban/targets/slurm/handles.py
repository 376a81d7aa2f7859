"""The names of attempts in the history: "17_3" is task 3 of array 17, "17_3.1" the same after one requeue. Pure."""

from __future__ import annotations

import re

from attrs import frozen

_NAME = re.compile(r"(\d+)_(\d+)(?:\.(\d+))?", re.A)


@frozen(kw_only=True)
class Handle:
    """A task of an array, and how often it was requeued before this attempt."""

    array: str
    index: int
    restarts: int = 0

    @property
    def task(self) -> str:
        """The task's name at Slurm."""
        return f"{self.array}_{self.index}"

    @property
    def name(self) -> str:
        """The attempt's name in the history."""
        return f"{self.task}.{self.restarts}" if self.restarts else self.task


def parse(name: str) -> Handle | None:
    """Return what a name says; None for another form."""
    match = _NAME.fullmatch(name)
    return Handle(array=match[1], index=int(match[2]), restarts=int(match[3] or 0)) if match else None
