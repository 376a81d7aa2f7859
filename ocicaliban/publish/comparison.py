"""Compare the metrics of jobs that ran again with the published ones. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase

from attrs import frozen

from ocicaliban.model.job import Scalar


@frozen(kw_only=True)
class Difference:
    """A metric of a job: what was published, what came now (None: nothing), and whether that is near enough."""

    job: int
    name: str
    published: Scalar | None
    found: Scalar | None
    agrees: bool

    @property
    def distance(self) -> float | None:
        """How far the two numbers are from each other; None if one is not a number."""
        if not (_is_number(self.published) and _is_number(self.found)):
            return None
        assert self.published is not None and self.found is not None
        try:
            return abs(float(self.found) - float(self.published))
        except OverflowError:
            return math.inf


def compare(
    job: int,
    published: Mapping[str, Scalar],
    found: Mapping[str, Scalar],
    *,
    tolerance: float = 0.0,
    only: Collection[str] = (),
) -> tuple[Difference, ...]:
    """Return a row for each metric that a job had or has, in the order in which they were published.

    Numbers agree if they differ by no more than `tolerance` times the published one (times 1 if that is 0); two NaN
    agree. `only` has patterns of the names that count ("*" stands for any characters); without any, all do.
    """
    names = [name for name in dict.fromkeys((*published, *found)) if not only or matches(name, only)]
    return tuple(
        Difference(
            job=job,
            name=name,
            published=published.get(name),
            found=found.get(name),
            agrees=_agree(published.get(name), found.get(name), tolerance),
        )
        for name in names
    )


def disagreeing(rows: Iterable[Difference]) -> tuple[Difference, ...]:
    """Return the rows that are not near enough."""
    return tuple(row for row in rows if not row.agrees)


def matches(name: str, patterns: Collection[str]) -> bool:
    """Return whether a metric's name is one of these patterns'."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _is_number(value: Scalar | None) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _agree(published: Scalar | None, found: Scalar | None, tolerance: float) -> bool:
    if published is None or found is None:
        return False
    if not (_is_number(published) and _is_number(found)):
        return type(published) is type(found) and published == found
    try:
        before, now = float(published), float(found)
    except OverflowError:
        return published == found
    if math.isnan(before) or math.isnan(now):
        return math.isnan(before) and math.isnan(now)
    if math.isinf(before) or math.isinf(now):
        return before == now
    # A distance of exactly the tolerance counts, however the numbers are rounded.
    return before == now or abs(now - before) <= tolerance * (abs(before) or 1.0) * (1 + 1e-9)
