"""Means over seeds, and two groups side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from ocicaliban.errors import UsageError
from ocicaliban.model.job import Job, Scalar
from ocicaliban.reports import comparison, curves, means, query, text
from ocicaliban.reports import report as reports
from ocicaliban.reports.metrics import Curve, Metrics
from ocicaliban.reports.report import Report
from tests.unit.reports.samples import job, report_of

SEEDED: list[tuple[Mapping[str, Scalar], Mapping[str, Scalar]]] = [
    ({"lr": lr, "seed": seed}, {"acc": lr + seed / 10, "name": "net"}) for lr in (0.1, 0.5) for seed in (1, 2, 3)
]
SEEDS = report_of(*SEEDED)


def _over(made: Report, *names: str) -> Report:
    return means.over(made, names or means.seeds(made))


def test_jobs_that_differ_in_their_seed_are_one_row() -> None:
    made = query.best_first(_over(SEEDS))
    assert [column.name for column in made.columns] == ["jobs", "status", "duration", "lr", "acc", "name"]
    lines, _ = text.table(made)
    assert [" ".join(line.split()) for line in lines] == [
        "jobs status duration lr acc name",
        "* 4-6 succeeded 5 s 0.5 0.7 ± 0.1 net",
        "1-3 succeeded 2 s 0.1 0.3 ± 0.1 net",
    ]
    assert text.summary(made) == "highest acc: 0.7 ± 0.1, mean of 3, jobs 4-6 (lr=0.5)"
    assert "differ in seed" in text.heading(made)[-1]


@pytest.mark.parametrize(
    ("parameters", "seeds"),
    [
        ([{"seed": 1}, {"seed": 2}], ("seed",)),
        ([{"model.seed": 1}, {"model.seed": 2}], ("model.seed",)),
        ([{"seed": 1}, {"seed": 1}], ()),  # not an axis
        ([{"seed": 1, "lr": 1}, {"seed": 2, "lr": 2}], ()),  # no two jobs to average
        ([{"seeds": 1}, {"seeds": 2}], ()),
    ],
)
def test_what_counts_as_a_seed(parameters: list[dict[str, Scalar]], seeds: tuple[str, ...]) -> None:
    assert means.seeds(report_of(*((each, {"acc": 1}) for each in parameters))) == seeds


def test_means_are_taken_over_what_the_user_names() -> None:
    made = report_of(*(({"lr": lr, "fold": fold}, {"acc": fold}) for lr in (1, 2) for fold in (1, 2)))
    assert len(_over(made, *means.check(made, ["fold"])).rows) == 2
    with pytest.raises(UsageError, match="no job has this parameter"):
        means.check(made, ["acc"])


def test_a_job_that_failed_does_not_count_if_another_succeeded() -> None:
    jobs = [job(1, {"seed": 1}), job(2, {"seed": 2}, "failed"), job(3, {"seed": 3}, "running")]
    found = {n: Metrics(results={"acc": float(n)}) for n in (1, 2, 3)}
    [row] = _over(reports.build("g", jobs, found, 0)).rows
    assert row.cells["acc"] == 1.0 and row.cells["status"] == "1 succeeded, 1 failed, 1 running"
    [row] = _over(reports.build("g", jobs[1:], found, 0)).rows
    assert row.cells["acc"] == 2.5


@pytest.mark.parametrize(
    ("values", "mean", "deviation"),
    [([1.0], 1.0, 0.0), ([1.0, 3.0], 2.0, 2**0.5), ([1.0, math.nan], math.nan, 0.0), ([math.inf, 1.0], math.nan, 0.0)],
)
def test_spreads(values: list[float], mean: float, deviation: float) -> None:
    found = means.spread(values)
    assert found.mean == pytest.approx(mean, nan_ok=True) and found.deviation == pytest.approx(deviation)


def test_numbers_are_told_in_few_words() -> None:
    assert means.numbered([7, 1, 2, 3, 9, 10]) == "1-3, 7, 9, 10"


def test_the_mean_of_curves_ends_where_a_curve_does() -> None:
    one = Curve(steps=(0.0, 2.0), values=(0.0, 2.0))
    other = Curve(steps=(0.0, 1.0, 2.0, 3.0), values=(0.0, 3.0, 4.0, 5.0))
    made = curves.mean([one, other])
    assert made.steps == other.steps and made.values == (0.0, 2.0, 3.0, 5.0)
    assert made.deviations == pytest.approx((0.0, 2**0.5, 2**0.5, 0.0))


def _compared(first: list[tuple[dict[str, Scalar], float]], second: list[tuple[dict[str, Scalar], float]]) -> Report:
    return _comparison(first, second).table


def _comparison(
    first: list[tuple[dict[str, Scalar], float]], second: list[tuple[dict[str, Scalar], float]]
) -> comparison.Comparison:
    sides = []
    for name, start, jobs in (("a", 1, first), ("b", 11, second)):
        made: list[Job] = [job(start + n, parameters) for n, (parameters, _) in enumerate(jobs)]
        found = {start + n: Metrics(results={"acc": acc}) for n, (_, acc) in enumerate(jobs)}
        sides.append(reports.build(name, made, found, 0))
    return comparison.compare(*sides)


def test_two_groups_are_matched_by_the_parameters_that_they_share() -> None:
    made = _comparison(
        [({"lr": 1, "epochs": 5}, 0.5), ({"lr": 2, "epochs": 5}, 0.6)],
        [({"lr": 2, "epochs": 9}, 0.9), ({"lr": 1, "epochs": 9}, 0.4), ({"lr": 3, "epochs": 9}, 0.1)],
    )
    assert comparison.heading(made) == ["a and b: 2 points in both, 1 in b alone", "epochs: 5 in a, 9 in b"]
    table, _ = text.table(made.table)
    assert [line.split() for line in table][1:] == [
        ["1", "0.5", "0.4", "-0.1"],
        ["*", "2", "0.6", "0.9", "0.3"],
        ["3", "0.1"],
    ]


def test_a_seed_is_averaged_in_a_comparison() -> None:
    made = _compared(
        [({"lr": 1, "seed": seed}, seed / 10) for seed in (1, 2)], [({"lr": 1, "seed": seed}, 0.5) for seed in (3, 4)]
    )
    [row] = made.rows
    assert row.cells["acc change"] == pytest.approx(0.35)
