"""A service that schedules jobs, in memory: it loses answers, throttles, refuses, is late, and dies with its caller."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from attrs import define, evolve, field

from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.model.job import Status
from ocicaliban.targets import submit_once
from ocicaliban.targets.backend import Refused
from ocicaliban.targets.submit_once import CreateFault, Limits, ObservedJob
from tests.unit.targets.virtual_time import Killed, VirtualClock

Outcome = Literal[
    "accepted", "lost before", "lost after", "lost late", "throttled", "refused", "no answer", "nonsense"
]  # fmt: skip
"""What becomes of a request. `lost after`: the job is made, and the answer lost; `lost late`: it is made after that."""

LATEST = 2.0
"""Seconds by which a request may take effect after its answer was lost; another such time passes until it is listed."""


@define
class Made:
    """A job at the service."""

    key: str
    attempt: int
    group: str
    name: str
    listed: float
    state: str = "queued"
    status: Status = "pending"
    reason: str = ""
    started: float | None = None
    ended: float | None = None
    created: float = 0.0


@define
class FakeService:
    """What all processes see. The lists are used up from their beginnings; then all goes well."""

    clock: VirtualClock
    creates: list[Outcome] = field(factory=list)
    looks: list[Outcome] = field(factory=list)
    cancels: list[Outcome] = field(factory=list)
    latency: float = 0.1
    jobs: list[Made] = field(factory=list)
    sent: list[tuple[float, str]] = field(factory=list)
    asked: int = 0

    def make(self, key: str, attempt: int, group: str) -> Made:
        name = f"job/{len(self.jobs) + 1}"
        now = self.clock.monotonic()
        made = Made(
            key=key, attempt=attempt, group=group, name=name, listed=now + LATEST, created=self.clock.time()
        )  # fmt: skip
        self.jobs.append(made)
        return made

    def named(self, name: str) -> Made:
        return next(made for made in self.jobs if made.name == name)

    def listed(self) -> list[ObservedJob]:
        return [
            ObservedJob(
                key=each.key, attempt=each.attempt, name=each.name, state=each.state, status=each.status,
                reason=each.reason, created=each.created, started=each.started, ended=each.ended,
            )
            for each in self.jobs if each.listed <= self.clock.monotonic()
        ]  # fmt: skip


class Steps:
    """The steps of one process, which is killed before or after one of them."""

    def __init__(self, killed_at: int | None = None) -> None:
        self._left = killed_at
        self.dead = False

    def step(self) -> None:
        if self._left is not None and not self.dead:
            self._left -= 1
            self.dead = self._left < 0
        if self.dead:
            raise Killed


@define
class FakeClient:
    """One process's connection; a `targets.submit_once.Client`."""

    service: FakeService
    steps: Steps = field(factory=Steps)
    limits: Limits = field(factory=lambda: Limits(at_once=3))
    title: str = "the service"

    def patient(self, seconds: float) -> FakeClient:
        return evolve(self)

    def check(self) -> None:
        self._wait(self.service.looks)

    def message(self, body: Mapping[str, object]) -> object:
        if body.get("bad"):
            raise UsageError("bad")
        return body

    def _wait(self, outcomes: list[Outcome]) -> Outcome:
        """Wait for an answer; what becomes of the request."""
        self.steps.step()
        outcome = outcomes.pop(0) if outcomes else "accepted"
        self.service.clock.sleep(self.service.latency)
        return outcome

    def create(self, message: object) -> str:
        assert isinstance(message, dict)
        key, attempt, group = str(message["key"]), int(str(message["attempt"])), str(message["group"])
        self.service.sent.append((self.service.clock.monotonic(), key))
        outcome = self.service.creates.pop(0) if self.service.creates else "accepted"
        # What was sent takes effect whatever becomes of the process.
        self.steps.step()
        made: list[str] = []
        if outcome in ("accepted", "lost after"):
            made.append(self.service.make(key, attempt, group).name)
        elif outcome == "lost late":
            self.service.clock.start(lambda: self._late(key, attempt, group))
        self.service.clock.sleep(self.service.latency)
        self.steps.step()
        match outcome:
            case "accepted":
                return made[0]
            case "throttled":
                raise CreateFault("throttled", "too many requests")
            case "refused":
                raise CreateFault("refused", "no such machine")
            case "nonsense":
                raise ValueError("closed channel")
            case _:
                raise CreateFault("unclear", "unavailable")

    def _late(self, key: str, attempt: int, group: str) -> None:
        self.service.clock.sleep(self.service.latency + LATEST)
        self.service.make(key, attempt, group)

    def look(self, *groups: str) -> Sequence[ObservedJob]:
        return [each for each in self._looked() if self._group(each) in groups]

    def look_for(self, *keys: str) -> Sequence[ObservedJob]:
        return [each for each in self._looked() if each.key in keys] if keys else []

    def _group(self, seen: ObservedJob) -> str:
        return self.service.named(seen.name).group

    def _looked(self) -> list[ObservedJob]:
        self.service.asked += 1
        outcome = self._wait(self.service.looks)
        self.steps.step()
        if outcome == "refused":
            raise Refused("denied")
        if outcome != "accepted":
            raise OcicalibanError("no answer")
        return self.service.listed()

    def cancel(self, names: Sequence[str]) -> Mapping[str, str]:
        faults = {}
        for name in names:
            outcome = self._wait(self.service.cancels)
            made = next((each for each in self.service.jobs if each.name == name), None)
            if outcome == "no answer":
                raise OcicalibanError("no answer")
            if made is None:
                faults[name] = submit_once.unknown(self.title)
            elif outcome == "refused":
                faults[name] = "denied"
            elif made.ended is None:
                made.state, made.status, made.ended = "cancelled", "stopped", self.service.clock.time()
            self.steps.step()
        return faults

    def explain(self, fault: Exception, before: str) -> OcicalibanError:
        if isinstance(fault, CreateFault) and fault.verdict == "refused":
            return Refused(f"refused{before}: {fault}")
        return OcicalibanError(f"no answer{before}: {fault}", "try again")


def counts(made: Iterable[Made]) -> dict[tuple[str, int], int]:
    """How many jobs the service has of each attempt."""
    found: dict[tuple[str, int], int] = {}
    for each in made:
        found[each.key, each.attempt] = found.get((each.key, each.attempt), 0) + 1
    return found
