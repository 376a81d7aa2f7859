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
from ocicaliban.reports import html, text

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
    assert rows(ReportRequest(group="digits")) == [2, 1, 3]
    assert rows(ReportRequest(group="digits", sort="id")) == [1, 2, 3]
    assert rows(ReportRequest(group="digits", descending=True)) == [3, 2, 1]
    assert rows(ReportRequest(group="digits", sort="-accuracy")) == [2, 1, 3]
    assert rows(ReportRequest(group="digits", where=("accuracy>0.6", "lr<0.15"))) == [1]
    made = report.collect(ReportRequest(group="digits", columns="id, accuracy,", maximize="accuracy"))
    assert [column.name for column in made.table.columns] == ["id", "accuracy"] and made.complete
    assert made.metrics[2].results == {"accuracy": 0.9}


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


def test_a_served_page_keeps_its_groups(
    world: World, submission: Submission, trained: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def submit(group: str) -> None:
        world.submit(evolve(submission, group=group, project=str(world.project)), ("--lr", "1"))

    monkeypatch.setattr(html, "plotly", lambda: "")
    submit("group-0")
    for number, compare in enumerate(("", "digits")):
        with report.server(ReportRequest(group="", compare=compare), 0) as served:
            submit(f"group-{number + 1}")
            page = (served.answer("/data") or b"").decode()
            assert f"group-{number}" in page and f"group-{number + 1}" not in page


def test_what_failed_and_how_jobs_were_made_is_told(world: World, trained: None) -> None:
    log = world.folder / "attempt-1.log"
    log.write_text("step 1\nValueError: no such lr\n")
    with world.history() as history:
        attempt = history.begin(3, started=1.0, log=lambda _: str(log))
        assert attempt
        history.end(3, attempt.number, "failed", exit_code=1, reason="exit code 1", ended=61.0)
    made = report.collect(ReportRequest(group="digits"))
    assert text.failures(made.table) == [
        "job 3 failed: exit code 1", "    step 1", "    ValueError: no such lr", f"    log: {log}",
    ]  # fmt: skip
    [source] = made.table.sources
    assert source.command.startswith("ocicaliban run --experiment-config SWEEP") and source.count == 3
    assert (source.started, source.ended) == (1.0, 61.0)
    value = made.as_json()
    assert value["failed"] and value["sources"]


def test_a_seed_is_averaged_unless_each_job_is_wanted(world: World, submission: Submission) -> None:
    values = [(lr, seed) for lr in (0.1, 0.2) for seed in (1, 2)]
    with world.history() as history:
        specs = [JobSpec(parameters=(("lr", lr), ("seed", seed)), args=()) for lr, seed in values]
        history.submit(submission, specs)
        for number, (lr, seed) in enumerate(values, 1):
            out = world.folder / f"out/{number}"
            out.mkdir(parents=True)
            (out / "metrics.json").write_text(json.dumps({"accuracy": lr + seed / 100}))
            attempt = history.begin(number, started=1.0, out=str(out))
            assert attempt
            history.end(number, attempt.number, "succeeded", ended=2.0)
    made = report.collect(ReportRequest(group="digits", where=("accuracy>0.115", "lr<1")))
    assert [row.cells["jobs"] for row in made.table.rows] == ["3, 4"], "a condition on a metric is about means"
    value = made.as_json()
    assert value["over"] == ["seed"]
    assert rows(ReportRequest(group="digits", each_job=True)) == [4, 3, 2, 1]
    compared = report.collect(ReportRequest(group="digits", compare="digits"))
    assert compared.compared and compared.compared.points == 2 and "groups" in compared.as_json()
    for wrong in (ReportRequest(group="digits", over="lrr"), ReportRequest(group="digits", over="a", each_job=True)):
        with pytest.raises(UsageError):
            report.collect(wrong)
