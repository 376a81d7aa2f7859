"""Jobs whose parameters are chosen when their turn comes, and those that are stopped since they are hopeless.

Choosing may take seconds, and reading curves too, so both happen in a thread of their own. What that thread finds is
handed to the runner's loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal, Protocol

from ocicaliban.errors import OcicalibanError, of_system
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


class Points:
    """The points of a sweep that is a search; without a source, of any other one.

    `spared` is the number of jobs that it has stopped: hopeless ones, and those for which no point was left.
    """

    def __init__(self, source: PointSource | None, history: History, later: Later) -> None:
        self._source = source
        self._history = history
        self._later = later
        self._thread = ThreadPoolExecutor(1, "points")
        self._looked = time.monotonic()
        self._looks = False
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
        self._thread.submit(self._choose, job, chosen)
        return True

    def _choose(self, job: Job, chosen: Callable[[OcicalibanError | None], None]) -> None:
        assert self._source is not None
        fault: OcicalibanError | None = None
        try:
            spec = self._source.point(job)
            if spec is None:
                self.spared += len(self._history.stop_queued([job.id]))
            else:
                # On record before it starts: whatever happens, nobody asks for this point again.
                self._history.assign(job.id, spec)
        except OcicalibanError as exc:
            fault = exc
        except OSError as exc:
            fault = of_system(exc)
        self._later(chosen, fault)

    def look(self, under_way: Mapping[int, UnderWay], signal: Signal, grace: float) -> None:
        """Look from time to time which of the jobs under way are hopeless, and stop them.

        They get `signal` TERM, and KILL after `grace` seconds.
        """
        if self._source is None:
            return
        for number, until in [*self._hopeless.items()]:
            if number not in under_way:
                del self._hopeless[number]
            elif time.monotonic() >= until:
                self._hopeless[number] = time.monotonic() + grace
                signal(number, "KILL")
        if self._looks or time.monotonic() - self._looked < _PAUSE:
            return
        self._looks = True
        running = [one.job for one in under_way.values() if one.started]
        self._thread.submit(self._look, running, lambda number, why: self._stop(number, why, under_way, signal, grace))

    def _look(self, running: Sequence[Job], stop: Callable[[int, str], None]) -> None:
        assert self._source is not None
        try:
            for number, why in self._source.hopeless(running).items():
                self._later(stop, number, why)
        except (OcicalibanError, OSError):
            pass  # results that cannot be read now; the next look may
        finally:
            self._looked, self._looks = time.monotonic(), False

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
