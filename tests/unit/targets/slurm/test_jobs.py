"""The jobs of a real history at a Slurm in memory, which takes so many jobs of a user and no more."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from ocicaliban.containers.image_file import ImageFile
from ocicaliban.errors import UsageError
from ocicaliban.history.store import History
from ocicaliban.jobs import provenance
from ocicaliban.model.job import Job, JobSpec, Submission
from ocicaliban.reporter import SILENT
from ocicaliban.targets.clock import SystemClock
from ocicaliban.targets.slurm import client, options, shared, states
from ocicaliban.targets.slurm.jobs import SlurmJobs
from ocicaliban.targets.slurm.options import Options
from ocicaliban.targets.slurm.states import Shown

IMAGE = ImageFile(path="/images/1.sqfs", name="1")
LIMIT = (
    "sbatch: error: QOSMaxSubmitJobPerUserLimit\n"
    "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy "
    "(job submit limit, user's size and/or time limits)"
)


class FakeSlurm:
    """Takes arrays of at most `largest` tasks, and at most `limit` tasks in all."""

    def __init__(self, limit: int, largest: int) -> None:
        self.limit, self.largest = limit, largest
        self.name = "here"
        self.arrays: dict[str, tuple[str, int]] = {}
        self.states: dict[tuple[str, int], str] = {}
        self.cancelled: list[str] = []
        self.waits: list[list[str]] = []

    def create(self, _: client.SlurmClient, script: Path) -> str:
        text = script.read_text()
        self.waits.append(re.findall(r"--dependency=(\S+)", text))
        key, last = re.findall(r"--comment=ocicaliban:(\w+)|--array=0-(\d+)", text)
        size = int(last[1]) + 1
        assert size <= self.largest
        if sum(each for _, each in self.arrays.values()) + size > self.limit:
            raise client.fault_of(LIMIT)
        number = str(len(self.arrays) + 1)
        self.arrays[number] = (key[0], size)
        return number

    def tasks(self) -> Sequence[client.Task]:
        return [
            client.Task(array=number, index=index, shown=Shown(state=state), comment=f"ocicaliban:{key}")
            for number, (key, size) in self.arrays.items()
            for index in range(size)
            if (state := self.states.get((number, index), "PENDING"))
        ]

    def cancel(self, names: Sequence[str]) -> str:
        self.cancelled += names
        return ""

    def again(self) -> None:
        """Have the only array a second time, as after a lost answer."""
        self.arrays["2"] = self.arrays["1"]


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = FakeSlurm(limit=1000, largest=1000)
    monkeypatch.setattr(client.SlurmClient, "create", lambda self, script: fake.create(self, script))
    monkeypatch.setattr(client, "tasks", fake.tasks)
    monkeypatch.setattr(client, "cluster", lambda: client.Cluster(name=fake.name, largest_array=fake.largest))
    monkeypatch.setattr(client, "accounted", lambda arrays: ())
    monkeypatch.setattr(client, "cancel", fake.cancel)
    monkeypatch.setattr(client, "accounted_since", lambda time: ())
    return fake


def submitted(history: History, tmp_path: Path, count: int, jobs: int | None = None) -> Submission:
    new = Submission(
        group="digits", user=provenance.user(), host=provenance.host(), target="slurm", project="/p", mode="run",
        options={"version": 1, "slurm": options.to_record(Options(shared=str(tmp_path / "shared"), jobs=jobs)),
                 "cluster": "here"},
    )  # fmt: skip
    return history.submit(new, (JobSpec(args=(str(number),)) for number in range(count)))


def send(history: History, made: Submission) -> None:
    SlurmJobs().submit(history, made, IMAGE, lambda job, name: None, SILENT)


def handles(history: History) -> list[str]:
    return [job.last.handle if job.last else "" for job in history.jobs()]


def test_a_sweep_is_one_array(history: History, slurm: FakeSlurm, tmp_path: Path) -> None:
    made = submitted(history, tmp_path, 5)
    send(history, made)
    assert handles(history) == ["1_0", "1_1", "1_2", "1_3", "1_4"]
    assert {job.status for job in history.jobs()} == {"pending"}


def test_more_jobs_than_an_array_may_have_are_several(history: History, slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.largest = 2
    send(history, submitted(history, tmp_path, 5))
    assert handles(history) == ["1_0", "1_1", "2_0", "2_1", "3_0"]


def test_jobs_at_a_time_are_those_of_all_arrays_together(history: History, slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.largest = 2
    send(history, submitted(history, tmp_path, 5, jobs=2))
    assert slurm.waits == [[], ["afterany:1"], ["afterany:1,afterany:2"]]
    slurm.waits.clear()
    slurm.states = {("4", index): "COMPLETED" for index in range(2)}
    again = history.submit(submitted(history, tmp_path, 0, jobs=2), [JobSpec(args=("a",)) for _ in range(3)])
    send(history, again)
    assert slurm.waits == [[], []]  # array 4 has ended, and the arrays of another submission are none of its business


def test_what_the_limit_does_not_let_in_waits_for_resume(history: History, slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.limit = 7
    made = submitted(history, tmp_path, 12)
    send(history, made)
    assert history.counts()["pending"] == 7 and history.counts()["queued"] == 5
    slurm.limit = 100
    send(history, made)
    assert history.counts()["pending"] == 12
    assert len({*handles(history)}) == 12


def test_an_array_whose_number_was_not_recorded_is_found(
    history: History, slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm.largest = 3
    made = submitted(history, tmp_path, 5)
    with monkeypatch.context() as killed, pytest.raises(RuntimeError):
        killed.setattr(shared, "accept", _killed)
        send(history, made)
    assert history.counts()["queued"] == 5 and len(slurm.arrays) == 1
    send(history, made)
    assert sum(size for _, size in slurm.arrays.values()) == 5
    assert handles(history) == ["1_0", "1_1", "1_2", "2_0", "2_1"]


def test_accounting_tells_what_squeue_has_forgotten(
    history: History, slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = submitted(history, tmp_path, 2)
    send(history, made)
    slurm.states = {("1", 0): "", ("1", 1): ""}
    told = "1_1|TIMEOUT|0:0|\n1|CANCELLED by 7|0:0|\n"
    monkeypatch.setattr(client, "accounted", lambda arrays: client.parse_sacct(told) if "1" in arrays else ())
    SlurmJobs().observe(history, history.jobs(), SILENT)
    assert {job.id: job.status for job in history.jobs()} == {1: "stopped", 2: "failed"}


def _killed(*_: object) -> None:
    raise RuntimeError


# --- an array that Slurm has twice ---


class FakeClock(SystemClock):
    """Shows the time that a test sets."""

    now = 1000.0

    def time(self) -> float:
        return self.now


def _twice(history: History, slurm: FakeSlurm, tmp_path: Path) -> Submission:
    made = submitted(history, tmp_path, 1)
    send(history, made)
    slurm.again()
    assert handles(history) == ["1_0"]
    return made


def _mark(made: Submission, job: Job, what: str, record: dict[str, object]) -> None:
    (shared.marks_folder(made) / f"{job.key}.1.{what}").write_text(json.dumps(record))


def _observe(history: History, clock: FakeClock) -> Job:
    SlurmJobs(clock=clock).observe(history, history.jobs(), SILENT)
    return history.jobs()[0]


@pytest.mark.parametrize("winner", ["1", "2"])
def test_the_task_that_claimed_a_job_is_the_one_that_counts(
    history: History, slurm: FakeSlurm, tmp_path: Path, winner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one has ended with 0 long ago, and squeue has forgotten it; accounting knows it."""
    made, clock = _twice(history, slurm, tmp_path), FakeClock()
    loser = {"1": "2", "2": "1"}[winner]
    over = client.Task(array=loser, index=0, shown=Shown(state="COMPLETED", code=0))
    monkeypatch.setattr(client, "accounted", lambda arrays: [over] if loser in arrays else [])
    slurm.states = {(loser, 0): "", (winner, 0): "RUNNING"}
    _mark(made, history.jobs()[0], "began", {"task": f"{winner}_0", "array": "a", "node": "n1", "at": 5.0})
    assert _observe(history, clock).status == "running"
    clock.now += 1000
    assert _observe(history, clock).status == "running"
    SlurmJobs(clock=clock).cancel(history, history.jobs(), "enough", SILENT)
    assert slurm.cancelled == [f"{winner}_0"]
    slurm.cancelled.clear()
    assert SlurmJobs(clock=clock).cancel_ended(history, history.jobs(), SILENT)
    assert slurm.cancelled == [f"{winner}_0"]


@pytest.mark.parametrize("winner", ["1", "2"])
def test_the_end_of_the_task_that_claimed_a_job_is_its_end(
    history: History, slurm: FakeSlurm, tmp_path: Path, winner: str
) -> None:
    made, clock = _twice(history, slurm, tmp_path), FakeClock()
    loser = {"1": "2", "2": "1"}[winner]
    slurm.states = {(loser, 0): "COMPLETED", (winner, 0): "RUNNING"}
    _mark(made, history.jobs()[0], "began", {"task": f"{winner}_0", "array": "a", "node": "n1", "at": 5.0})
    assert _observe(history, clock).status == "running"
    slurm.states[winner, 0] = "OUT_OF_MEMORY"
    _observe(history, clock)
    clock.now += 1000
    job = _observe(history, clock)
    assert job.last and (job.status, job.last.reason) == ("failed", "it ran out of memory")


def test_a_copy_that_has_not_begun_is_cancelled_too(history: History, slurm: FakeSlurm, tmp_path: Path) -> None:
    _twice(history, slurm, tmp_path)
    SlurmJobs().cancel(history, history.jobs(), "enough", SILENT)
    assert slurm.cancelled == ["1_0", "2_0"]


def test_a_copy_that_waits_may_still_run_the_job(history: History, slurm: FakeSlurm, tmp_path: Path) -> None:
    _twice(history, slurm, tmp_path)
    slurm.states[("1", 0)] = "CANCELLED"
    assert _observe(history, FakeClock()).status == "pending"
    slurm.states[("2", 0)] = "CANCELLED"
    assert _observe(history, FakeClock()).status == "stopped"


def test_without_a_begin_nothing_has_succeeded(history: History, slurm: FakeSlurm, tmp_path: Path) -> None:
    _twice(history, slurm, tmp_path)
    clock = FakeClock()
    slurm.states = {("1", 0): "COMPLETED", ("2", 0): "COMPLETED"}
    assert _observe(history, clock).status == "pending"
    clock.now += 1000
    assert _observe(history, clock).status == "lost"


def test_jobs_at_another_cluster_are_left_alone(history: History, slurm: FakeSlurm, tmp_path: Path) -> None:
    """Two clusters may have the same home folder, and the same number for arrays."""
    made, clock = submitted(history, tmp_path, 2), FakeClock()
    send(history, made)
    slurm.name, slurm.states = "there", {("1", 0): "COMPLETED", ("1", 1): "CANCELLED"}
    for _ in range(2):
        assert _observe(history, clock).status == "pending"
        clock.now += 1000
    assert SlurmJobs().cancel(history, history.jobs(), "enough", SILENT) == () and not slurm.cancelled
    with pytest.raises(UsageError, match="cluster here, and this is there"):
        send(history, history.submit(submitted(history, tmp_path, 0), [JobSpec()]))


def test_a_disk_that_is_not_there_ends_no_job(history: History, slurm: FakeSlurm, tmp_path: Path) -> None:
    made, clock = submitted(history, tmp_path, 1), FakeClock()
    send(history, made)
    slurm.states = {("1", 0): ""}
    (tmp_path / "shared").rename(tmp_path / "unmounted")
    for _ in range(2):
        assert _observe(history, clock).status == "pending"
        clock.now += 1000
    (tmp_path / "unmounted").rename(tmp_path / "shared")
    _observe(history, clock)
    clock.now += 1000
    assert _observe(history, clock).status == "lost"


def test_a_number_that_slurm_gives_again_is_another_array(history: History, slurm: FakeSlurm, tmp_path: Path) -> None:
    made = submitted(history, tmp_path, 1)
    send(history, made)
    slurm.arrays["1"] = ("0123456789ab", 1)
    slurm.states = {("1", 0): "RUNNING"}
    assert _observe(history, FakeClock()).last.backend_state == states.NOT_LISTED  # type: ignore[union-attr]
    SlurmJobs().cancel_ended(history, history.jobs(), SILENT)
    assert not slurm.cancelled
