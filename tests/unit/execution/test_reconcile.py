"""Recording what became of jobs that no process waited for, and stopping jobs, with backends in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.errors import UsageError
from ocicaliban.execution import reconcile, stop
from ocicaliban.history.store import History
from ocicaliban.jobs import lease, provenance, records, run_journal
from ocicaliban.model.job import Job, JobSpec, Submission
from ocicaliban.reporter import SILENT, Reporter
from ocicaliban.targets.local import backend as local
from ocicaliban.targets.local.backend import LocalBackend
from ocicaliban.targets.vertex import backend as vertex
from ocicaliban.targets.vertex.backend import VertexBackend
from tests.unit.targets.local.test_backend import Machine
from tests.unit.targets.vertex.test_backend import Faked

HERE = Submission(
    target="local", group="brave-otter", user=provenance.user(), host=provenance.host(), project="/p", mode="run"
)
THERE = evolve(HERE, group="calm-crow", target="vertex", mode="cloud")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(local, "BACKEND", LocalBackend(made))
    return made


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Faked:
    made = Faked()
    monkeypatch.setattr(vertex, "BACKEND", VertexBackend(made, made.clock))
    return made


def statuses(history: History) -> list[str]:
    return [job.status for job in history.jobs()]


def running(history: History, count: int = 1) -> list[Job]:
    """Jobs that run on this machine by the record."""
    made = history.submit(HERE, [JobSpec()] * count)
    for job in [*history.queued(made.id)]:
        history.begin(job.id, started=1.0)
    return [*history.jobs(submission=made.id)]


def accepted(history: History, cloud: Faked, count: int = 1, made: Submission = THERE) -> list[Job]:
    """Jobs that Vertex AI has."""
    made = history.submit(made, [JobSpec()] * count)
    vertex.BACKEND.submit(history, made, lambda job, page: None, SILENT)
    cloud.clock.sleep(5)
    return [*history.jobs(submission=made.id)]


# --- what has become of them ---


def test_jobs_of_all_backends_are_observed(history: History, machine: Machine, cloud: Faked) -> None:
    [here] = running(history)
    [there] = accepted(history, cloud)
    machine.put(here, "exited", exit_code=0, ended=5.0)
    cloud.service.jobs[0].state = cloud.service.jobs[0].status = "running"
    reconcile.catch_up(history)
    assert statuses(history) == ["succeeded", "running"] and there.status == "pending"


def test_nothing_is_asked_where_nothing_runs(history: History, machine: Machine, cloud: Faked) -> None:
    history.submit(HERE, [JobSpec()])
    reconcile.catch_up(history)
    assert not machine.asked and not cloud.service.asked


def test_a_service_is_asked_of_one_group_alone(history: History, machine: Machine, cloud: Faked) -> None:
    accepted(history, cloud)
    accepted(history, cloud, made=evolve(THERE, group="other"))
    for made in cloud.service.jobs:
        made.state = made.status = "running"
    reconcile.catch_up(history, group="other")
    assert statuses(history) == ["pending", "running"]
    reconcile.catch_up(history, ids=[1])
    assert statuses(history) == ["running", "running"]


def test_queued_jobs_of_a_service_are_looked_for_unless_a_process_submits_them(
    history: History, machine: Machine, cloud: Faked
) -> None:
    made = history.submit(THERE, [JobSpec()])
    [job] = history.jobs()
    cloud.service.make(job.key, 1, THERE.group)
    cloud.clock.sleep(5)
    with lease.held(made):
        reconcile.catch_up(history)
        assert statuses(history) == ["queued"] and reconcile.unattended([job]) == frozenset()
    assert reconcile.unattended([job]) == {made.id}
    reconcile.catch_up(history)
    assert statuses(history) == ["pending"]


def test_jobs_of_others_and_of_other_machines_are_left_alone(history: History, machine: Machine, cloud: Faked) -> None:
    for changes in ({"user": "somebody"}, {"host": "zuse"}):
        made = history.submit(evolve(HERE, **changes), [JobSpec()])  # type: ignore[arg-type]
        [job] = history.queued(made.id)
        history.begin(job.id, started=1.0)
    elsewhere = history.submit(evolve(THERE, host="zuse"), [JobSpec()])
    reconcile.catch_up(history)
    assert statuses(history) == ["running", "running", "queued"]
    assert reconcile.unattended(history.jobs(submission=elsewhere.id)) == frozenset()


def test_single_runs_of_the_journal_are_recorded(history: History, machine: Machine) -> None:
    alone = evolve(HERE, group="", options={provenance.ALONE: True})
    value = {"submission": records.submission_to_record(alone), "args": ["--lr", "1"], "handle": "ocicaliban-k1"}
    entry = run_journal.begin("k1", dict(value))
    reconcile.catch_up(history)
    [job] = history.jobs()
    assert job.last and (job.status, job.key, job.args, job.last.handle) == (
        "running", "k1", ("--lr", "1"), "ocicaliban-k1",
    )  # fmt: skip
    assert job.submission.group and not machine.asked  # it is not taken for one whose container is gone
    entry.ended(3)
    reconcile.catch_up(history)
    [job] = history.jobs()
    assert job.last and (job.status, job.last.exit_code, job.last.reason) == ("failed", 3, "exit code 3")
    run_journal.begin("k2", dict(value)).ended(0)
    run_journal.begin("k3", {"of": "another form"}).ended(0)
    reconcile.catch_up(history)
    assert statuses(history) == ["failed", "succeeded"]


def test_a_log_comes_from_the_jobs_backend(history: History, machine: Machine, tmp_path: Path) -> None:
    made = history.submit(HERE, [JobSpec()])
    log = tmp_path / "log"
    log.write_bytes(b"hello\n")
    history.begin(1, started=1.0, log=lambda _: str(log))
    [job] = history.jobs(submission=made.id)
    assert job.last and b"".join(reconcile.log(job, job.last)) == b"hello\n"
    unknown = evolve(job, submission=evolve(job.submission, target="kubernetes"))
    with pytest.raises(UsageError, match="no target 'kubernetes'"):
        reconcile.log(unknown, job.last)


# --- stopping ---


def stopped(history: History, jobs: Sequence[Job], said: list[str]) -> list[int]:
    return [job.id for job in stop.stop(history, jobs, Reporter(said.append), Reporter(said.append))]


def test_jobs_of_all_backends_are_stopped(history: History, machine: Machine, cloud: Faked) -> None:
    [here] = running(history)
    machine.put(here, "running")
    [there] = accepted(history, cloud)
    history.submit(HERE, [JobSpec()])
    said: list[str] = []
    assert sorted(stopped(history, history.jobs(), said)) == [1, 2, 3] and not said
    assert cloud.service.jobs[0].state == "cancelled" and machine.asked == ["stop 1 in 10 s"]
    assert statuses(history) == ["stopped", "pending", "stopped"] and there.status == "pending"
    assert stopped(history, (), said) == []


def test_what_is_on_its_way_is_waited_for_and_cancelled(history: History, machine: Machine, cloud: Faked) -> None:
    history.submit(THERE, [JobSpec()])
    [job] = history.jobs()

    def late() -> None:
        cloud.clock.sleep(2.0)
        cloud.service.make(job.key, 1, THERE.group)

    cloud.clock.start(late)
    said: list[str] = []
    assert stopped(history, [job], said) == [1]
    assert said == ["looking for 5 s whether some were on their way to Vertex AI already"]
    assert cloud.service.jobs[0].state == "cancelled"


def test_what_an_earlier_stop_left_is_stopped(history: History, machine: Machine, cloud: Faked) -> None:
    [here] = running(history)
    machine.put(here, "running")
    history.end(here.id, 1, "stopped", ended=2.0)
    history.submit(THERE, [JobSpec()])
    [there] = history.jobs(statuses=("queued",))
    cloud.service.make(there.key, 1, THERE.group)
    cloud.clock.sleep(5)
    history.stop_queued([there.id])
    jobs = history.jobs()
    assert [job.id for job in stop.stop_rest(history, jobs, SILENT, dry_run=True)] == [here.id]
    assert [job.id for job in stop.stop_rest(history, jobs, SILENT)] == [here.id, there.id]
    assert cloud.service.jobs[0].state == "cancelled"
