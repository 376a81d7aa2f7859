"""Jobs whose parameters are chosen when their turn comes, and those that are stopped since they are hopeless.

Choosing may take seconds, and reading curves too, so both happen in a thread of their own. What that thread finds is
handed to the runner's loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ocicaliban.errors import OcicalibanError, first_line, of_system
from ocicaliban.execution.under_way import UnderWay
from ocicaliban.jobs import lifecycle
from ocicaliban.model.job import Job, JobSpec

if TYPE_CHECKING:
    from ocicaliban.history.store import History

_PAUSE = 2.0  # seconds between two looks at the curves

Later = Callable[..., None]
"""Has the runner's loop call a function with arguments."""

Signal = Callable[[int, Literal["TERM", "KILL"]], None]
"""Sends a signal to a job under way."""


class PointSource(Protocol):
    """What knows the points of a search. The methods are called by one thread at a time."""

    def waits(self, job: Job) -> bool:
        """Return whether a job has no parameters yet."""

    def point(self, job: Job) -> JobSpec | None:
        """Return the parameters for a job; None if there is no point left. Raises OcicalibanError."""

    def hopeless(self, running: Sequence[Job]) -> Mapping[int, str]:
        """Return the jobs that cannot become good any more, with why. Raises OcicalibanError."""

    def note(self) -> str:
        """Return what the user must know now, once; "" for nothing. Raises OcicalibanError."""


class Points:
    """The points of a sweep that is a search; without a source, of any other one.

    `spared` is the number of jobs that it has stopped: hopeless ones, and those for which no point was left.
    """

    def __init__(self, source: PointSource | None, history: History, later: Later, say: Callable[[str], None]) -> None:
        self._source = source
        self._history = history
        self._later = later
        self._say = say
        self._thread = ThreadPoolExecutor(1, "points")
        self._looked = time.monotonic()
        self._looks = False
        self._told = False
        self.spared = 0
        self._hopeless: dict[int, float] = {}  # jobs that were asked to end, and until when

    def close(self) -> None:
        """Choose nothing more."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def choose(self, job: Job, chosen: Callable[[OcicalibanError | None], None]) -> bool:
        """Choose the parameters of a job that has none, and record them; return False for one that has some.

        The loop calls `chosen` then, with what prevented it. A job for which no point is left is stopped.
        """
        if self._source is None or not self._source.waits(job):
            return False

        def ended(future: Future[bool]) -> None:
            if not future.cancelled():
                fault = _fault(future, "no point can be chosen")
                self._later(self._chosen, not fault and future.result(), fault, chosen)

        self._thread.submit(self._choose, self._source, job).add_done_callback(ended)
        return True

    def _choose(self, source: PointSource, job: Job) -> bool:
        """Choose the parameters of a job; return whether it was stopped, since there are none."""
        spec = source.point(job)
        if spec is not None:
            # On record before it starts: whatever happens, nobody asks for this point again.
            self._history.assign(job.id, spec)
            return False
        # Only an attempt can have a reason.
        attempt = self._history.begin(job.id, started=time.time())
        return attempt is not None and self._history.end(
            job.id, attempt.number, "stopped", reason=lifecycle.NO_POINT, ended=time.time()
        )

    def _chosen(
        self, spared: bool, fault: OcicalibanError | None, chosen: Callable[[OcicalibanError | None], None]
    ) -> None:
        self.spared += spared
        chosen(fault)

    def look(self, under_way: Mapping[int, UnderWay], signal: Signal, grace: float) -> None:
        """Look from time to time which of the jobs under way are hopeless, and stop them.

        They get `signal` TERM, and KILL after `grace` seconds.
        """
        if self._source is None:
            return
        for number, until in [*self._hopeless.items()]:
            if number not in under_way:
                del self._hopeless[number]
            elif not under_way[number].result and time.monotonic() >= until:
                self._hopeless[number] = time.monotonic() + grace
                signal(number, "KILL")
        if self._looks or time.monotonic() - self._looked < _PAUSE:
            return
        self._looks = True
        running = [one.job for one in under_way.values() if one.started and not one.result]

        def ended(future: Future[Mapping[int, str]]) -> None:
            if future.cancelled():
                return
            fault = _fault(future, "the curves cannot be compared")
            for number, why in () if fault else future.result().items():
                self._later(self._stop, number, why, under_way, signal, grace)
            if fault and not self._told:  # the next look may be better
                self._told = True
                self._later(self._say, f"note: {fault.message}")
            self._looked, self._looks = time.monotonic(), False

        self._thread.submit(self._look, self._source, running).add_done_callback(ended)

    def _look(self, source: PointSource, running: Sequence[Job]) -> Mapping[int, str]:
        found = source.hopeless(running)
        if note := source.note():
            self._later(self._say, note)
        return found

    def _stop(self, number: int, why: str, under_way: Mapping[int, UnderWay], signal: Signal, grace: float) -> None:
        """Stop a job as `ocicaliban stop` does: first on record, so that its end is never taken for a failure."""
        one = under_way.get(number)
        if one is None or one.asked or one.result:
            return
        reason = f"{lifecycle.HOPELESS}{why}"
        if self._history.end(number, one.attempt.number, "stopped", reason=reason, ended=time.time()):
            self.spared += 1
            self._hopeless[number] = time.monotonic() + grace
            signal(number, "TERM")


def _fault(future: Future[Any], what: str) -> OcicalibanError | None:
    """Return what went wrong in a future that is done, as an error of ours, whatever a library has raised there."""
    fault = future.exception()
    if fault is None or isinstance(fault, OcicalibanError):
        return fault
    if isinstance(fault, OSError):
        return of_system(fault)
    return OcicalibanError(f"{what}: {type(fault).__name__}: {first_line(fault)}", "--search random goes on without it")
