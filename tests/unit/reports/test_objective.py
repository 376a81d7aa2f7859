"""Which metric counts, and which job is the best."""

from __future__ import annotations

import math

import pytest

from ocicaliban.reports import query, text
from ocicaliban.reports.objective import Objective, better_values
from tests.unit.reports.samples import LRS, report_of


def test_the_best_job_is_pointed_out_by_what_the_metrics_name_says() -> None:
    assert text.summary(LRS) == "highest acc: 0.9, job 2 (lr=0.01)"
    assert text.summary(query.set_objective(LRS, "acc", "lowest")) == "lowest acc: 0.1, job 3 (lr=1)"
    losses = report_of(
        ({}, {"train_loss": 1, "thing": 1, "valLoss": 3}), ({}, {"train_loss": 2, "thing": 2, "valLoss": math.nan})
    )
    assert losses.objective == Objective(column="valLoss", better="lowest")
    assert losses.best is losses.rows[0]
    assert report_of(({}, {"thing": 1})).best is None


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("eval/top1-accuracy", "highest"),
        ("val_loss", "lowest"),
        ("rmse", "lowest"),
        ("F1", "highest"),
        ("blossom", None),
    ],
)
def test_the_direction_of_a_metric(name: str, better: str | None) -> None:
    assert better_values(name) == better
