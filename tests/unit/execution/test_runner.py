"""The runner with a real history, and with containers that exist only in this file."""

import errno
import os
import shutil
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import pytest
from attrs import evolve

from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.execution import ended_logs, gpu_slots, points, runner
from ocicaliban.execution.runner import Options, Outcome
from ocicaliban.execution.scheduler import State, slots
from ocicaliban.gpu import lease as gpu_lease
from ocicaliban.gpu.cdi import Device
from ocicaliban.history import access
from ocicaliban.history.store import History
from ocicaliban.jobs import lease
from ocicaliban.model.job import Attempt, Job, JobSpec, Submission
from ocicaliban.targets.container_runner import ContainerExit, MachineFault, ObservedContainer
from tests import cdi_specs


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Device, ...]:
    """Two GPUs, and a folder for their leases."""
    monkeypatch.setattr(gpu_lease, "SHARED", (tmp_path,))
    monkeypatch.setattr(gpu_slots, "_PAUSE", 0)
    return cdi_specs.full(tmp_path / "cdi")


class Machine:
    """Containers, as long as the test lasts: the first argument of a job says what it does."""

    def __init__(self) -> None:
        self.containers: dict[str, ObservedContainer] = {}
        self.live: set[str] = set()
        self.jobs: dict[str, Job] = {}
        self.ran: list[tuple[str, tuple[str, ...]]] = []
        self.signals: list[tuple[str, str]] = []
        self.most = 0
        self.on_start: Callable[[Job], None] = lambda job: None
        self.on_watch: Callable[[str], None] = lambda handle: None
        self.tell: Callable[[ContainerExit], None] = lambda ended: None
        self.lock = threading.Lock()
        self.full = False

    def connect(self, tell: Callable[[ContainerExit], None]) -> "Machine":
        self.tell = tell
        return self

    def close(self) -> None:
        pass

    def running(self) -> list[ObservedContainer]:
        return [there for there in [*self.containers.values()] if there.state == "running"]

    def put(self, job: Job, attempt: Attempt, state: Literal["created", "running", "exited"], **more: object) -> None:
        labels = {"job": job.key, "attempt": str(attempt.number), "submission": str(job.submission.id)}
        labels.update(more.pop("labels", {}))  # type: ignore[call-overload]
        self.jobs[attempt.handle] = job
        if state == "running":
            self.live.add(attempt.handle)
        self.containers[attempt.handle] = ObservedContainer(handle=attempt.handle, state=state, labels=labels, **more)  # type: ignore[arg-type]

    def start(self, job: Job, attempt: Attempt, devices: tuple[Device, ...] = ()) -> None:
        does = job.args[0]
        if does == "refused":
            raise OcicalibanError("no space left")
        if self.full:
            raise MachineFault("/out: no space left", "free some")
        with self.lock:
            self.put(job, attempt, "running")
            self.ran.append((does, tuple(device.name for device in devices)))
            self.most = max(self.most, len(self.running()))
        self.on_start(job)
        if does in ("ok", "fails") or (does == "fails once" and attempt.number == 1):
            self.end(attempt.handle, int(does != "ok"))
        elif does == "fails once":
            self.end(attempt.handle, 0)

    def end(self, handle: str, code: int) -> None:
        there = evolve(self.containers[handle], state="exited", exit_code=code)
        self.containers[handle] = there
        self.live.discard(handle)
        self.tell(ContainerExit(handle=handle, exit_code=code, started=time.time(), ended=time.time()))

    def watch(self, handle: str) -> None:
        there = self.containers.get(handle)
        if there is None or there.state == "exited":
            self.tell(ContainerExit(handle=handle, exit_code=there.exit_code if there else None))
        else:
            self.on_watch(handle)

    def signal(self, handle: str, name: Literal["TERM", "KILL"]) -> bool:
        self.signals.append((self.jobs[handle].args[0], name))
        if name == "KILL" or self.jobs[handle].args[0] != "deaf":
            self.end(handle, 137 if name == "KILL" else 143)
        return True

    def remove(self, handle: str) -> None:
        if handle in self.live:
            raise OcicalibanError("it runs")
        self.containers.pop(handle, None)

    def find(self, **labels: str) -> Mapping[str, ObservedContainer]:
        return {
            handle: there
            for handle, there in [*self.containers.items()]  # other threads change it
            if all(
                (there.labels.get(name) == value if value else name in there.labels) for name, value in labels.items()
            )
        }


class Told:
    """What would be shown."""

    live = False

    def __init__(self) -> None:
        self.said: list[str] = []
        self.ends: list[tuple[str, str, bool]] = []

    def started(self, job: Job, attempt: Attempt, *, adopted: bool = False) -> None:
        pass

    def ended(self, job: Job, attempt: Attempt, state: State, *, again: bool) -> None:
        self.ends.append((attempt.status, attempt.reason, again))

    def tick(self, state: State) -> None:
        pass

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def machine() -> Machine:
    return Machine()


def _submitted(history: History, *does: str) -> Submission:
    submission = Submission(target="local", group="a-group", user="ada", host="", project="/p", mode="run")
    return history.submit(submission, [JobSpec(args=(word,)) for word in does])


def _statuses(history: History, submission: Submission) -> list[str]:
    return [job.status for job in history.jobs(submission=submission.id)]


def _run(
    history: History,
    submission: Submission,
    machine: Machine,
    *,
    jobs: int = 1,
    told: Told | None = None,
    **more: object,
) -> Outcome:
    options = Options(places=slots((), jobs), **more)  # type: ignore[arg-type]
    return runner.run(history, submission, machine.connect, options, told or Told())


def _resume(history: History, submission: Submission, machine: Machine, **more: object) -> Outcome:
    return runner.resume(history, submission, machine.connect, Options(places=slots(()), **more), Told())  # type: ignore[arg-type]


def test_all_jobs_run_and_nothing_is_left_of_them(history: History, machine: Machine) -> None:
    submission = _submitted(history, *["ok"] * 20)
    outcome = _run(history, submission, machine, jobs=3)
    assert outcome == Outcome(succeeded=20)
    assert outcome.exit_code == 0
    assert _statuses(history, submission) == ["succeeded"] * 20
    assert machine.containers == {}
    assert machine.most <= 3
    assert not lease.is_held(submission)
    job = history.jobs(submission=submission.id)[0]
    assert job.last and job.last.exit_code == 0
    assert job.out == str(runner.folder(job) / "out")
    assert job.last.log == str(runner.folder(job) / "attempt-1.log")


def test_a_failure_is_kept_with_its_reason_and_tried_again(history: History, machine: Machine) -> None:
    submission = _submitted(history, "fails once", "fails", "ok")
    told = Told()
    outcome = _run(history, submission, machine, told=told, retries=1)
    assert outcome == Outcome(succeeded=2, failed=1)
    assert outcome.exit_code == 1
    jobs = history.jobs(submission=submission.id)
    tried = [[(each.status, each.reason) for each in job.attempts] for job in jobs]
    failed = ("failed", "exit code 1")
    assert tried == [[failed, ("succeeded", "")], [failed, failed], [("succeeded", "")]]
    assert Counter(told.ends) == {(*failed, True): 2, (*failed, False): 1, ("succeeded", "", False): 2}


def test_each_job_is_alone_on_its_gpus(history: History, machine: Machine, gpus: tuple[Device, ...]) -> None:
    submission = _submitted(history, *["ok"] * 8)
    options = Options(places=slots([gpu.qualified for gpu in gpus]), gpus=gpus)
    runner.run(history, submission, machine.connect, options, Told())
    assert {devices for _, devices in machine.ran} == {("0",), ("1",)}


def test_a_gpu_that_another_program_uses_is_waited_for(
    history: History, machine: Machine, gpus: tuple[Device, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    submission, told = _submitted(history, *["ok"] * 6), Told()
    other = gpu_lease.Leases()
    assert other.take(gpu_lease.units(gpus[:1])) is None
    # Its other GPU belongs to a container that a killed process left.
    left = ObservedContainer(handle="left", state="running", labels={"devices": gpus[1].qualified, "group": "old-owl"})
    machine.containers["left"] = left
    looks: list[list[tuple[str, ...]]] = []

    def look(state: State) -> None:
        looks.append([devices for _, devices in machine.ran])
        if len(looks) == 2:
            machine.containers.pop("left")

    told.tick = look  # type: ignore[method-assign]
    monkeypatch.setattr(gpu_slots, "_PAUSE", 0.01)
    monkeypatch.setattr(runner, "_LONGEST_WAIT", 0.01)
    options = Options(places=slots([gpu.qualified for gpu in gpus]), gpus=gpus)
    assert runner.run(history, submission, machine.connect, options, told).succeeded == 6
    assert looks[0] == [] and {devices for _, devices in machine.ran} == {("1",)}
    assert "is in use by" in told.said[0] and "`ocicaliban status --group old-owl` shows it" in told.said[1]


def test_gpus_that_are_shared_are_not_waited_for(history: History, machine: Machine, gpus: tuple[Device, ...]) -> None:
    other = gpu_lease.Leases()
    assert other.take(gpu_lease.units(gpus)) is None
    options = Options(places=slots([gpu.qualified for gpu in gpus]), gpus=gpus, share_gpus=True)
    assert runner.run(history, _submitted(history, "ok"), machine.connect, options, Told()).succeeded == 1


def test_what_cannot_be_started_says_why(history: History, machine: Machine) -> None:
    submission = _submitted(history, *["refused"] * 5)
    told = Told()
    assert _run(history, submission, machine, told=told) == Outcome(failed=3, left=2)
    assert told.ends[0] == ("failed", "no space left", False)
    assert told.said == ["note: no container can be started; the other jobs stay queued"]


def test_a_full_disk_costs_no_job_its_try(history: History, machine: Machine) -> None:
    submission = _submitted(history, *["ok"] * 5)
    told = Told()
    machine.full = True
    assert _run(history, submission, machine, told=told) == Outcome(left=5)
    assert told.said[0] == "error: /out: no space left\n hint: free some"
    assert Counter(job.status for job in history.jobs(submission=submission.id)) == {"queued": 5}
    machine.full = False
    assert runner.resume(history, submission, machine.connect, Options(places=slots((), 2)), told).succeeded == 5


def test_a_folder_for_results_is_the_users(history: History, machine: Machine, tmp_path: Path) -> None:
    submission = _submitted(history, "ok")
    _run(history, submission, machine, out=str(tmp_path / "results"))
    (job,) = history.jobs(submission=submission.id)
    assert job.out == str(tmp_path / "results" / "a-group" / str(job.id))


def test_an_interrupt_asks_and_leaves_the_jobs_queued(history: History, machine: Machine) -> None:
    submission = _submitted(history, "hangs", "ok")
    machine.on_start = lambda job: os.kill(os.getpid(), signal.SIGINT)
    before = signal.getsignal(signal.SIGINT)
    outcome = _run(history, submission, machine)
    assert outcome == Outcome(left=2, signal=signal.SIGINT)
    assert outcome.exit_code == 130
    assert machine.signals == [("hangs", "TERM")]
    assert signal.getsignal(signal.SIGINT) is before
    first, second = history.jobs(submission=submission.id)
    assert (first.status, second.status, second.attempts) == ("queued", "queued", ())
    assert first.last and first.last.status == "stopped"
    assert first.last.reason == "interrupted: ended by SIGTERM (exit code 143)"


@pytest.mark.timeout(30)
def test_a_signal_that_does_not_wake_the_main_thread_counts(
    history: History, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread gets it. To the main thread, that is the same as getting it just before it waits."""
    monkeypatch.setattr(runner, "_LONGEST_WAIT", 0.05)
    submission = _submitted(history, "hangs")
    send = threading.Timer(0.2, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGINT))
    machine.on_start = lambda job: send.start()
    assert _run(history, submission, machine) == Outcome(left=1, signal=signal.SIGINT)


def test_what_does_not_end_in_time_is_killed(history: History, machine: Machine) -> None:
    submission = _submitted(history, "deaf")
    machine.on_start = lambda job: os.kill(os.getpid(), signal.SIGTERM)
    outcome = _run(history, submission, machine, grace=0)
    assert outcome.exit_code == 143
    assert machine.signals == [("deaf", "TERM"), ("deaf", "KILL")]


def test_a_second_interrupt_kills(history: History, machine: Machine) -> None:
    submission = _submitted(history, "deaf")

    class Impatient(Told):
        def say(self, text: str) -> None:
            super().say(text)
            if len(self.said) == 1:
                os.kill(os.getpid(), signal.SIGTERM)

    machine.on_start = lambda job: os.kill(os.getpid(), signal.SIGINT)
    told = Impatient()
    _run(history, submission, machine, grace=1000, told=told)
    assert ("deaf", "KILL") in machine.signals
    assert told.said == ["interrupted: 1 job asked to end; interrupt again to kill", "interrupted again: 1 job killed"]


def test_fail_fast_ends_the_others(history: History, machine: Machine) -> None:
    submission = _submitted(history, "hangs", "fails", "ok")
    told = Told()
    outcome = _run(history, submission, machine, jobs=2, fail_fast=True, told=told)
    assert outcome == Outcome(failed=1, left=2)
    assert told.said == ["--fail-fast: 1 job asked to end, the others stay queued"]
    assert _statuses(history, submission) == ["queued", "failed", "queued"]


def test_a_job_that_another_process_stops_is_not_retried(history: History, machine: Machine, tmp_path: Path) -> None:
    submission = _submitted(history, "hangs", "ok", "ok")

    def stop(job: Job) -> None:
        with access.open(f"sqlite:///{tmp_path}/history.db") as another:
            if job.args == ("hangs",):
                another.end(job.id, 1, "stopped", reason="stopped by ada", ended=time.time())
                another.stop_queued([job.id + 2])
                machine.signal(f"ocicaliban-{job.key}-1", "TERM")

    machine.on_start = stop
    told = Told()
    outcome = _run(history, submission, machine, retries=3, told=told)
    assert outcome == Outcome(succeeded=1, stopped=2)
    assert _statuses(history, submission) == ["stopped", "succeeded", "stopped"]
    assert told.ends[0] == ("stopped", "stopped by ada", False)
    assert machine.containers == {}


def test_a_job_stopped_before_it_had_a_container_is_stopped(history: History, machine: Machine, tmp_path: Path) -> None:
    submission = _submitted(history, "hangs")

    def stop(job: Job) -> None:
        with access.open(f"sqlite:///{tmp_path}/history.db") as another:
            another.end(job.id, 1, "stopped", ended=time.time())

    machine.on_start = stop
    assert _run(history, submission, machine).stopped == 1
    assert machine.signals == [("hangs", "KILL")]


def test_a_submission_is_run_by_one_process_at_a_time(
    history: History, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "_PATIENCE", 0.01)
    submission = _submitted(history, "ok", "ok")
    faults: list[str] = []

    def another(_: Job) -> None:
        if not faults:
            assert lease.is_held(submission)
            with pytest.raises(UsageError) as raised:
                runner.resume(history, submission, machine.connect, Options(places=slots(())), Told())
            faults.append(raised.value.message)

    machine.on_start = another
    assert _run(history, submission, machine).succeeded == 2
    assert faults == ["another ocicaliban runs these jobs of 'a-group'"]


def test_what_a_killed_process_left_is_taken_up(history: History, machine: Machine) -> None:
    does = ["ok", "hangs", "ok", "ok", "ok", "ok", "fails"]
    submission = _submitted(history, *does)
    jobs = history.jobs(submission=submission.id)
    attempts = [history.begin(job.id, out="/o", started=time.time()) for job in jobs[:6]]
    done, runs, gone, made, shut, late = (attempt for attempt in attempts if attempt)
    machine.put(jobs[0], done, "exited", exit_code=0)
    machine.put(jobs[1], runs, "running")
    machine.put(jobs[3], made, "created")
    machine.put(jobs[4], shut, "exited", exit_code=None)
    machine.on_watch = lambda handle: threading.Timer(0.1, lambda: machine.end(handle, 0)).start()
    outcome = _resume(history, submission, machine)
    assert outcome == Outcome(succeeded=6, failed=1)
    assert Counter(does for does, _ in machine.ran) == {"ok": 4, "fails": 1}
    found = history.jobs(submission=submission.id)
    assert [(each.status, each.reason) for each in found[1].attempts] == [("succeeded", "")]
    reasons = [found[index].attempts[0].reason for index in (2, 3, 4, 5)]
    assert reasons == [
        "its container is gone",
        "it was never started, since ocicaliban was killed",
        "the machine went down while it ran",
        "its container is gone",
    ]
    assert {found[index].attempts[0].status for index in (2, 3, 4, 5)} == {"lost"}
    assert [len(job.attempts) for job in found] == [1, 1, 2, 2, 2, 2, 1]
    assert machine.containers == {}
    assert gone and late


def test_a_container_that_is_made_after_all_is_removed_in_the_end(history: History, machine: Machine) -> None:
    submission = _submitted(history, "ok")
    (job,) = history.jobs(submission=submission.id)
    attempt = history.begin(job.id, out="/o", started=time.time())
    assert attempt
    machine.on_start = lambda _: machine.put(job, attempt, "created")
    assert _resume(history, submission, machine).succeeded == 1
    assert machine.containers == {}


def test_an_adopted_job_keeps_its_gpu(history: History, machine: Machine, gpus: tuple[Device, ...]) -> None:
    submission = _submitted(history, "hangs", "ok", "ok")
    job, *_ = history.jobs(submission=submission.id)
    attempt = history.begin(job.id, out="/o", started=time.time())
    assert attempt
    machine.put(job, attempt, "running", labels={"devices": gpus[0].qualified})
    machine.on_start = lambda _: machine.end(attempt.handle, 0) if len(machine.ran) == 2 else None
    options = Options(places=slots([gpu.qualified for gpu in gpus]), gpus=gpus)
    assert runner.resume(history, submission, machine.connect, options, Told()).succeeded == 3
    assert machine.ran == [("ok", ("1",)), ("ok", ("1",))]


def test_failures_before_the_kill_count_and_those_before_a_resubmit_do_not(history: History, machine: Machine) -> None:
    submission = _submitted(history, "fails")
    (job,) = history.jobs(submission=submission.id)
    attempt = history.begin(job.id, out="/o", started=time.time())
    assert attempt
    history.end(job.id, attempt.number, "failed", ended=time.time(), again=True)
    assert _resume(history, submission, machine, retries=1).failed == 1
    assert len(machine.ran) == 1
    again = history.resubmit(evolve(submission, id=0, created=0.0), [job.id])
    assert _resume(history, again, machine, retries=1).failed == 1
    assert len(machine.ran) == 3


def test_an_adopted_job_without_a_known_result_is_run_again(history: History, machine: Machine) -> None:
    submission = _submitted(history, "ok")
    (job,) = history.jobs(submission=submission.id)
    attempt = history.begin(job.id, out="/o", started=time.time())
    assert attempt
    machine.put(job, attempt, "running")
    machine.live.clear()  # as podman does not see
    machine.on_watch = lambda handle: machine.tell(ContainerExit(handle=handle))
    assert _resume(history, submission, machine).succeeded == 1
    (job,) = history.jobs(submission=submission.id)
    assert [each.status for each in job.attempts] == ["lost", "succeeded"]
    assert machine.containers == {}


def test_a_container_that_someone_removes_is_a_failure(history: History, machine: Machine) -> None:
    submission = _submitted(history, "hangs")
    machine.on_start = lambda _: machine.tell(ContainerExit(handle=machine.live.pop()))
    told = Told()
    assert _run(history, submission, machine, told=told).failed == 1
    assert told.ends == [("failed", "its container is gone, and its result with it", False)]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda file: file.unlink(), "was removed while it was in use"),
        (lambda file: file.with_name(f"{file.name}-wal").unlink(), "a part of the history, was removed while it was"),
        (lambda file: file.with_name(f"{file.name}-shm").unlink(), "a part of the history, was removed while it was"),
        (lambda file: shutil.copy(file, f"{file}.copy") and os.replace(f"{file}.copy", file), "replaced by another"),
        (lambda file: file.parent.rename(f"{file.parent}-2"), "was removed while it was in use"),
        (lambda file: sqlite3.connect(file, isolation_level=None).execute("DELETE FROM job"), "does not have job"),
    ],
)
@pytest.mark.parametrize("does", ["ok", "waits"])
def test_a_history_that_is_harmed_meanwhile_is_an_error_and_no_success(
    history: History, machine: Machine, harm: Callable[[Path], object], said: str, does: str
) -> None:
    submission = _submitted(history, "ok", does, "ok")
    told = Told()

    def start(job: Job) -> None:
        if len(machine.ran) == 2:
            harm(history.place.file)
            machine.end(machine.running()[0].handle, 0)

    machine.on_start = start
    with pytest.raises(OcicalibanError, match=said):
        _run(history, submission, machine, told=told)
    assert "no end on record; what runs goes on; the logs and results are in " in told.said[-1]
    assert "note: 0 jobs" not in told.said[-1]
    assert not lease.is_held(submission)


class Chosen:
    """A search for the test: the words that its jobs get, one after the other."""

    def __init__(self, *words: str) -> None:
        self.words = list(words)
        self.asked: list[int] = []
        self.bad: dict[int, str] = {}
        self.fault: Exception | None = None

    def waits(self, job: Job) -> bool:
        return not job.parameters

    def point(self, job: Job) -> JobSpec | None:
        self.asked.append(job.id)
        if self.fault:
            raise self.fault
        if not self.words:
            return None
        word = self.words.pop(0)
        return JobSpec(parameters=(("word", word), ("n", len(self.asked))), args=(word,))

    def hopeless(self, running: Sequence[Job]) -> Mapping[int, str]:
        return {job.id: why for job in running if (why := self.bad.get(job.id))}

    def note(self) -> str:
        return ""


def test_a_job_gets_its_parameters_when_its_turn_comes(history: History, machine: Machine) -> None:
    submission = _submitted(history, *["later"] * 4)
    search = Chosen("ok", "fails", "ok")
    on_record: list[tuple[tuple[str, object], ...]] = []
    machine.on_start = lambda job: on_record.append(history.jobs(ids=[job.id])[0].parameters)
    outcome = _run(history, submission, machine, points=search)
    assert outcome == Outcome(succeeded=2, failed=1, spared=1), "there was no point for the last one"
    assert on_record == [(("word", word), ("n", n)) for n, word in enumerate(("ok", "fails", "ok"), 1)]
    jobs = history.jobs(submission=submission.id)
    assert search.asked == [job.id for job in jobs]
    assert jobs[3].last and jobs[3].last.reason == "the search has tried all points"


def test_a_point_on_record_is_not_chosen_again(history: History, machine: Machine) -> None:
    submission = _submitted(history, "later", "later")
    first = history.jobs(submission=submission.id)[0]
    assert history.assign(first.id, JobSpec(parameters=(("word", "ok"),), args=("ok",)))
    assert not history.assign(first.id, JobSpec(parameters=(("word", "x"),), args=("x",))), "it has one"
    search = Chosen("ok")  # as after a kill between the record and the start
    assert _resume(history, submission, machine, points=search) == Outcome(succeeded=2)
    assert search.asked == [first.id + 1]
    assert not history.assign(first.id, JobSpec(parameters=(("word", "x"),), args=("x",))), "it has ended"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (OcicalibanError("Optuna cannot name the next point", "a hint"), "Optuna cannot name the next point\n hint: a"),
        (OSError(errno.EIO, "no disk"), "no disk\n hint: "),
        (
            AttributeError("no such thing"),
            "no point can be chosen: AttributeError: no such thing\n hint: --search random",
        ),
    ],
)
def test_a_search_that_fails_leaves_its_jobs_queued(
    history: History, machine: Machine, fault: Exception, words: str
) -> None:
    submission = _submitted(history, *["later"] * 3)
    search, told = Chosen(), Told()
    search.fault = fault
    outcome = _run(history, submission, machine, points=search, told=told)
    assert outcome == Outcome(left=3) and outcome.exit_code == 1
    assert any(f"error: {words}" in said for said in told.said)
    assert _resume(history, submission, machine, points=Chosen("ok", "ok", "ok")) == Outcome(succeeded=3)


def test_an_interrupt_while_a_point_is_chosen_begins_nothing(history: History, machine: Machine) -> None:
    submission = _submitted(history, "later", "later")
    search, told = Chosen("ok", "ok"), Told()
    choose = search.point

    def interrupted(job: Job) -> JobSpec | None:
        os.kill(os.getpid(), signal.SIGINT)
        while not told.said:  # the loop has heard of it
            time.sleep(0.001)
        return choose(job)

    search.point = interrupted  # type: ignore[method-assign]
    outcome = _run(history, submission, machine, points=search, told=told)
    assert outcome.left == 2 and not machine.ran
    assert history.jobs(submission=submission.id)[0].parameters, "it is on record, and the next run takes it"


def test_an_interrupt_while_no_point_is_left_counts_nothing_twice(history: History, machine: Machine) -> None:
    submission = _submitted(history, "later", "later")
    search, told = Chosen(), Told()

    def interrupted(job: Job) -> JobSpec | None:
        os.kill(os.getpid(), signal.SIGINT)
        while not told.said:  # the loop has heard of it
            time.sleep(0.001)
        return None

    search.point = interrupted  # type: ignore[method-assign]
    assert _run(history, submission, machine, points=search, told=told) == Outcome(spared=1, left=1, signal=2)
    assert _statuses(history, submission) == ["stopped", "queued"]


def test_a_job_that_has_succeeded_is_not_stopped_while_its_log_is_converted(
    history: History, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(points, "_PAUSE", 0)
    monkeypatch.setattr(runner, "_LONGEST_WAIT", 0.01)
    submission = _submitted(history, "ok")
    [job] = history.jobs(submission=submission.id)
    search, ended, looks = Chosen(), threading.Event(), threading.Semaphore(0)
    search.waits = lambda job: False  # type: ignore[method-assign]

    def hopeless(running: Sequence[Job]) -> Mapping[int, str]:
        if ended.is_set():
            looks.release()
        return {job.id: "acc was 0.1"}  # from curves that it read before the end

    def convert(self: object, log: str) -> None:
        ended.set()
        assert all(looks.acquire(timeout=60) for _ in range(2)), "the loop has what the first look has found"

    search.hopeless = hopeless  # type: ignore[method-assign]
    monkeypatch.setattr(ended_logs.EndedLogs, "convert", convert)
    assert _run(history, submission, machine, points=search) == Outcome(succeeded=1)
    assert _statuses(history, submission) == ["succeeded"] and not machine.signals


def test_what_a_look_cannot_do_is_told_once(
    history: History, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(points, "_PAUSE", 0)
    monkeypatch.setattr(runner, "_LONGEST_WAIT", 0.01)
    submission = _submitted(history, "waits")
    search, told, looks = Chosen(), Told(), []
    search.waits = lambda job: False  # type: ignore[method-assign]

    def hopeless(running: Sequence[Job]) -> Mapping[int, str]:
        looks.append(running)
        if len(looks) > 3:
            return {job.id: "acc was 0.1" for job in running}
        raise KeyError("step")

    search.hopeless = hopeless  # type: ignore[method-assign]
    search.note = lambda: "note: no job has it" if len(looks) == 4 else ""  # type: ignore[method-assign]
    assert _run(history, submission, machine, points=search, told=told) == Outcome(spared=1)
    assert told.said == ["note: the curves cannot be compared: KeyError: step", "note: no job has it"]


def test_a_hopeless_job_is_stopped_and_not_tried_again(
    history: History, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(points, "_PAUSE", 0)
    submission = _submitted(history, "waits", "ok", "deaf")
    jobs = history.jobs(submission=submission.id)
    search = Chosen()
    search.waits = lambda job: False  # type: ignore[method-assign]
    search.bad = {jobs[0].id: "acc was 0.1", jobs[2].id: "acc was 0.2"}
    outcome = _run(history, submission, machine, points=search, retries=3, grace=0.05)
    assert outcome == Outcome(succeeded=1, spared=2) and outcome.exit_code == 0
    ended = history.jobs(submission=submission.id)
    assert [job.status for job in ended] == ["stopped", "succeeded", "stopped"]
    assert ended[0].last and ended[0].last.reason == "hopeless: acc was 0.1"
    assert ("deaf", "KILL") in machine.signals and machine.containers == {}


def test_a_hopeless_job_that_outlived_its_search_is_killed(history: History, machine: Machine) -> None:
    submission = _submitted(history, "waits", "ok")
    [job, _] = history.jobs(submission=submission.id)
    attempt = history.begin(job.id, started=1.0)
    assert attempt
    machine.put(job, attempt, "running")
    history.end(job.id, attempt.number, "stopped", reason="hopeless: acc was 0.1", ended=2.0)
    search = Chosen()
    search.waits = lambda job: False  # type: ignore[method-assign]
    assert _resume(history, submission, machine, points=search) == Outcome(succeeded=1)
    assert machine.signals == [("waits", "KILL")] and machine.containers == {}
