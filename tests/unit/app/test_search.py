"""What a search has of the history: points that were tried, and what jobs have reported."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from ocicaliban.app import resubmit, resume, search
from ocicaliban.app.requests import JobsRequest, LaunchRequest, RunRequest, SearchRequest
from ocicaliban.errors import UsageError
from ocicaliban.jobs import lifecycle, sweep_file
from ocicaliban.model.job import JobSpec, Submission
from ocicaliban.reports import tensorboard

if TYPE_CHECKING:
    from tests.unit.app.conftest import World

SWEEP = sweep_file.parse('{"n": {"int": [1, 4]}}', "json", "space.json")
ASKED = RunRequest(
    launch=LaunchRequest(mode="run"),
    jobs=JobsRequest(group="digits"),
    search=SearchRequest(search="random", trials=9, goal="accuracy"),
)


def test_a_dry_run_and_a_run_leave_out_what_the_group_has_tried(world: World, submission: Submission) -> None:
    with world.history() as history:
        history.submit(submission, [JobSpec(parameters=(("n", n),)) for n in (1, 3)])
        history.submit(submission, [JobSpec(args=(str(n),)) for n in range(20)])
        specs, count, _ = search.jobs_of(history, SWEEP, ASKED, "digits")
        args = [spec.args for spec in specs]
    assert sorted(args) == [("--n", "2"), ("--n", "4")] and count == 2
    assert search.dry_run(SWEEP, ASKED, world.folder)[1] == args
    with world.history() as history:
        history.submit(submission, [JobSpec(parameters=(("n", n),)) for n in (2, 4)])
    with pytest.raises(UsageError, match=r"digits: all points of .* were tried"):
        search.dry_run(SWEEP, ASKED, world.folder)


@contextlib.contextmanager
def _ended(world: World, submission: Submission, *reported: dict[str, object]) -> Iterator[search.SearchPoints]:
    """Make a search of two jobs, of which the first ones have reported something."""
    kept = search.to_record(search.planned(SWEEP, ASKED.search))
    with world.history() as history:
        made = history.submit(
            evolve(submission, options={search.KEY: kept}), [JobSpec(parameters=(("n", n),)) for n in (1, 2)]
        )
    for job, metrics in zip(world.jobs(submission=made.id), reported, strict=False):
        out = world.folder / f"out/{job.id}"
        out.mkdir(parents=True, exist_ok=True)
        (out / "metrics.json").write_text(json.dumps(metrics))
        attempt = world.begin(job.id, out=str(out))
        with world.history() as history:
            history.end(job.id, attempt.number, "succeeded", ended=2.0)
    with world.history() as history:
        found = search.points(history, made)
        assert found is not None
        yield found


@pytest.mark.parametrize(
    ("reported", "hint"),
    [
        ({}, 'let the jobs write {"accuracy": 0.5} to /out/metrics.json'),
        ({"acuracy": 0.5}, "did you mean 'acuracy'?"),
        ({"accuracy": "high"}, "its values must be numbers, and finite ones"),
    ],
)
def test_a_goal_that_no_job_reports_is_told_once(
    world: World, submission: Submission, reported: dict[str, object], hint: str
) -> None:
    with _ended(world, submission, reported) as points:
        told = points.note()
        assert told == f"note: a job has ended that has not reported accuracy, the goal of this search\n hint: {hint}"
        assert points.note() == ""


def test_a_goal_that_some_job_reports_is_not_told(world: World, submission: Submission) -> None:
    with _ended(world, submission) as points:
        assert points.note() == "", "none has ended"
    with _ended(world, submission, {}, {"accuracy": 0.5}) as points:
        assert points.note() == ""


def test_event_files_are_read_as_the_report_does(
    world: World, submission: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.backend.event_processing", None)
    (world.folder / "out/1").mkdir(parents=True)
    (world.folder / "out/1/events.out.tfevents.0").touch()
    with _ended(world, submission, {"loss": 1}) as points:
        assert points.note().endswith(tensorboard.MISSING)


def test_jobs_that_the_search_has_stopped_are_none_to_run_again(
    world: World, submission: Submission, capsys: pytest.CaptureFixture[str]
) -> None:
    world.submit(submission, ("1",), ("2",), ("3",), ("4",))
    world.end(1, "failed", exit_code=1)
    world.end(2, "stopped", reason=f"{lifecycle.HOPELESS}accuracy was 0.1")
    world.end(3, "stopped", reason=lifecycle.NO_POINT)
    resume.resume("digits")
    told = capsys.readouterr().err
    assert "digits: 1 succeeded; 1 failed or stopped before\n" in told and "  1 failed or was stopped; to run" in told
    assert [job.id for job in resubmit.candidates("digits", all_jobs=False)] == [1]
