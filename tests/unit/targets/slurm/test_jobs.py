"""The jobs of a real history at a Slurm in memory, which takes so many jobs of a user and no more."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from ocicaliban.containers.image_file import ImageFile
from ocicaliban.history.store import History
from ocicaliban.jobs import provenance
from ocicaliban.model.job import JobSpec, Submission
from ocicaliban.reporter import SILENT
from ocicaliban.targets.slurm import client, options, shared
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
        self.arrays: dict[str, tuple[str, int]] = {}

    def create(self, _: client.SlurmClient, script: Path) -> str:
        text = script.read_text()
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
            client.Task(array=number, index=index, shown=Shown(state="PENDING"), comment=f"ocicaliban:{key}")
            for number, (key, size) in self.arrays.items()
            for index in range(size)
        ]


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = FakeSlurm(limit=1000, largest=1000)
    monkeypatch.setattr(client.SlurmClient, "create", lambda self, script: fake.create(self, script))
    monkeypatch.setattr(client, "tasks", fake.tasks)
    monkeypatch.setattr(client, "largest_array", lambda: fake.largest)
    monkeypatch.setattr(client, "accounted", lambda arrays: ())
    monkeypatch.setattr(client, "accounted_since", lambda time: ())
    return fake


def submitted(history: History, tmp_path: Path, count: int) -> Submission:
    new = Submission(
        group="digits", user=provenance.user(), host=provenance.host(), target="slurm", project="/p", mode="run",
        options={"version": 1, "slurm": options.to_record(Options(shared=str(tmp_path / "shared")))},
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


def _killed(*_: object) -> None:
    raise RuntimeError
