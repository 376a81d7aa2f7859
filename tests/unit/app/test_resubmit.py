"""Which jobs run again, with which image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from ocicaliban.app import cloud_jobs, launch, local_jobs, resubmit, run
from ocicaliban.app.requests import JobsRequest, LaunchRequest, RunRequest
from ocicaliban.app.submissions import Outcome
from ocicaliban.errors import UsageError
from ocicaliban.execution import reconcile
from ocicaliban.jobs import provenance
from ocicaliban.model.job import Job, Submission

if TYPE_CHECKING:
    from tests.unit.app.conftest import World


@pytest.fixture
def ended(world: World, submission: Submission) -> Submission:
    """Return a submission whose jobs have succeeded, failed and been stopped, and of which one is queued."""
    made = world.submit(submission, ("1",), ("2",), ("3",), ("4",))
    world.end(1, "succeeded", exit_code=0)
    world.end(2, "failed", exit_code=1, reason="exit code 1")
    world.end(3, "stopped")
    return made


def test_failed_and_stopped_jobs_are_chosen(world: World, ended: Submission) -> None:
    assert sorted(job.id for job in resubmit.candidates("digits", all_jobs=False)) == [2, 3]
    assert sorted(job.id for job in resubmit.candidates("digits", all_jobs=True)) == [1, 2, 3]


def test_they_run_again_in_their_image(world: World, ended: Submission, capsys: pytest.CaptureFixture[str]) -> None:
    assert resubmit.resubmit("digits", all_jobs=False, rebuild=False) == Outcome()
    assert world.statuses() == ["succeeded", "succeeded", "succeeded", "queued"]
    assert {job.submission.image for job in world.jobs(ids=[2, 3])} == {"1d" * 32}
    assert "digits: 2 jobs again" in capsys.readouterr().err
    assert resubmit.resubmit("digits", all_jobs=False, rebuild=False) == Outcome()
    assert "digits: no job has failed or been stopped" in capsys.readouterr().err


def test_a_rebuild_gives_them_an_image_of_the_project_as_it_is(
    world: World, ended: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world.folder)
    assert resubmit.resubmit("digits", all_jobs=False, rebuild=True) == Outcome()
    [job, _] = world.jobs(ids=[2, 3])
    assert job.submission.image == world.images[-1].id != "1d" * 32 and job.submission.plan_key
    assert job.status == "succeeded" and job.submission.options["module"] == "train.py"


def test_a_job_of_a_terminal_is_one_of_a_sweep_then(world: World, submission: Submission) -> None:
    alone = evolve(submission, options=submission.options | {provenance.ALONE: True})
    world.submit(alone, ("1",))
    world.end(1, "failed", exit_code=1)
    for rebuild in (False, True):
        resubmit.resubmit("digits", all_jobs=True, rebuild=rebuild)
        [job] = world.jobs()
        assert not provenance.alone(job.submission) and job.status == "succeeded"


def test_a_missing_image_needs_a_rebuild(world: World, submission: Submission) -> None:
    world.submit(evolve(submission, image="ff" * 32), ("1",))
    world.end(1, "failed", exit_code=1)
    with pytest.raises(UsageError, match="does not exist any more") as caught:
        resubmit.resubmit("digits", all_jobs=False, rebuild=False)
    assert caught.value.hint.startswith("ocicaliban resubmit --group digits --rebuild")
    assert world.statuses() == ["failed"]


def test_a_missing_project_is_told(world: World, submission: Submission) -> None:
    world.submit(evolve(submission, project="/nowhere/digits"), ("1",))
    world.end(1, "failed", exit_code=1)
    with pytest.raises(UsageError, match="cannot enter the project's folder /nowhere/digits: No such file"):
        resubmit.resubmit("digits", all_jobs=False, rebuild=True)


def test_another_process_that_was_quicker_is_told(
    world: World, ended: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = resubmit.candidates("digits", all_jobs=False)
    resubmit.resubmit("digits", all_jobs=False, rebuild=False)
    with world.history() as history:
        history.resubmit(evolve(ended, id=0), [2, 3])
    monkeypatch.setattr(resubmit, "_candidates", lambda *_, **__: chosen)
    with pytest.raises(UsageError, match="another ocicaliban has taken the remaining jobs of digits"):
        resubmit.resubmit("digits", all_jobs=False, rebuild=False)


def test_options_of_another_version_are_told(world: World, submission: Submission) -> None:
    world.submit(evolve(submission, options={"mode": "run", "jobs": "many"}), ("1",))
    world.end(1, "failed", exit_code=1)
    with pytest.raises(UsageError, match="another version"):
        resubmit.resubmit("digits", all_jobs=False, rebuild=False)


def test_jobs_are_told_apart_by_where_they_run(submission: Submission) -> None:
    cloud = evolve(submission, id=2, target="vertex")
    made = [(1, evolve(submission, id=1)), (2, cloud), (3, evolve(submission, id=3)), (4, cloud)]
    far, here = resubmit.split(tuple(Job(id=number, key=str(number), submission=one) for number, one in made))
    assert [([job.id for job in some], batch.title) for some, batch in far] == [([2, 4], "Vertex AI")]
    assert [[job.id for job in some] for some in here] == [[1], [3]]


def test_jobs_of_a_service_are_submitted_again(
    world: World, ended: Submission, submission: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.submit(evolve(submission, target="vertex"), ("5",))
    world.end(5, "failed", reason="no")
    monkeypatch.setattr(reconcile, "catch_up", lambda *_, **__: None)
    monkeypatch.setattr(cloud_jobs, "resubmit", lambda history, jobs, batch, rebuild: jobs[0].submission.group)
    assert resubmit.resubmit("digits", all_jobs=False, rebuild=False) == Outcome(groups=("digits",))


def test_a_rebuild_takes_the_settings_as_they_are_now(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    config = (world.project / "ocicaliban.toml").read_text()
    world.write({"ocicaliban.toml": f'{config}[run]\nshm_size = "1g"\ncaches = false\n', "s.json": '{"x": [1]}'})
    asked = LaunchRequest(mode="run", module="train.py", gpu_wanted=False, podman_args="--env A=1 --init")
    run.run(RunRequest(launch=asked, jobs=JobsRequest(group="g"), experiment_config="s.json"), [])
    [job] = world.jobs(group="g")
    made = job.submission
    assert made.options["podman_args"] == "--env A --init"
    assert made.options[provenance.RUN_OPTIONS] == "--shm-size 1g" and made.options["caches"] is False
    monkeypatch.setenv("A", "2")
    again = local_jobs.renew(made, rebuild=False)
    assert again.given == ("--shm-size", "1g", "--env", "A", "--init") and not again.caches
    assert local_jobs.renew(again.submission, rebuild=False).given == again.given
    world.write({"ocicaliban.toml": f'{config}[run]\nshm_size = "2g"\n'})
    newer = local_jobs.renew(made, rebuild=True)
    assert newer.given == ("--shm-size", "2g", "--env", "A", "--init") and newer.caches
    assert newer.submission.options[provenance.RUN_OPTIONS] == "--shm-size 2g"
    assert "caches" not in newer.submission.options
    world.write({"ocicaliban.toml": config})
    newest = local_jobs.renew(newer.submission, rebuild=True)
    assert newest.given == ("--env", "A", "--init") and provenance.RUN_OPTIONS not in newest.submission.options


def test_the_settings_of_run_hold_here_only(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    config = (world.project / "ocicaliban.toml").read_text()
    world.write({"ocicaliban.toml": f'{config}[run]\nenv = {{ A = "1" }}\nshm_size = "1g"\n'})
    asked = LaunchRequest(mode="run", module="train.py", gpu_wanted=False, dry_run=True)
    here, there = launch.prepare(asked), launch.prepare(asked, here=False)
    assert here.given == ("--shm-size", "1g") and ("A", "1") in here.starts.env
    assert there.given == () and ("A", "1") not in there.starts.env
    assert capsys.readouterr().err.count("[run] holds on this machine only") == 1
