"""The report of a group: its columns, rows and notes."""

from __future__ import annotations

from pathlib import Path

from ocicaliban.cli import report as command
from ocicaliban.reports import query, text
from ocicaliban.reports import report as reports
from ocicaliban.reports.metrics import Metrics
from tests.unit.reports.samples import LRS, ids, job, report_of


def test_parameters_that_all_share_are_said_once() -> None:
    assert LRS.shared == (("seed", 1),)
    assert [column.name for column in LRS.columns] == ["id", "status", "duration", "lr", "acc"]
    assert text.heading(LRS) == ["g: 3 jobs, 3 succeeded", "all with seed=1"]


def test_values_of_other_types_and_missing_ones_differ() -> None:
    made = report_of(({"a": 1, "b": 1}, {}), ({"a": True}, {}))
    assert [column.name for column in made.columns][3:] == ["a", "b"] and not made.shared


def test_a_metric_named_like_a_parameter_or_a_column_of_ours_has_a_longer_name() -> None:
    made = report_of(({"lr": 1, "status": "x"}, {"lr": 0.5, "id": 7}), ({"lr": 2, "status": "y"}, {"lr": 0.25}))
    assert [column.name for column in made.columns][3:] == ["lr", "parameters.status", "metrics.lr", "metrics.id"]
    assert ids(query.filter_rows(made, "metrics.lr=0.25")) == [2] and ids(query.filter_rows(made, "lr=1")) == [1]


def test_runs_of_no_sweep_are_told_apart_by_their_arguments_and_modules() -> None:
    jobs = [job(1, {}, args=("--lr", "0.1", "a b")), job(2, {}, module="other")]
    made = reports.build("g", jobs, {}, 0)
    assert (
        made.rows[0].cells["arguments"] == "'a b'"
        and made.rows[0].cells["lr"] == 0.1
        and made.rows[1].cells["module"] == "other"
    )


def test_unfinished_jobs_are_counted_and_last_until_now() -> None:
    made = reports.build("g", [job(1, {}), job(2, {}, "running"), job(3, {}, "queued")], {}, 160.0)
    assert text.unfinished(made) == "2 jobs not finished yet: results may change"
    assert [row.cells.get("duration") for row in made.rows] == [1.0, 60.0, None]


def test_notes_name_the_jobs_and_come_once() -> None:
    jobs = [job(number, {}) for number in range(1, 9)]
    made = reports.build("g", jobs, {number: Metrics(notes=("x is y",)) for number in range(1, 9)}, 0)
    assert made.notes == ("jobs 1, 2, 3, 4, 5 and 3 more: x is y",)


def test_a_file_is_written_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "link.csv").symlink_to("there.csv")
    command._write(str(tmp_path / "link.csv"), "a,b\n")
    assert (tmp_path / "link.csv").is_symlink() and (tmp_path / "there.csv").read_text() == "a,b\n"
