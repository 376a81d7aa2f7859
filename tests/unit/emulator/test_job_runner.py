"""Jobs that run: podman is played by the test, whose containers end when it says so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from google.cloud.aiplatform_v1.types import CustomJob, JobState

from ocicaliban.containers import cgroups
from ocicaliban.emulator import gpu_pool, job_run
from ocicaliban.emulator.faults import FaultInjector, Faults
from ocicaliban.emulator.job_run import SharedResources
from ocicaliban.emulator.job_runner import JobRunner
from ocicaliban.emulator.job_store import JobRecord, JobStore
from ocicaliban.emulator.log_store import LogStore
from ocicaliban.errors import ToolError
from ocicaliban.system import process
from tests.unit.emulator.samples import PARENT, custom_job, pool


class Podman:
    """Runs containers: each ends with the next of `codes`, or when it is killed if that is None."""

    def __init__(self) -> None:
        self.codes: list[int | None] = []
        self.pulls: list[tuple[str, ...]] = []
        self.runs: list[tuple[str, ...]] = []
        self.signals: list[str] = []
        self.pull_fails = False
        self.ignores_term = False
        self.missing = False
        self._killed: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    def run_logged(self, argv: Sequence[str], log: Path) -> int:
        if "pull" in argv:
            self.pulls.append(tuple(argv))
            log.write_text("trying\nmanifest unknown\n")
            return 1 if self.pull_fails else 0
        if self.missing:
            raise ToolError("podman cannot be started")
        name = argv[argv.index("--name") + 1]
        with self._lock:
            self.runs.append(tuple(argv))
            code = self.codes.pop(0) if self.codes else 0
            killed = self._killed[name] = threading.Event()
        with log.open("a") as file:
            file.write(f"{name.rpartition('-')[0]} runs\n")
        if code is None:
            killed.wait(20)
            return 137
        return code

    def ok(self, argv: Sequence[str]) -> bool:
        if "kill" in argv:
            self.signals.append(argv[3])
            if argv[3] == "KILL" or not self.ignores_term:
                self._killed.get(argv[4], threading.Event()).set()
        return True


class World:
    """A runner, its jobs, and what went on in podman."""

    def __init__(self, folder: Path, podman: Podman) -> None:
        self.podman, self.jobs, self.faults, self.log = podman, JobStore(), FaultInjector(), LogStore()
        self.shared = SharedResources(
            faults=self.faults, gcs=folder, logs=folder, log_store=self.log, emulator_id="1d",
            insecure_registries=("open.example",),
        )  # fmt: skip
        self.runners: list[JobRunner] = []

    def run(self, *jobs: CustomJob, parallel: int = 1) -> list[JobRecord]:
        runner = JobRunner(self.jobs, self.shared, parallel)
        self.runners.append(runner)
        records = [self.jobs.add(PARENT, job) for job in jobs]
        for record in records:
            runner.submit(record)
        return records

    def state(self, record: JobRecord) -> str:
        return str(self.jobs.state(record).name).removeprefix("JOB_STATE_")

    def until(self, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + 20
        while not holds():
            assert time.monotonic() < end, "it never came to hold"
            time.sleep(0.005)

    def ended(self, record: JobRecord) -> CustomJob:
        self.until(lambda: self.jobs.has_ended(record))
        return CustomJob.deserialize(self.jobs.serialize(record))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    podman = Podman()
    monkeypatch.setattr(process, "run_logged", podman.run_logged)
    monkeypatch.setattr(process, "ok", podman.ok)
    monkeypatch.setattr(process, "tool", lambda name: name)
    monkeypatch.setattr(cgroups, "in_cgroup2", lambda argv: argv)
    monkeypatch.setattr(gpu_pool, "find_gpus", tuple)
    made = World(tmp_path, podman)
    yield made
    for runner in made.runners:
        runner.stop()


def test_a_job_runs_all_its_replicas_and_their_lines_are_logged(world: World) -> None:
    [record] = world.run(custom_job(pool(), pool(replica_count=2)))
    assert world.ended(record).state == JobState.JOB_STATE_SUCCEEDED
    assert len(world.podman.runs) == 3 and len(world.podman.pulls) == 1
    assert {line.task for line in world.log.lines()} == {"workerpool0-0", "workerpool1-0", "workerpool1-1"}


@pytest.mark.parametrize(
    ("image", "insecure"), [("localhost:5000/x", True), ("open.example/x", True), ("a.io/x", False)]
)
def test_an_image_is_pulled_once_with_tls_unless_its_registry_lacks_it(
    image: str, insecure: bool, world: World
) -> None:
    job = custom_job(pool(container_spec={"image_uri": image}))
    for record in world.run(job, job):
        world.ended(record)
    assert [("--tls-verify=false" in argv, argv[-1]) for argv in world.podman.pulls] == [(insecure, image)]


def test_an_image_that_cannot_be_pulled_fails_the_job(world: World) -> None:
    world.podman.pull_fails = True
    [record] = world.run(custom_job())
    job = world.ended(record)
    assert job.state == JobState.JOB_STATE_FAILED and job.error.message.endswith("localhost/image: manifest unknown")
    assert [(line.task, line.text) for line in world.log.lines()] == [("service", job.error.message)]


@pytest.mark.parametrize(("code", "words"), [(3, "non-zero status of 3"), (125, "could not be started")])
def test_the_first_failure_ends_the_other_replicas(code: int, words: str, world: World) -> None:
    world.podman.codes = [code, None, None]
    [record] = world.run(custom_job(pool(), pool(replica_count=2)))
    job = world.ended(record)
    assert job.state == JobState.JOB_STATE_FAILED and words in job.error.message
    assert set(world.podman.signals) <= {"TERM"}


def test_a_container_that_cannot_be_run_at_all_fails_the_job(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def in_cgroup2(_: object) -> None:
        raise ToolError("no cgroup")

    monkeypatch.setattr(cgroups, "in_cgroup2", in_cgroup2)
    [record] = world.run(custom_job())
    assert "no cgroup" in world.ended(record).error.message


def test_a_cancel_ends_a_running_job_and_a_queued_one_at_once(world: World) -> None:
    world.podman.codes = [None]
    running, queued = world.run(custom_job(), custom_job())
    world.until(lambda: bool(world.podman.runs))
    [runner] = world.runners
    runner.cancel(queued)
    assert world.state(queued) == "CANCELLED"
    runner.cancel(running)
    assert world.state(running) in ("CANCELLING", "CANCELLED")
    assert world.ended(running).error.code == 1 and len(world.podman.runs) == 1


def test_a_container_that_ignores_sigterm_is_killed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_run, "_GRACE", 0.1)
    world.podman.codes, world.podman.ignores_term = [None], True
    [record] = world.run(custom_job())
    world.until(lambda: bool(world.podman.runs))
    world.runners[0].cancel(record)
    world.ended(record)
    assert world.podman.signals[0] == "TERM" and world.podman.signals[-1] == "KILL"


def test_the_end_of_the_emulator_ends_its_jobs(world: World) -> None:
    world.podman.codes = [None]
    running, queued = world.run(custom_job(), custom_job())
    world.until(lambda: bool(world.podman.runs))
    world.runners[0].stop()
    assert world.ended(running).error.message == "The emulator has ended." and world.state(queued) == "QUEUED"


def test_a_timeout_fails_a_job(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.podman.codes = [None]
    [record] = world.run(custom_job(scheduling={"timeout": {"seconds": 100}}))
    world.until(lambda: bool(world.podman.runs))
    monkeypatch.setattr(job_run, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + 200))
    job = world.ended(record)
    assert job.state == JobState.JOB_STATE_FAILED and "timeout of 100 seconds" in job.error.message


@pytest.mark.parametrize(("restart", "runs"), [(False, 3), (True, 4)])
def test_a_preempted_replica_runs_again_and_the_others_too_if_the_job_asks_for_it(
    restart: bool, runs: int, world: World
) -> None:
    world.faults.replace(Faults(preempted=1, preempted_after=0.02))
    world.podman.codes = [None, None]
    [record] = world.run(custom_job(pool(), pool(), scheduling={"restart_job_on_worker_restart": restart}))
    world.until(lambda: len(world.podman.runs) >= 3)
    if not restart:
        [other] = [
            argv for argv in world.podman.runs[:2] if argv[argv.index("--name") + 1] not in str(world.podman.runs[2])
        ]
        world.podman.ok(("podman", "kill", "--signal", "KILL", other[other.index("--name") + 1]))
        assert "137" in world.ended(record).error.message
    else:
        assert world.ended(record).state == JobState.JOB_STATE_SUCCEEDED
    assert len(world.podman.runs) == runs and "KILL" in world.podman.signals


def test_a_job_may_wait_as_if_for_machines(world: World) -> None:
    world.faults.replace(Faults(waits=60))
    [record] = world.run(custom_job())
    world.until(lambda: world.state(record) == "PENDING")
    world.runners[0].cancel(record)
    assert world.ended(record).state == JobState.JOB_STATE_CANCELLED and not world.podman.runs


def test_without_workers_jobs_stay_queued(world: World) -> None:
    [record] = world.run(custom_job(), parallel=0)
    assert world.state(record) == "QUEUED"
