"""Submissions, jobs and attempts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import field, frozen

from ocicaliban.model.image import Launch

Scalar = str | int | float | bool
"""The value of a parameter, as a sweep file has it."""


class WrittenNumber(float):
    """A number that is passed on as a person wrote it: 1e-3, not 0.001. JSON has it as any other number."""

    def __new__(cls, text: str) -> WrittenNumber:
        """Return the number in a text. Raises ValueError if there is none."""
        number = super().__new__(cls, text)
        number.text = text
        return number

    text: str

    def __str__(self) -> str:
        """Return the text."""
        return self.text

    __repr__ = __str__

    def __reduce__(self) -> tuple[type[WrittenNumber], tuple[str]]:
        """Return what makes a copy."""
        return type(self), (self.text,)


class WrittenList(str):
    """A list that is one value, as Python writes it."""

    __slots__ = ()


Parameters = tuple[tuple[str, Scalar], ...]
"""The parameters of one job, in the order of the arguments that pass them to its script."""


Status = Literal["queued", "pending", "running", "succeeded", "failed", "stopped", "lost"]
"""What has become of a job or of one attempt at it.

A `pending` one was accepted by its backend, and does not run yet. A `lost` one vanished without a result.
"""


UnderWay = Literal["pending", "running"]
"""The statuses of an attempt that has not ended."""


UNDER_WAY: frozenset[Status] = frozenset({"pending", "running"})
"""The statuses of an attempt that has not ended, and of its job."""


ENDED: frozenset[Status] = frozenset({"succeeded", "failed", "stopped", "lost"})
"""The statuses that only a new attempt changes."""


def under_way(counts: Mapping[Status, int]) -> int:
    """Return how many jobs are pending or running, of the number of jobs with each status."""
    return counts["pending"] + counts["running"]


@frozen(kw_only=True)
class JobSpec:
    """A job to submit: its parameters, and all arguments of its script, which end with those of the parameters."""

    parameters: Parameters = ()
    args: tuple[str, ...] = ()


@frozen(kw_only=True)
class Submission:
    """What the jobs of one command (`run`, `cloud`, ...) have in common.

    `launch` says how they start. `options` are those of the command that are needed to run the jobs again, in the
    format of `jobs.records`. Neither has a secret value. `commit` is git's HEAD in the project's folder, and `dirty`
    whether files there differed from it. `created` is in seconds since 1970.
    """

    id: int = 0
    group: str
    user: str
    host: str
    target: str
    project: str
    mode: str
    module: str = ""
    image: str = ""
    plan_key: str = ""
    commit: str = ""
    dirty: bool = False
    launch: Launch = field(factory=Launch)
    options: dict[str, object] = field(factory=dict)
    created: float = 0.0


@frozen(kw_only=True)
class Attempt:
    """One attempt at a job: the name of its container (or its name at the backend), its log, what became of it.

    Times are in seconds since 1970. `reason` says why it ended. While it is under way, `backend_state` is the backend's
    own word for its state ("queued", "cancelling"); "" where that says no more than the status.
    """

    number: int
    handle: str
    status: Status = "running"
    started: float = 0.0
    ended: float | None = None
    exit_code: int | None = None
    reason: str = ""
    log: str = ""
    backend_state: str = ""


@frozen(kw_only=True)
class Job:
    """One job of the history. No other job, on any machine, has the same `key`."""

    id: int
    key: str
    submission: Submission
    parameters: Parameters = ()
    args: tuple[str, ...] = ()
    status: Status = "queued"
    out: str = ""
    attempts: tuple[Attempt, ...] = ()

    @property
    def last(self) -> Attempt | None:
        """The newest attempt; None before the first one."""
        return self.attempts[-1] if self.attempts else None
