"""Curves of several jobs as one: their mean at each step, and how far they are apart (pure)."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence

from attrs import frozen

from ocicaliban.reports.means import spread
from ocicaliban.reports.metrics import Curve


@frozen(kw_only=True)
class MeanCurve:
    """The mean of curves by step, with the standard deviation at each step; of one curve, none."""

    steps: tuple[float, ...]
    values: tuple[float, ...]
    deviations: tuple[float, ...] = ()


def mean(curves: Sequence[Curve]) -> MeanCurve:
    """Return the mean of curves, at the steps of the one with the most, between the points of the others.

    A curve counts as far as it goes: a job that ended early has no value after that.
    """
    if len(curves) == 1:
        return MeanCurve(steps=curves[0].steps, values=curves[0].values)
    longest = max(curves, key=lambda curve: len(curve.steps))
    values, deviations = [], []
    for step in longest.steps:
        found = [value for curve in curves if (value := _at(curve, step)) is not None]
        there = spread(found)
        values.append(there.mean)
        deviations.append(there.deviation)
    return MeanCurve(steps=longest.steps, values=tuple(values), deviations=tuple(deviations))


def _at(curve: Curve, step: float) -> float | None:
    """Return the value of a curve at a step, between two points as a straight line has it; None beyond its ends."""
    place = bisect.bisect_left(curve.steps, step)
    if place < len(curve.steps) and curve.steps[place] == step:
        return curve.values[place]
    if place in (0, len(curve.steps)):
        return None
    before, after = curve.steps[place - 1], curve.steps[place]
    low, high = curve.values[place - 1], curve.values[place]
    part = (step - before) / (after - before)
    return low + (high - low) * part if math.isfinite(low) and math.isfinite(high) else math.nan
