"""What `status` shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from ocicaliban.app import place, status
from ocicaliban.app.requests import StatusRequest
from ocicaliban.cli import jobs as command
from ocicaliban.errors import DiskFull, UsageError
from ocicaliban.execution import reconcile
from ocicaliban.formats.colours import Line
from ocicaliban.jobs import lease
from ocicaliban.model.job import Submission

if TYPE_CHECKING:
    from tests.unit.app.conftest import World


def test_without_jobs_there_is_nothing_to_show(world: World) -> None:
    seen = next(status.looks(StatusRequest()))
    assert not seen.jobs and command._lines(seen) == [Line("no jobs yet")]


def test_the_newest_jobs_and_their_groups_are_shown(world: World, submission: Submission) -> None:
    world.submit(submission, ("--x", "1"), ("--x", "2"))
    world.end(1, "failed", exit_code=3)
    world.submit(evolve(submission, group="single"), ())
    world.submit(evolve(submission, group="theirs", user="bob"), ())
    seen = next(status.looks(StatusRequest(all_groups=True)))
    assert sorted(job.id for job in seen.jobs) == [1, 2, 3]
    assert [(each.name, each.counts["failed"]) for each in seen.groups] == [("digits", 1)]
    assert seen.unattended == ("digits", "single")
    lines = [line.text for line in command._lines(seen)]
    assert any("failed (3)" in line and "train.py --x 1" in line for line in lines)
    assert "digits: 1 queued, 1 failed" in lines
    assert "single has queued jobs that nothing will start; to start them: ocicaliban resume single" in lines
    everybody = next(status.looks(StatusRequest(all_users=True)))
    assert sorted(job.id for job in everybody.jobs) == [1, 2, 3, 4]
    assert [job.id for job in next(status.looks(StatusRequest(max_jobs=1))).jobs] == [3]


def test_without_a_group_the_newest_one_of_this_project_is_shown(
    world: World, submission: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.submit(submission, ("--x", "1"))
    world.submit(evolve(submission, group="newer"), (), ())
    world.submit(evolve(submission, group="elsewhere", project="/other"), ())
    monkeypatch.setattr(place, "project_root", lambda: Path(submission.project))
    seen = next(status.looks(StatusRequest()))
    assert {job.submission.group for job in seen.jobs} == {"newer"} and seen.others == 2
    assert "2 other groups: ocicaliban status --all" in [line.text for line in command._lines(seen)]
    for every in (StatusRequest(all_groups=True), StatusRequest(max_jobs=20), StatusRequest(all_users=True)):
        assert len(next(status.looks(every)).jobs) == 4
    monkeypatch.setattr(place, "project_root", lambda: Path("/none"))
    assert len(next(status.looks(StatusRequest())).jobs) == 4


def test_a_group_has_a_line_of_its_own_if_it_is_asked_for(world: World, submission: Submission) -> None:
    made = world.submit(submission, ())
    with lease.held(made):
        seen = next(status.looks(StatusRequest(group="digits", max_jobs=-5)))
    assert [each.name for each in seen.groups] == ["digits"] and seen.unattended == ()
    with pytest.raises(UsageError, match="there is no group 'digit'"):
        next(status.looks(StatusRequest(group="digit")))


def test_each_look_is_a_new_one(world: World, submission: Submission) -> None:
    world.submit(submission, ())
    looks = status.looks(StatusRequest())
    assert next(looks).jobs[0].status == "queued"
    world.end(1, "succeeded")
    assert next(looks).jobs[0].status == "succeeded"


def test_jobs_are_shown_where_the_history_cannot_grow(
    world: World, submission: Submission, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.submit(submission, ("--x", "1"))

    def full(*_: object, **__: object) -> None:
        raise DiskFull("the history x cannot grow: the disk is full", "free some space")

    monkeypatch.setattr(reconcile, "catch_up", full)
    assert [job.id for job in next(status.looks(StatusRequest())).jobs] == [1]
    assert "the disk is full, so this may be out of date" in capsys.readouterr().err
