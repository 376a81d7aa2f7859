"""What a search knows of its jobs: the goal, what each trial has reached, and which one is hopeless. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from attrs import frozen

from ocicaliban.errors import UsageError
from ocicaliban.model.job import Parameters
from ocicaliban.reports import objective
from ocicaliban.reports.metrics import Curve, Metrics
from ocicaliban.reports.objective import Better
from ocicaliban.reports.values import as_number

STARTUP = 4
"""So many trials must have ended before one is stopped as hopeless."""
_WARMUP = 3
"""So many points a curve must have before its trial is stopped."""


@frozen(kw_only=True)
class Goal:
    """What a search looks for: the highest or the lowest value of a metric."""

    metric: str
    better: Better

    def is_better(self, one: float, other: float) -> bool:
        """Return whether one value is better than another."""
        return one > other if self.better == "highest" else one < other

    def best(self, values: Iterable[float]) -> float:
        """Return the best of some values, of which there is at least one."""
        return max(values) if self.better == "highest" else min(values)


_WAYS: Mapping[str, Better] = {"max": "highest", "min": "lowest"}


def goal(text: str) -> Goal:
    """Return the goal that a user writes: METRIC, whose name tells the direction, or METRIC:max, METRIC:min.

    Raises UsageError if the name does not tell it.
    """
    name, colon, way = text.rpartition(":")
    if colon and way in _WAYS and name:
        return Goal(metric=name, better=_WAYS[way])
    if not text:
        raise UsageError("a search needs a goal", "--goal accuracy, or --goal loss: a metric that the jobs report")
    if (better := objective.better_values(text)) is None:
        raise UsageError(
            f"--goal {text}: is the highest or the lowest value the best?", f"--goal {text}:max or --goal {text}:min"
        )
    return Goal(metric=text, better=better)


def goal_text(wanted: Goal) -> str:
    """Return a goal as `goal` reads it."""
    return f"{wanted.metric}:{'max' if wanted.better == 'highest' else 'min'}"


@frozen(kw_only=True)
class Trial:
    """A job of a search: its point, its value of the goal if it has one, and the curve of it."""

    job: int
    parameters: Parameters
    state: Literal["running", "complete", "pruned", "failed"]
    value: float | None = None
    curve: Curve | None = None


def reached(metrics: Metrics, wanted: Goal) -> tuple[float | None, Curve | None]:
    """Return the value of the goal that a job has reported, and its curve; None where there is none."""
    value = metrics.results.get(wanted.metric)
    number = None if isinstance(value, bool) else as_number(value)
    if number is not None and not math.isfinite(number):
        number = None
    return None if number is None else float(number), metrics.curves.get(wanted.metric)


def hopeless(running: Sequence[Trial], ended: Sequence[Trial], wanted: Goal) -> dict[int, str]:
    """Return the running trials that are worse than the median of the others at the same step, with why.

    As Optuna's MedianPruner has it: a trial counts by its best value so far, the others by their best up to that step.
    """
    curves = [trial.curve for trial in ended if trial.state in ("complete", "pruned") and trial.curve is not None]
    found: dict[int, str] = {}
    for trial in running:
        points = _finite(trial.curve)
        if len(points) < _WARMUP:
            continue
        step = points[-1][0]
        others = [
            wanted.best(before)
            for curve in curves
            # Those that ended before that step tell nothing of it.
            if curve.steps[-1] >= step and (before := [value for at, value in _finite(curve) if at <= step])
        ]
        if len(others) < STARTUP:
            continue
        own, median = wanted.best(value for _, value in points), statistics.median(others)
        if wanted.is_better(median, own):
            found[trial.job] = (
                f"{wanted.metric} was {own:.4g} at step {step:g}, and the median of the others {median:.4g}"
            )
    return found


def _finite(curve: Curve | None) -> list[tuple[float, float]]:
    if curve is None:
        return []
    return [(step, value) for step, value in zip(curve.steps, curve.values, strict=True) if math.isfinite(value)]
