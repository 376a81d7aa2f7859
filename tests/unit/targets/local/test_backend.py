"""Jobs on this machine whose process is gone, with containers that are only thought of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.history.store import History
from ocicaliban.jobs import lease, log_file, provenance
from ocicaliban.model.job import Job, JobSpec, Submission
from ocicaliban.reporter import SILENT, Reporter
from ocicaliban.targets.backend import Request
from ocicaliban.targets.container_runner import ContainerState, ObservedContainer
from ocicaliban.targets.local.backend import LocalBackend

SUBMISSION = Submission(target="local", 
    group="brave-otter", user=provenance.user(), host=provenance.host(), project="p", mode="run"
)  # fmt: skip


class Machine:
    """Containers by their names; what was asked of them."""

    def __init__(self) -> None:
        self.there: dict[str, ObservedContainer] = {}
        self.asked: list[str] = []
        self.stops = True
        self.starved = False

    def put(self, job: Job, state: ContainerState, **more: Any) -> None:
        assert job.last
        self.there[job.last.handle] = ObservedContainer(handle=job.last.handle, state=state, **more)

    def find(self, **labels: str) -> Mapping[str, ObservedContainer]:
        self.asked.append(f"find {labels}")
        return dict(self.there)

    def stop(self, handles: Sequence[str], *, grace: int) -> None:
        self.asked.append(f"stop {len(handles)} in {grace} s")
        if not self.stops:
            raise OcicalibanError("podman cannot stop all containers")
        for handle in handles:
            self.there[handle] = evolve(self.there[handle], state="exited", exit_code=143)

    def remove_ended(self, handle: str) -> bool:
        if self.there[handle].state == "running":
            return False
        del self.there[handle]
        return True

    def remove_at_once(self, handle: str) -> bool:
        return self.there.pop(handle, None) is not None

    def oom_killed(self, handle: str) -> bool:
        return self.starved


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def target(machine: Machine) -> LocalBackend:
    return LocalBackend(machine)


def begun(history: History, count: int = 1, log: str = "", **changes: Any) -> list[Job]:
    """Jobs that run by the record."""
    made = history.submit(evolve(SUBMISSION, **changes), [JobSpec()] * count)
    for job in [*history.queued(made.id)]:
        history.begin(job.id, started=1.0, log=lambda _: log)
    return [*history.jobs(submission=made.id)]


def now(history: History, job: Job) -> Job:
    [found] = history.jobs(ids=[job.id])
    return found


# --- observing ---


def test_what_runs_stays_as_it_is(history: History, machine: Machine, target: LocalBackend) -> None:
    [job] = begun(history)
    machine.put(job, "running")
    target.observe(history, [job], SILENT)
    assert now(history, job) == job


@pytest.mark.parametrize(("code", "status", "reason"), [(0, "succeeded", ""), (3, "failed", "exit code 3")])
def test_an_end_is_recorded_and_the_container_removed(
    history: History, machine: Machine, target: LocalBackend, tmp_path: Path, code: int, status: str, reason: str
) -> None:
    log = tmp_path / "attempt-1.log"
    log_file.raw(log).write_bytes(b"2026-01-01T00:00:00Z stdout F hello\n")
    [job] = begun(history, log=str(log))
    machine.put(job, "exited", exit_code=code, ended=7.0)
    target.observe(history, [job], SILENT)
    found = now(history, job)
    assert found.last and (found.status, found.last.reason, found.last.ended) == (status, reason, 7.0)
    assert found.last.exit_code == code and not machine.there and log.read_bytes() == b"hello\n"


@pytest.mark.parametrize(
    ("code", "starved", "reason"),
    [
        (137, True, "it ran out of memory (exit code 137)"),
        (1, True, "it ran out of memory (exit code 1)"),
        (137, False, "ended by SIGKILL (exit code 137), often for want of memory"),
        (135, False, "ended by SIGBUS (exit code 135), often since /dev/shm is full"),
        (0, True, ""),
    ],
)
def test_a_want_of_memory_is_told_of_a_job_that_ended_alone(
    history: History, machine: Machine, target: LocalBackend, code: int, starved: bool, reason: str
) -> None:
    [job] = begun(history)
    machine.put(job, "exited", exit_code=code, ended=7.0)
    machine.starved = starved
    target.observe(history, [job], SILENT)
    found = now(history, job)
    assert found.last and found.last.reason == reason


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (None, "its container is gone, and its result with it"),
        ("exited", "its container is gone, and its result with it"),
        ("created", "it was never started"),
    ],
)
def test_a_job_without_a_result_is_queued_again(
    history: History, machine: Machine, target: LocalBackend, state: ContainerState | None, reason: str
) -> None:
    [job] = begun(history)
    if state:
        machine.put(job, state)
    target.observe(history, [job], SILENT)
    found = now(history, job)
    assert found.last and (found.status, found.last.status, found.last.reason) == ("queued", "lost", reason)
    assert not machine.there


def test_a_job_at_a_terminal_without_a_result_is_lost(history: History, machine: Machine, target: LocalBackend) -> None:
    [job] = begun(history, options={provenance.ALONE: True})
    target.observe(history, [job], SILENT)
    assert now(history, job).status == "lost" and machine.asked == ["find {'job': ''}"]


def test_a_container_that_starts_at_this_moment_is_left_alone(
    history: History, machine: Machine, target: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    [job] = begun(history)
    machine.put(job, "created")
    monkeypatch.setattr(machine, "remove_ended", lambda handle: False)
    target.observe(history, [job], SILENT)
    assert now(history, job) == job


def test_jobs_that_a_process_works_on_or_of_another_machine_are_left_alone(
    history: History, machine: Machine, target: LocalBackend
) -> None:
    [here] = begun(history)
    [there] = begun(history, host="zuse")
    with lease.held(here.submission):
        target.observe(history, [here, there], SILENT)
    assert [job.status for job in history.jobs()] == ["running", "running"] and not machine.asked


def test_a_submission_that_is_taken_up_meanwhile_is_left_alone(
    history: History, machine: Machine, target: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    [job] = begun(history)

    def held(_: Submission) -> None:
        raise UsageError("another ocicaliban runs these jobs")

    monkeypatch.setattr(lease, "held", held)
    target.observe(history, [job], SILENT)
    assert now(history, job) == job


# --- stopping ---


def test_a_stop_is_on_record_before_the_containers_get_a_signal(
    history: History, machine: Machine, target: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = begun(history, 2)
    [elsewhere] = begun(history, host="zuse")
    for job in jobs:
        machine.put(job, "running")
    before: list[str] = []
    stop = machine.stop

    def noted(handles: Sequence[str], *, grace: int) -> None:
        before.extend(job.status for job in history.jobs())
        stop(handles, grace=grace)

    monkeypatch.setattr(machine, "stop", noted)
    said: list[str] = []
    stopped = [*target.cancel(history, history.jobs(), Reporter(said.append))]
    assert [job.id for job in stopped] == [job.id for job in jobs] and before == ["stopped", "stopped", "running"]
    assert machine.asked == ["stop 2 in 10 s"] and said == [f"job {elsewhere.id} runs on zuse: stop it there"]
    assert now(history, jobs[0]).last.reason == f"stopped by {provenance.user()}"  # type: ignore[union-attr]


def test_the_log_and_container_are_left_to_the_process_that_runs_the_job(
    history: History, machine: Machine, target: LocalBackend, tmp_path: Path
) -> None:
    log = tmp_path / "attempt-1.log"
    log_file.raw(log).write_bytes(b"2026-01-01T00:00:00Z stdout F hello\n")
    [job] = begun(history, log=str(log))
    machine.put(job, "running")
    with lease.held(job.submission):
        assert [*target.cancel(history, [job], SILENT)] == [job]
        assert machine.there and not log.exists()
    [job] = history.jobs()
    machine.put(job, "running")
    assert target.cancel_ended(history, [job], SILENT) == (job,)
    assert not machine.there and log.read_bytes() == b"hello\n"


def test_what_still_runs_of_a_stopped_job_is_stopped_but_not_in_a_dry_run(
    history: History, machine: Machine, target: LocalBackend
) -> None:
    running, ended = begun(history, 2)
    for job in (running, ended):
        history.end(job.id, 1, "stopped", ended=2.0)
    machine.put(running, "running")
    jobs = history.jobs()
    assert [job.id for job in target.cancel_ended(history, jobs, SILENT, dry_run=True)] == [running.id]
    assert machine.find()[running.last.handle].state == "running"  # type: ignore[union-attr]
    assert [job.id for job in target.cancel_ended(history, jobs, SILENT)] == [running.id]
    assert target.cancel_ended(history, (), SILENT) == ()


def test_a_container_that_cannot_be_stopped_is_an_error_unless_it_is_gone(
    history: History, machine: Machine, target: LocalBackend
) -> None:
    [job] = begun(history)
    machine.stops = False
    assert [*target.cancel(history, [job], SILENT)] == [job]
    [job] = begun(history)
    machine.put(job, "running")
    with pytest.raises(OcicalibanError, match="cannot stop"):
        [*target.cancel(history, [job], SILENT)]


# --- logs, results, requests ---


def test_a_log_is_read_and_followed(history: History, target: LocalBackend, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\ntwo\n")
    [job] = begun(history, log=str(log))
    assert job.last
    assert b"".join(target.logs(job, job.last, None, SILENT)) == b"one\ntwo\n"
    assert b"".join(target.logs(job, job.last, lambda: False, SILENT)) == b"one\ntwo\n"


def test_a_log_that_is_not_here_is_told(history: History, target: LocalBackend) -> None:
    [here] = begun(history)
    [there] = begun(history, host="zuse")
    for job, told in ((here, "went to the terminal"), (there, "was run on zuse")):
        assert job.last
        with pytest.raises(UsageError, match=told):
            target.logs(job, job.last, None, SILENT)


def test_results_are_the_jobs_own_folders(history: History, target: LocalBackend, tmp_path: Path) -> None:
    [job] = begun(history)
    jobs = [evolve(job, out=out) for out in (str(tmp_path), str(tmp_path / "gone"), "")]
    assert [target.results([each], SILENT) for each in jobs] == [{job.id: tmp_path}, {}, {}]


@pytest.mark.parametrize(("given", "problems"), [("-v /a:/b", 0), ("--rm", 1), ("-e SURELY_NOT_SET", 1)])
def test_options_that_a_job_cannot_have_are_told(
    history: History, target: LocalBackend, given: str, problems: int
) -> None:
    [job] = begun(history, options={"podman_args": given})
    assert len(target.validate(Request(job=job))) == problems
