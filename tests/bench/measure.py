"""A measure, taking it by turns, and its result as a table; pure but for the samples themselves."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Generic, Literal, TypeVar

from attrs import frozen
from rich.table import Table

Sample = Callable[[], float]
"""Does the work once, what it needs beforehand not counted, and gives the seconds (or bytes) that it took."""

Bench = TypeVar("Bench")


@frozen(kw_only=True)
class Measure(Generic[Bench]):
    """Something measured (`of`: in what), and how much it may be.

    `prepare` sets up and gives the samples: ours, and for the unit "times" the one that it is divided by; leaving it
    removes what it made. `needs` are the tools without which it cannot be taken.
    """

    name: str
    what: str
    limit: float
    unit: Literal["times", "s", "s CPU"]
    runs: int
    prepare: Callable[[Bench], AbstractContextManager[Sequence[Sample]]]
    needs: tuple[str, ...] = ()
    of: Literal["seconds", "bytes"] = "seconds"


@frozen(kw_only=True)
class Result:
    """What was measured: the seconds (or bytes: `of`) of every run, ours and those that they are compared to.

    `theirs` is empty where there is nothing to compare to.
    """

    name: str
    what: str
    limit: float
    unit: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...] = ()
    of: str = "seconds"

    @property
    def median(self) -> float:
        """The median of ours."""
        return statistics.median(self.ours)

    @property
    def their_median(self) -> float | None:
        """The median of what ours are compared to."""
        return statistics.median(self.theirs) if self.theirs else None

    @property
    def measured(self) -> float:
        """The number that is held against the limit: a ratio of medians, or our median itself."""
        return self.median / self.their_median if self.their_median is not None else self.median

    @property
    def met(self) -> bool:
        """Whether the limit is kept."""
        return self.measured <= self.limit


def alternate(samples: Sequence[Sample], runs: int) -> tuple[tuple[float, ...], ...]:
    """The seconds of each sample, taken by turns (A B A B ...), so that a busy spell of the machine meets both."""
    rounds = [tuple(sample() for sample in samples) for _ in range(runs)]
    return tuple(zip(*rounds, strict=True))


def take(measure: Measure[Bench], bench: Bench, runs: int = 0) -> Result:
    """Measure it, `runs` times or as often as it asks for."""
    with measure.prepare(bench) as samples:
        seconds = alternate(samples, runs or measure.runs)
    ours, theirs = seconds if len(seconds) == 2 else (*seconds, ())
    return Result(
        name=measure.name,
        what=measure.what,
        limit=measure.limit,
        unit=measure.unit,
        ours=ours,
        theirs=theirs,
        of=measure.of,
    )


_HEADS = ("what", "limit", "measured", "median (s)", "compared to (s)", "runs")


def _amount(value: float, of: str) -> str:
    return f"{value / 1000:.1f} kB" if of == "bytes" else f"{value:.2f}"


def _cells(result: Result) -> tuple[str, ...]:
    theirs = "" if result.their_median is None else _amount(result.their_median, result.of)
    measured = f"{result.measured:.2f} {result.unit}"
    limit = f"{result.limit:g} {result.unit}"
    return (result.what, limit, measured, _amount(result.median, result.of), theirs, str(len(result.ours)))


def table(results: Sequence[Result]) -> Table:
    """The results for a terminal; what misses its limit is red."""
    drawn = Table(*_HEADS)
    for result in results:
        drawn.add_row(*_cells(result), style="" if result.met else "red")
    return drawn


def markdown(results: Sequence[Result]) -> str:
    """The results as the README's table."""
    rows = [_HEADS, ("---", *["---:"] * (len(_HEADS) - 1)), *(_cells(result) for result in results)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def as_json(results: Sequence[Result]) -> str:
    """The results with every run."""
    values = [
        {
            "name": result.name,
            "what": result.what,
            "limit": result.limit,
            "unit": result.unit,
            "of": result.of,
            "measured": result.measured,
            "met": result.met,
            "ours": result.ours,
            "theirs": result.theirs,
        }
        for result in results
    ]
    return json.dumps(values, indent=2)
