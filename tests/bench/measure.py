"""A measure, taking its samples in turns, and the result as a table; pure except for the samples."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Generic, Literal, TypeVar

from attrs import frozen
from rich.table import Table

Sample = Callable[[], float]
"""Does the work once and returns the seconds (or bytes) that it took, without those of its preparation."""

Bench = TypeVar("Bench")


@frozen(kw_only=True)
class Measure(Generic[Bench]):
    """What is measured, and its limit.

    `prepare` sets up and yields the samples: ours, and for the unit "times" the one that ours is divided by; leaving it
    removes what it made. `needs` lists the tools that it calls. `of` says what the samples return.
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
    """The seconds (or bytes: `of`) of every run: ours, and those that ours are compared to.

    `theirs` is empty if there is nothing to compare to.
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
        """The median of the runs that ours are compared to."""
        return statistics.median(self.theirs) if self.theirs else None

    @property
    def measured(self) -> float:
        """The number that the limit is for: a ratio of medians, or our median itself."""
        return self.median / self.their_median if self.their_median is not None else self.median

    @property
    def met(self) -> bool:
        """Whether it is within the limit."""
        return self.measured <= self.limit


def alternate(samples: Sequence[Sample], runs: int) -> tuple[tuple[float, ...], ...]:
    """Take the samples in turns (A B A B ...), so that a busy moment affects all, and return their values."""
    rounds = [tuple(sample() for sample in samples) for _ in range(runs)]
    return tuple(zip(*rounds, strict=True))


def take(measure: Measure[Bench], bench: Bench, runs: int = 0) -> Result:
    """Take a measure `runs` times, or as often as it says."""
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


SLOWER = 1.05
"""The limit of a comparison with another checkout: 5 % more than there."""


def compare(measure: Measure[Bench], bench: Bench, other: Bench, runs: int = 0) -> Result:
    """Take our sample of a measure here and in another bench in turns; the result is the ratio of the medians."""
    with measure.prepare(bench) as ours, measure.prepare(other) as theirs:
        here, there = alternate((ours[0], theirs[0]), runs or measure.runs)
    return Result(
        name=measure.name, what=measure.what, limit=SLOWER, unit="times", ours=here, theirs=there, of=measure.of
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
    """Return the results as a table for a terminal, those above their limit in red."""
    drawn = Table(*_HEADS)
    for result in results:
        drawn.add_row(*_cells(result), style="" if result.met else "red")
    return drawn


def markdown(results: Sequence[Result]) -> str:
    """Return the results as docs/benchmarks.md has them."""
    rows = [_HEADS, ("---", *["---:"] * (len(_HEADS) - 1)), *(_cells(result) for result in results)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def as_json(results: Sequence[Result]) -> str:
    """Return the results as JSON, with every run."""
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
