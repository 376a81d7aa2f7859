"""What `resume` takes up, and why it leaves the rest."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from ocicaliban.app import cloud_jobs, resume
from ocicaliban.app.submissions import Outcome
from ocicaliban.errors import UsageError
from ocicaliban.execution import reconcile
from ocicaliban.history import access
from ocicaliban.jobs import lease, provenance
from ocicaliban.model.job import Status, Submission

if TYPE_CHECKING:
    from tests.unit.app.conftest import World


def counts(**some: int) -> dict[Status, int]:
    every: dict[Status, int] = dict.fromkeys(access_statuses(), 0)
    return every | some  # type: ignore[return-value]


def access_statuses() -> tuple[Status, ...]:
    from ocicaliban.history.store import STATUSES

    return STATUSES


def test_jobs_that_are_queued_here_are_taken_up(submission: Submission) -> None:
    assert resume.obstacle(submission, counts(queued=2)) == ""
    assert resume.obstacle(submission, counts(queued=1, running=1)) == ""


def test_a_job_at_a_terminal_is_left_alone(submission: Submission) -> None:
    alone = evolve(submission, options={provenance.ALONE: True})
    assert resume.obstacle(alone, counts(running=1)) == "a job of digits runs at a terminal of its own"
    assert resume.obstacle(alone, counts(queued=1)) == ""


def test_jobs_of_another_machine_are_left_alone(submission: Submission) -> None:
    elsewhere = evolve(submission, host="other")
    assert resume.obstacle(elsewhere, counts(queued=1)) == "1 job of digits can only be resumed on other"


def test_jobs_that_a_service_has_go_on_by_themselves(submission: Submission) -> None:
    cloud = evolve(submission, target="vertex")
    assert resume.obstacle(cloud, counts(queued=1, running=1)) == ""
    assert resume.obstacle(cloud, counts(running=2)).startswith("all jobs of digits have been submitted to Vertex AI:")


def test_jobs_that_another_process_runs_are_left_alone(submission: Submission, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "ENDING", 0.0)
    with lease.held(submission):
        assert resume.obstacle(submission, counts(queued=3)) == "another ocicaliban runs 3 jobs of digits"


def test_the_jobs_that_are_left_run(world: World, submission: Submission, capsys: pytest.CaptureFixture[str]) -> None:
    world.submit(submission, ("--x", "1"), ("--x", "2"), ("fails",))
    world.end(1, "succeeded", exit_code=0)
    assert resume.resume("digits") == Outcome(exit_code=1)
    assert world.statuses() == ["succeeded", "succeeded", "failed"]
    assert [len(job.attempts) for job in world.jobs()] == [1, 1, 1]
    assert "digits: 2 jobs left" in capsys.readouterr().err
    assert resume.resume("digits") == Outcome()
    told = capsys.readouterr().err
    assert (
        "digits: all jobs have ended" in told and "1 failed or was stopped; to run again: ocicaliban resubmit" in told
    )


def test_jobs_that_failed_before_are_told(
    world: World, submission: Submission, capsys: pytest.CaptureFixture[str]
) -> None:
    world.submit(submission, ("--x", "1"), ("--x", "2"), ("--x", "3"))
    world.end(1, "failed", exit_code=1)
    world.end(2, "stopped")
    assert resume.resume("digits") == Outcome()
    told = capsys.readouterr().err
    assert "digits: 1 succeeded; 2 failed or stopped before\n" in told
    assert "  2 failed or were stopped; to run again: ocicaliban resubmit --group digits\n" in told
    assert "  run again:   ocicaliban resubmit digits\n" in told


def test_an_unknown_group_is_told(world: World, submission: Submission) -> None:
    world.submit(submission, ())
    with pytest.raises(UsageError, match="there is no group 'digit'") as caught:
        resume.resume("digit")
    assert caught.value.hint == "did you mean 'digits'?"


def test_a_group_of_another_user_is_told(world: World, submission: Submission) -> None:
    world.submit(evolve(submission, user="bob"), ())
    with pytest.raises(UsageError, match="the group 'digits' belongs to another user") as caught:
        resume.resume("digits")
    assert caught.value.hint == "`ocicaliban status digits --all-users` shows its jobs"


def test_a_first_group_is_not_guessed(world: World) -> None:
    with pytest.raises(UsageError, match="there is no group 'digits'") as caught:
        resume.resume("digits")
    assert caught.value.hint == "there are no groups yet; a sweep makes one"


def test_jobs_whose_image_is_gone_are_told(world: World, submission: Submission) -> None:
    world.submit(evolve(submission, image="ff" * 32), ())
    with pytest.raises(UsageError, match="the image ffffffffffff of digits does not exist any more") as caught:
        resume.resume("digits")
    assert caught.value.hint.startswith("ocicaliban stop --group digits, and then ocicaliban resubmit")


def test_jobs_of_a_service_are_submitted(world: World, submission: Submission, monkeypatch: pytest.MonkeyPatch) -> None:
    world.submit(evolve(submission, target="vertex"), ())
    world.submit(submission, ("x",))
    monkeypatch.setattr(reconcile, "catch_up", lambda *_, **__: None)
    monkeypatch.setattr(cloud_jobs, "resume", lambda history, made, batch: f"{made.group} at {batch.title}")
    assert resume.resume("digits") == Outcome(groups=("digits at Vertex AI",))
    assert world.statuses() == ["queued", "succeeded"]


def test_outcomes_add_up() -> None:
    assert Outcome.of([Outcome(groups=("a",)), Outcome(exit_code=3), Outcome(exit_code=1)]) == Outcome(
        exit_code=3, groups=("a",)
    )
    assert Outcome.of([]) == Outcome()


def test_another_process_is_not_waited_for_long(
    world: World, submission: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "ENDING", 0.1)
    world.submit(submission, ())
    with contextlib.ExitStack() as stack, access.open() as history:
        [made] = history.submissions()
        stack.enter_context(lease.held(made))
        assert resume.resume("digits") == Outcome()
    assert world.statuses() == ["queued"]
