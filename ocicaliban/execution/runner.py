"""Runs the jobs of a submission in containers of this machine: does what the scheduler decides, and records it.

The protocol is in docs/architecture.md: an attempt is on record before its container exists, and its end before the
container is removed. A process that stops a job of another one records the end as "stopped" before it sends a signal;
that distinguishes it here from a failure, and the job is not tried again.
"""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from attrs import evolve, frozen

from ocicaliban.containers import disk_use
from ocicaliban.errors import OcicalibanError, of_system
from ocicaliban.execution import adoption, on_record, scheduler
from ocicaliban.execution.adoption import MACHINE_DOWN, Remains
from ocicaliban.execution.ended_logs import EndedLogs
from ocicaliban.execution.gpu_slots import SlotLeases
from ocicaliban.execution.points import Points, PointSource
from ocicaliban.execution.progress_view import ProgressView
from ocicaliban.execution.scheduler import Adopted, Slot
from ocicaliban.execution.signals import Interruptions
from ocicaliban.execution.under_way import UnderWay
from ocicaliban.gpu.cdi import Device
from ocicaliban.jobs import lease, lifecycle
from ocicaliban.model.job import UNDER_WAY, Job, Status, Submission
from ocicaliban.system import files, kernel
from ocicaliban.targets.container_runner import ContainerExit, ContainerRunner, MachineFault

if TYPE_CHECKING:
    from ocicaliban.history.store import History  # it imports peewee

GRACE = 10.0
"""Seconds that a job has to end after SIGTERM, as `podman stop` gives."""

_STARTERS = 8
_SETTLERS = 2
_TICK = 0.25  # seconds between two calls of `tick`
# Python acts on a signal when the main thread runs next: one that arrives just before the thread waits would have no
# effect until a job ends. So the loop looks again after so many seconds, without a display too.
_LONGEST_WAIT = 1.0


@frozen(kw_only=True)
class Options:
    """How to run a submission.

    `places` come from `scheduler.slots`, of the GPUs `gpus`; with `share_gpus`, other programs may use them too. A job
    that fails is tried again `retries` times. With `fail_fast`, the first job that fails for good ends all. `grace` is
    in seconds. `out` is the folder for the folders of results ("": beside the logs). `points` names the parameters of
    jobs that have none yet.
    """

    places: tuple[Slot, ...]
    gpus: tuple[Device, ...] = ()
    share_gpus: bool = False
    retries: int = 0
    fail_fast: bool = False
    grace: float = GRACE
    out: str = ""
    points: PointSource | None = None


@frozen(kw_only=True)
class Outcome:
    """How many jobs ended in which way here. `left` are queued, `spared` stopped by their search; `signal` ended it."""

    succeeded: int = 0
    failed: int = 0
    stopped: int = 0
    spared: int = 0
    left: int = 0
    signal: int = 0

    @property
    def exit_code(self) -> int:
        """0 when all jobs succeeded; 128 and the number of the signal that interrupted them; else 1."""
        if self.signal:
            return 128 + self.signal
        return 1 if self.failed or self.stopped or self.left else 0


Connect = Callable[[Callable[[ContainerExit], None]], ContainerRunner]
"""Makes what starts containers. It calls the given function for each end: `partial(LocalRunner, service, setup)`."""


def folder(job: Job) -> Path:
    """Return the folder of a job's logs, and of its results where no other folder was asked for."""
    return files.state() / "jobs" / job.submission.group / str(job.id)


def results(job: Job, out: str) -> Path:
    """Return a job's folder of results: in the folder `out` that was asked for, or beside its logs."""
    if not out:
        return folder(job) / "out"
    return Path(out).absolute() / job.submission.group / str(job.id)


def run(history: History, submission: Submission, connect: Connect, options: Options, view: ProgressView) -> Outcome:
    """Run the queued jobs of a new submission, until none is left or the user interrupts it.

    Signals (INT, TERM, HUP) are handled meanwhile. Raises UsageError when another process runs it, OcicalibanError
    when the history or podman fails; running jobs go on then, and `resume` takes them up.
    """
    with lease.held(submission), _SubmissionRun(history, submission, connect, options, view) as running:
        return running.run(adopting=False)


def resume(history: History, submission: Submission, connect: Connect, options: Options, view: ProgressView) -> Outcome:
    """Run what is left of a submission, as `run` does: wait for what still runs, and record what ended meanwhile."""
    with lease.held(submission), _SubmissionRun(history, submission, connect, options, view) as running:
        return running.run(adopting=True)


class _SubmissionRun:
    """The running of a submission, a context. Everything but starting, signalling and removing is in one thread."""

    def __init__(
        self, history: History, submission: Submission, connect: Connect, options: Options, view: ProgressView
    ) -> None:
        self._history = history
        self._submission = submission
        self._options = options
        self._view = view
        self._devices = {device.qualified: device for device in options.gpus}
        # What other threads, and signals, want done: each is called in the order in which it came.
        self._inbox: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._interruptions = Interruptions(lambda number: self._later(self._interrupt, number))
        self._under_way: dict[int, UnderWay] = {}
        self._jobs: dict[str, int] = {}  # by the handles of their attempts under way
        self._deadline: float | None = None
        self._interrupted = 0
        self._logs = EndedLogs(lambda line: self._later(self._view.say, line))
        self._state = scheduler.State(slots=(), queue=())
        self._containers = connect(lambda ended: self._later(self._on_end, ended))
        gpus = () if options.share_gpus else options.gpus
        self._leases = SlotLeases(gpus, lambda: self._containers.find(devices=""), submission.id)
        self._points = Points(options.points, history, self._later, view.say)
        self._starters = ThreadPoolExecutor(max(1, min(len(options.places), _STARTERS)), "start")
        self._settlers = ThreadPoolExecutor(_SETTLERS, "settle")

    def __enter__(self) -> _SubmissionRun:
        return self

    def __exit__(self, *_: object) -> None:
        # After a failure, what has begun to start goes on: it is on record already.
        self._points.close()
        self._starters.shutdown(wait=True, cancel_futures=True)
        self._settlers.shutdown(wait=True, cancel_futures=True)
        self._containers.close()
        self._leases.close()

    def run(self, *, adopting: bool) -> Outcome:
        """Run the jobs until nothing runs and nothing will start; with `adopting`, also what another process left."""
        with self._interruptions.taken():
            if adopting and self._options.points:
                adoption.end_hopeless(self._history, self._submission, self._containers)
            self._begin(adoption.adopt(self._history, self._submission, self._containers) if adopting else Remains())
            try:
                while not self._state.done:
                    self._wait()
                self._settlers.shutdown(wait=True)
                for handle in adoption.left_over(self._history, self._submission, self._containers):
                    self._quietly(functools.partial(self._containers.remove, handle))
                self._history.counts(submission=self._submission.id)  # it may be gone since the last end
            except OcicalibanError:
                top = files.state() / "jobs" / self._submission.group
                self._view.say(on_record.what_remains(len(self._under_way), top, self._options.out))
                raise
        return Outcome(
            succeeded=self._state.succeeded,
            failed=self._state.failed,
            stopped=self._state.stopped - self._points.spared,
            spared=self._points.spared,
            left=self._state.queued,
            signal=self._interrupted,
        )

    def _begin(self, remains: Remains) -> None:
        self._state, actions = scheduler.begin(
            [job.id for job in self._history.queued(self._submission.id)],
            self._options.places,
            adopted=[
                Adopted(job=job.id, devices=remains.devices.get(job.id, ()), failures=remains.failures.get(job.id, 0))
                for job in remains.running
            ],
            withheld=self._leases.withheld(self._options.places, self._view.say),
            failures=remains.failures,
            retries=self._options.retries,
            fail_fast=self._options.fail_fast,
        )
        for job in remains.running:
            assert job.last is not None
            self._note(UnderWay(job=job, attempt=job.last, started=True, adopted=True))
            self._containers.watch(job.last.handle)
        self._act(actions)

    def _look_for_slots(self) -> None:
        """Give GPUs back that nothing needs any more, and take those that others have given back."""
        self._state, over = scheduler.idle(self._state)
        self._leases.release(over)
        if self._state.queued and self._state.phase == "going":
            for slot in self._leases.leased_now(self._state.withheld):
                self._step(scheduler.SlotLeased(slot=slot))

    # --- the loop ---

    def _later(self, do: Callable[..., object], *arguments: object) -> None:
        """Have the loop call a function; any thread, and a signal's handler, may call this."""
        self._inbox.put(functools.partial(do, *arguments))

    def _wait(self) -> None:
        """Do the next thing that is to be done."""
        limit = _TICK if self._view.live else _LONGEST_WAIT
        if self._deadline is not None:
            limit = min(limit, max(0.0, self._deadline - time.monotonic()))
        with contextlib.suppress(queue.Empty):
            self._inbox.get(timeout=limit)()
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self._deadline = None
            self._view.say("the jobs have had their time to end: killing those that still run")
            self._step(scheduler.GraceOver())
        self._look_for_slots()
        if self._state.phase == "going":
            self._points.look(self._under_way, self._signal, self._options.grace)
        self._view.tick(self._state)

    def _step(self, event: scheduler.Event) -> None:
        before = self._state.phase
        self._state, actions = scheduler.step(self._state, event)
        if before == "going" and self._state.phase == "draining":
            self._view.say("note: no container can be started; the other jobs stay queued")
        if before == "going" and self._state.phase == "stopping" and not self._interrupted:
            self._view.say(f"--fail-fast: {_count(len(self._state.running))} asked to end, the others stay queued")
        self._act(actions)

    def _act(self, actions: tuple[scheduler.Action, ...]) -> None:
        for action in actions:
            match action:
                case scheduler.Start():
                    self._start(action.job, action.slot)
                case scheduler.Terminate():
                    self._deadline = self._deadline or time.monotonic() + self._options.grace
                    self._signal(action.job, "TERM")
                case scheduler.Kill():
                    self._deadline = None
                    self._signal(action.job, "KILL")
                case scheduler.Finish():
                    self._finish(action)

    def _note(self, one: UnderWay) -> None:
        self._under_way[one.job.id] = one
        self._jobs[one.handle] = one.job.id
        self._view.started(one.job, one.attempt, adopted=one.adopted)

    def _interrupt(self, number: int) -> None:
        jobs = _count(len(self._state.running))
        if not self._interrupted:
            self._view.say(f"interrupted: {jobs} asked to end; interrupt again to kill")
        else:
            self._view.say(f"interrupted again: {jobs} killed")
            self._interruptions.give_back()  # the third signal ends this process; `resume` finds what runs
        self._interrupted = self._interrupted or number
        self._step(scheduler.Interrupted())

    # --- starting ---

    def _start(self, number: int, slot: Slot) -> None:
        job = on_record.job(self._history, number)
        if not self._points.choose(job, lambda fault: self._on_point(number, slot, fault)):
            self._begin_attempt(job, slot)

    def _on_point(self, number: int, slot: Slot, fault: OcicalibanError | None) -> None:
        if fault and self._state.phase == "going":
            self._view.say(f"error: {fault.message}\n hint: {fault.hint}")
        job = None if fault else on_record.job(self._history, number)
        if job is None or (self._state.phase != "going" and job.status == "queued"):  # no point left: it is stopped
            self._step(scheduler.PutBack(job=number))
        else:
            self._begin_attempt(job, slot)

    def _begin_attempt(self, job: Job, slot: Slot) -> None:
        logs = folder(job)
        # Another attempt goes on in the folder of the first one.
        out = job.out or str(results(job, self._options.out))
        attempt = self._history.begin(
            job.id,
            log=lambda attempt: str(logs / f"attempt-{attempt}.log"),
            out=out,
            started=time.time(),
        )
        if attempt is None:
            self._later(self._step, scheduler.Withdrawn(job=job.id))
            return
        one = UnderWay(job=evolve(job, status="running", out=out), attempt=attempt)
        self._note(one)
        self._starters.submit(self._start_one, one, tuple(self._devices[name] for name in slot.devices))

    def _start_one(self, one: UnderWay, devices: tuple[Device, ...]) -> None:
        try:
            self._containers.start(one.job, one.attempt, devices)
        except (OcicalibanError, OSError) as fault:
            self._later(self._on_refusal, one, of_system(fault) if isinstance(fault, OSError) else fault)
            return
        self._later(self._on_start, one)

    def _on_start(self, one: UnderWay) -> None:
        if self._under_way.get(one.job.id) is not one:
            return  # it has ended already
        one.started = True
        self._step(scheduler.Started(job=one.job.id))
        if one.asked:
            self._signal(one.job.id, one.asked)
        if on_record.attempt(self._history, one.job, one.attempt.number).status not in UNDER_WAY:
            # It was stopped when there was no container yet to send a signal to.
            self._signal(one.job.id, "KILL")

    def _on_refusal(self, one: UnderWay, fault: OcicalibanError) -> None:
        one.result = ContainerExit(handle=one.handle, ended=time.time())
        if (machine := isinstance(fault, MachineFault)) and self._state.phase == "going":
            told = disk_use.explained(fault, (one.job.out, os.path.dirname(one.attempt.log)))
            self._view.say(f"error: {told.message}\n hint: {told.hint}")
        self._step(scheduler.CouldNotStart(job=one.job.id, reason=fault.message, machine=machine))

    # --- ending ---

    def _signal(self, number: int, name: Literal["TERM", "KILL"]) -> None:
        """Send a signal to a job, now or when it has started."""
        one = self._under_way.get(number)
        if one is None:
            return  # it was not queued any more, which the next message in the inbox tells
        one.asked = name
        if one.started:
            self._settlers.submit(self._quietly, functools.partial(self._containers.signal, one.handle, name))

    def _quietly(self, do: Callable[[], object]) -> None:
        try:
            do()
        except (OcicalibanError, OSError) as fault:
            self._later(self._view.say, f"note: {fault}")

    def _on_end(self, ended: ContainerExit) -> None:
        if (number := self._jobs.get(ended.handle)) is not None:
            self._under_way[number].result = ended  # from now on, no search can stop it
            self._settlers.submit(self._settle, self._under_way[number], ended)

    def _settle(self, one: UnderWay, ended: ContainerExit) -> None:
        self._logs.convert(one.attempt.log)
        self._later(self._on_settled, one, ended)

    def _on_settled(self, one: UnderWay, ended: ContainerExit) -> None:
        starved = kernel.oom_kills() > one.oom_kills
        reason = lifecycle.why_failed(ended.exit_code, oom_killed=ended.oom_killed, starved=starved)
        outcome: Literal["succeeded", "failed", "stopped", "lost"] = "failed" if reason else "succeeded"
        if ended.exit_code is None and one.adopted:
            outcome, reason = "lost", MACHINE_DOWN
        recorded = on_record.attempt(self._history, one.job, one.attempt.number)
        if recorded.status not in UNDER_WAY:  # another process has recorded its end
            outcome = "succeeded" if recorded.status == "succeeded" else "stopped"
            reason = recorded.reason
        self._step(scheduler.ContainerEnded(job=one.job.id, outcome=outcome, reason=reason))

    def _finish(self, action: scheduler.Finish) -> None:
        one = self._under_way[action.job]
        result = one.result or ContainerExit(handle=one.handle)
        ended = result.ended or time.time()
        attempt = evolve(
            one.attempt,
            status=action.status,
            started=result.started or one.attempt.started,
            ended=ended,
            exit_code=result.exit_code,
            reason=action.reason,
        )
        self._history.end(
            action.job,
            attempt.number,
            action.status,
            exit_code=result.exit_code,
            reason=action.reason,
            ended=ended,
            again=action.again,
        )
        del self._under_way[action.job], self._jobs[one.handle]  # only now: it has an end on record
        self._settlers.submit(self._quietly, functools.partial(self._containers.remove, one.handle))
        status: Status = "queued" if action.again else action.status
        self._view.ended(evolve(one.job, status=status), attempt, self._state, again=action.again)


def _count(jobs: int) -> str:
    return "1 job" if jobs == 1 else f"{jobs} jobs"
