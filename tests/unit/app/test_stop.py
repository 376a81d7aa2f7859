"""Which jobs are stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from ocicaliban.app import place, stop
from ocicaliban.errors import UsageError
from ocicaliban.jobs import lease
from ocicaliban.model.job import Submission
from ocicaliban.reporter import SILENT, Reporter
from ocicaliban.targets.container_runner import ObservedContainer
from ocicaliban.targets.local import listing

if TYPE_CHECKING:
    from tests.unit.app.conftest import World


def test_jobs_are_named_by_numbers_or_by_a_group(world: World, submission: Submission) -> None:
    world.submit(submission, (), ())
    for numbers, group in (([], ""), (["1"], "digits")):
        with pytest.raises(UsageError, match="say which jobs to stop"):
            list(stop.stop(numbers, group, SILENT))
    with pytest.raises(UsageError, match="there is no group 'dig'"):
        list(stop.stop([], "dig", SILENT))
    with pytest.raises(UsageError, match="there is no job 3"):
        list(stop.stop(["1", "3"], "", SILENT))
    assert world.statuses() == ["queued", "queued"]


def test_last_is_what_was_started_last_in_this_project(
    world: World, submission: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "project_root", lambda: Path(submission.project))
    world.submit(submission, ())
    world.submit(submission, (), ())  # two submissions of one group, as of single runs
    world.submit(evolve(submission, group="elsewhere", project="/other"), ())
    assert sorted(each.job.id for each in stop.stop(["last"], "", SILENT, dry_run=True)) == [2, 3]
    assert sorted(each.job.id for each in stop.stop([], "last", SILENT, dry_run=True)) == [1, 2, 3]
    with pytest.raises(UsageError, match="latest is not the number of a job"):
        list(stop.stop(["latest"], "", SILENT))


def test_queued_and_running_jobs_are_stopped(
    world: World, submission: Submission, capsys: pytest.CaptureFixture[str]
) -> None:
    made = world.submit(submission, (), (), ())
    world.end(1, "succeeded")
    with lease.held(made):
        attempt = world.begin(2)
        assert [each.job.id for each in stop.stop([], "digits", SILENT, dry_run=True)] == [2, 3]
        assert world.statuses() == ["succeeded", "running", "queued"]
        stopped = list(stop.stop([], "digits", SILENT))
    assert sorted(each.job.id for each in stopped) == [2, 3] and not any(each.ended for each in stopped)
    assert world.statuses() == ["succeeded", "stopped", "stopped"]
    assert any(argv[:2] == ("podman", "stop") and attempt.handle in argv for argv in world.tools)
    assert list(stop.stop(["3"], "", SILENT)) == []
    assert "all of these jobs have ended already" in capsys.readouterr().err


def test_a_job_on_another_machine_is_refused(world: World, submission: Submission) -> None:
    world.submit(evolve(submission, host="other"), ())
    world.begin(1)
    told: list[str] = []
    assert list(stop.stop(["1"], "", Reporter(told.append))) == []
    assert told == ["job 1 runs on other: stop it there"]


def test_a_job_that_runs_though_it_has_ended_is_stopped(
    world: World, submission: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.submit(submission, ())
    world.end(1, "stopped")
    handle = world.jobs()[0].attempts[0].handle
    monkeypatch.setattr(
        listing, "find", lambda **_: {handle: ObservedContainer(handle=handle, state="running", labels={})}
    )
    for dry_run in (True, False):
        [each] = stop.stop(["1"], "", SILENT, dry_run=dry_run)
        assert each.ended and each.job.id == 1
