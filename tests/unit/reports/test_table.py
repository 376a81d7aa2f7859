"""The report of a group: its columns, order, filters and forms."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.cli import report as command
from ocicaliban.errors import UsageError
from ocicaliban.model.job import Attempt, Job, Scalar, Status, Submission
from ocicaliban.reports import table
from ocicaliban.reports.metrics import Metrics
from ocicaliban.reports.table import Report

SCALAR = st.booleans() | st.integers() | st.floats() | st.text(max_size=5)


def _job(
    number: int,
    parameters: Mapping[str, Scalar],
    status: Status = "succeeded",
    args: tuple[str, ...] = (),
    module: str = "train",
) -> Job:
    submission = Submission(group="g", user="me", host="h", project="/p", mode="run", module=module)
    ended = None if status == "running" else 100.0 + number
    attempt = Attempt(number=1, handle="c", status=status, started=100.0, ended=ended)
    attempts = () if status == "queued" else (attempt,)
    return Job(
        id=number, key=f"k{number}", submission=submission, parameters=tuple(parameters.items()), args=args,
        status=status, attempts=attempts,
    )  # fmt: skip


def _made(*jobs: tuple[Mapping[str, Scalar], Mapping[str, Scalar]]) -> Report:
    """A report of jobs by their parameters and results; their ids are counted from 1."""
    found = {place: Metrics(results=results) for place, (_, results) in enumerate(jobs, 1)}
    return table.made("g", [_job(place, each[0]) for place, each in enumerate(jobs, 1)], found, 200.0)


def _ids(made: Report) -> list[int]:
    return [row.job.id for row in made.rows]


LRS = _made(*(({"lr": lr, "seed": 1}, {"acc": acc}) for lr, acc in ((0.1, 0.7), (0.01, 0.9), (1, 0.1))))


def test_parameters_that_all_share_are_said_once() -> None:
    assert LRS.shared == (("seed", 1),)
    assert [column.name for column in LRS.columns] == ["id", "status", "duration", "lr", "acc"]
    assert table.heading(LRS) == ["g: 3 jobs, 3 succeeded", "all with seed=1"]


def test_a_table_looks_at_each_cell_a_few_times_however_many_jobs_there_are() -> None:
    looks: list[str] = []

    class Cells(dict[str, Scalar]):
        def get(self, key: str, *default: object) -> Scalar | None:  # type: ignore[override]
            looks.append(key)
            return super().get(key)

    made = _made(*(({"lr": number}, {"acc": 0.5}) for number in range(100)))
    made = evolve(made, rows=tuple(evolve(row, cells=Cells(row.cells)) for row in made.rows))
    table.table(made)
    assert len(looks) <= 3 * len(made.rows) * len(made.columns)


def test_values_of_other_types_and_missing_ones_differ() -> None:
    made = _made(({"a": 1, "b": 1}, {}), ({"a": True}, {}))
    assert [column.name for column in made.columns][3:] == ["a", "b"] and not made.shared


def test_a_metric_named_like_a_parameter_or_a_column_of_ours_has_a_longer_name() -> None:
    made = _made(({"lr": 1, "status": "x"}, {"lr": 0.5, "id": 7}), ({"lr": 2, "status": "y"}, {"lr": 0.25}))
    assert [column.name for column in made.columns][3:] == ["lr", "parameters.status", "metrics.lr", "metrics.id"]
    assert _ids(table.where(made, "metrics.lr=0.25")) == [2] and _ids(table.where(made, "lr=1")) == [1]


def test_runs_of_no_sweep_are_told_apart_by_their_arguments_and_modules() -> None:
    jobs = [_job(1, {}, args=("--lr", "a b")), _job(2, {}, module="other")]
    made = table.made("g", jobs, {}, 0)
    assert made.rows[0].cells["arguments"] == "--lr 'a b'" and made.rows[1].cells["module"] == "other"


def test_unfinished_jobs_are_counted_and_last_until_now() -> None:
    made = table.made("g", [_job(1, {}), _job(2, {}, "running"), _job(3, {}, "queued")], {}, 160.0)
    assert table.pending(made) == "2 jobs not finished yet: results may change"
    assert [row.cells.get("duration") for row in made.rows] == [1.0, 60.0, None]


def test_the_best_job_is_pointed_out_by_what_the_metrics_name_says() -> None:
    assert table.summary(LRS) == "highest acc: 0.9, job 2 (lr=0.01)"
    assert table.summary(table.aimed(LRS, "acc", "lowest")) == "lowest acc: 0.1, job 3 (lr=1)"
    losses = _made(
        ({}, {"train_loss": 1, "thing": 1, "valLoss": 3}), ({}, {"train_loss": 2, "thing": 2, "valLoss": math.nan})
    )
    assert losses.objective == table.Objective(column="valLoss", better="lowest")
    assert losses.best is losses.rows[0]
    assert _made(({}, {"thing": 1})).best is None


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
    assert table.direction(name) == better


def test_numbers_sort_as_numbers_and_what_is_missing_is_last() -> None:
    values: Sequence[Scalar | None] = (10, "9", None, 2.5, "text", math.nan, -math.inf, True)
    made = _made(*(({"n": n}, {} if value is None else {"m": value}) for n, value in enumerate(values)))
    assert _ids(table.ordered(made, "m")) == [7, 8, 4, 2, 1, 5, 3, 6]
    assert (
        _ids(table.ordered(made, "-m")) == _ids(table.ordered(made, "m", descending=True)) == [1, 2, 4, 8, 7, 5, 3, 6]
    )


@given(st.lists(st.none() | SCALAR, min_size=1, max_size=12))
def test_any_values_have_an_order_both_ways_and_missing_ones_stay_last(values: list[Scalar | None]) -> None:
    made = _made(*(({}, {} if value is None else {"m": value}) for value in values), ({}, {"m": 1}))
    for name in ("m", "-m"):
        rows = table.ordered(made, name).rows
        assert sorted(_ids(table.ordered(made, name))) == _ids(made)
        ranks = [table._rank(row.cells.get("m")) for row in rows]
        assert ranks == sorted(ranks)


@pytest.mark.parametrize(
    ("condition", "ids"),
    [  # NaN is something: it was reported
        ("lr=0.1", [1]), ("lr==1e-1", [1]), ("lr != 0.1", [2, 3, 4]), ("acc>0.9", [2]), ("acc>=0.5", [1, 2]),
        ("acc<0.9", [1]), ("acc=", [4]), ("acc!=", [1, 2, 3]), ("status=succeeded", [1, 2, 3, 4]), ("fast=True", [3]),
        ("opt=adam w", [2]), ("lr>0.3", [3]), ("id<=2", [1, 2]),
    ],
)  # fmt: skip
def test_conditions(condition: str, ids: list[int]) -> None:
    made = _made(
        ({"lr": 0.1}, {"acc": 0.5}), ({"lr": "0.2", "opt": "adam w"}, {"acc": 1}),
        ({"lr": 1, "fast": True}, {"acc": math.nan}), ({"lr": 0.3}, {}),
    )  # fmt: skip
    assert _ids(table.where(made, condition)) == ids


@pytest.mark.parametrize(
    ("condition", "hint"),
    [("lr", "for example lr=0.1"), ("ac>1", "did you mean 'acc'?"), ("acc>high", "looks for that text")],
)
def test_wrong_conditions_are_told(condition: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        table.where(LRS, condition)
    assert hint in caught.value.hint


def test_columns_are_chosen_by_name_or_likeness() -> None:
    made = _made(({"lr": 1}, {"eval.a": 1, "eval.b": 2, "loss": 3}))
    assert [column.name for column in table.only(made, ["eval.*", "lr", "eval.a"]).columns] == [
        "eval.a",
        "eval.b",
        "lr",
    ]
    with pytest.raises(UsageError, match="no column 'los'"):
        table.only(made, ["los"])


def test_the_table_is_even_and_marks_the_best() -> None:
    lines, left = table.table(LRS)
    assert lines == [
        "  id  status     duration    lr  acc",
        "   1  succeeded       1 s   0.1  0.7",
        "*  2  succeeded       2 s  0.01  0.9",
        "   3  succeeded       3 s     1  0.1",
    ]
    assert left == ()


def test_what_does_not_fit_is_left_out_from_the_end_but_not_what_counts() -> None:
    made = _made(({"lr": 1}, {"first": 1, "second": 2, "acc": 3}), ({"lr": 2}, {"first": 1, "second": 2, "acc": 4}))
    lines, left = table.table(made, 41)
    assert [column.name for column in left] == ["second"] and max(map(len, lines)) <= 41 and lines[0].endswith("acc")


def test_a_value_cannot_give_orders_to_a_terminal_or_break_a_line() -> None:
    made = _made(({"a": "\x1b[31m\n"}, {"b\r": "\u202e"}), ({"a": 1}, {}))
    text = "\n".join(table.table(made)[0])
    assert "\\x1b[31m\\n" in text and "b\\r" in text and "\x1b" not in text and len(text.splitlines()) == 3


@given(st.lists(st.dictionaries(st.text(max_size=3), SCALAR, max_size=4), min_size=1, max_size=5))
def test_json_and_csv_can_be_read_back(results: list[dict[str, Scalar]]) -> None:
    # Found first: Python's csv leaves a carriage return unquoted.
    made = _made(*(({"n": n}, each) for n, each in enumerate(results)))
    text = json.dumps(table.as_json(made), allow_nan=False)
    assert [job["parameters"] for job in json.loads(text)["jobs"]] == (
        [{"n": n} for n in range(len(results))] if len(results) > 1 else [{}]
    )
    lines = list(csv.reader(io.StringIO(table.as_csv(made, made.known), newline="")))
    assert lines[0] == [column.name.replace("\r", "\\r") for column in made.known] and len(lines) == len(results) + 1


def test_notes_name_the_jobs_and_come_once() -> None:
    jobs = [_job(number, {}) for number in range(1, 9)]
    made = table.made("g", jobs, {number: Metrics(notes=("x is y",)) for number in range(1, 9)}, 0)
    assert made.notes == ("jobs 1, 2, 3, 4, 5 and 3 more: x is y",)


def test_a_file_is_written_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "link.csv").symlink_to("there.csv")
    command._write(str(tmp_path / "link.csv"), "a,b\n")
    assert (tmp_path / "link.csv").is_symlink() and (tmp_path / "there.csv").read_text() == "a,b\n"
