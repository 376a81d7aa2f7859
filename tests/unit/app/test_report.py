"""What a report has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from ocicaliban.app import report
from ocicaliban.app.requests import ReportRequest
from ocicaliban.errors import UsageError
from ocicaliban.model.job import JobSpec, Submission
from ocicaliban.reports import html

if TYPE_CHECKING:
    from tests.unit.app.conftest import World


@pytest.fixture
def trained(world: World, submission: Submission) -> None:
    """Make a group of three jobs, of which two reported an accuracy."""
    specs = [JobSpec(parameters=(("lr", lr),), args=("--lr", str(lr))) for lr in (0.1, 0.2, 0.3)]
    with world.history() as history:
        history.submit(submission, specs)
        for number, accuracy in ((1, 0.7), (2, 0.9)):
            out = world.folder / f"out/{number}"
            out.mkdir(parents=True)
            (out / "metrics.json").write_text(json.dumps({"accuracy": accuracy}))
            attempt = history.begin(number, started=1.0, out=str(out))
            assert attempt
            history.end(number, attempt.number, "succeeded", ended=2.0)


def rows(request: ReportRequest) -> list[int]:
    return [row.job.id for row in report.collect(request).table.rows]


def test_rows_are_chosen_and_ordered(world: World, trained: None) -> None:
    assert rows(ReportRequest(group="digits")) == [1, 2, 3]
    assert rows(ReportRequest(group="digits", descending=True)) == [3, 2, 1]
    assert rows(ReportRequest(group="digits", sort="-accuracy")) == [2, 1, 3]
    assert rows(ReportRequest(group="digits", where=("accuracy>0.6", "lr<0.15"))) == [1]
    made = report.collect(ReportRequest(group="digits", columns="id, accuracy,", maximize="accuracy"))
    assert [column.name for column in made.table.columns] == ["id", "accuracy"] and made.complete
    assert made.metrics[2].results == {"accuracy": 0.9} and not made.drawing


def test_one_column_counts(world: World, trained: None) -> None:
    with pytest.raises(UsageError, match="--maximize and --minimize exclude each other"):
        report.collect(ReportRequest(group="digits", maximize="a", minimize="b"))
    with pytest.raises(UsageError, match="there is no group 'x'"):
        report.collect(ReportRequest(group="x"))


def test_a_page_has_the_drawing(world: World, trained: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "plotly", lambda: "/* draws */")
    page = report.collect(ReportRequest(group="digits"), plots=True).page()
    assert "/* draws */" in page and "digits" in page


def test_results_on_another_machine_are_noted(
    world: World, submission: Submission, capsys: pytest.CaptureFixture[str]
) -> None:
    world.submit(evolve(submission, host="other"), ())
    world.begin(1, out="/nowhere/out")
    with world.history() as history:
        history.end(1, 1, "succeeded", ended=2.0)
    report.collect(ReportRequest(group="digits"))
    assert "the results are on other, not on this machine" in capsys.readouterr().err
