"""Runs the jobs of a submission: carries out what `schedule` decides, and puts on record what becomes of each.

The protocol is docs/architecture.md's: an attempt is on record before its container is made, its end before the
container is removed. Whoever stops a running job from another process records its end as "stopped" before it sends a
signal; that is how the end is told apart here from a failure, and the job is not tried again.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, Protocol

from attrs import evolve, field, frozen

from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.execution import scheduler
from ocicaliban.execution.scheduler import Adopted, Slot
from ocicaliban.gpu.cdi import Device
from ocicaliban.jobs import log_file
from ocicaliban.model.job import UNDER_WAY, Attempt, Job, Status, Submission
from ocicaliban.system import files
from ocicaliban.targets.container_runner import Ended, Target

if TYPE_CHECKING:
    from ocicaliban.history.access import History  # peewee comes with whoever opens it

GRACE = 10.0
"""Seconds that a job has to end after SIGTERM, as `podman stop` gives."""

ENDING = 3.0
"""Seconds for which a submission may be had by who is at its end, or only looks what became of its jobs."""

_STARTERS = 8
_SAME_KEYPRESS = 0.2
"""Seconds in which a signal that comes again is the same one: `timeout` sends each of its own twice."""
_PATIENCE = 1.0
_TICK = 0.25
_DOWN = "the machine went down while it ran"


@frozen(kw_only=True)
class Options:
    """How a submission is run.

    `places` come from `schedule.slots`, of the GPUs `gpus`. `retries` is how often a job that fails is tried again;
    with `fail_fast` the first that fails for good ends the sweep. `grace` is in seconds. `out` is the folder for the
    folders of results ("": ours).
    """

    places: tuple[Slot, ...]
    gpus: tuple[Device, ...] = ()
    retries: int = 0
    fail_fast: bool = False
    grace: float = GRACE
    out: str = ""


@frozen(kw_only=True)
class Outcome:
    """How many jobs ended how, in this process; `left` are still queued. `signal` is what interrupted it, or 0."""

    succeeded: int = 0
    failed: int = 0
    stopped: int = 0
    left: int = 0
    signal: int = 0

    @property
    def exit_code(self) -> int:
        """0 when all succeeded, else 1, and as shells have it where a signal ended the sweep."""
        if self.signal:
            return 128 + self.signal
        return 1 if self.failed or self.stopped or self.left else 0


class Show(Protocol):
    """What is told while it runs; see `progress.Progress`. All is called from one thread."""

    live: bool
    """Whether `tick` wants to be called several times a second."""

    def started(self, job: Job, attempt: Attempt, *, found: bool = False) -> None:
        """The attempt is about to start, or was `found` running."""

    def ended(self, job: Job, attempt: Attempt, state: scheduler.State, *, again: bool) -> None:
        """The attempt, with its status, times and reason, ended; `again` when the job is queued again."""

    def tick(self, state: scheduler.State) -> None:
        """Some time has passed."""

    def say(self, text: str) -> None:
        """Something else that the user should know."""


Connect = Callable[[Callable[[Ended], None]], Target]
"""Makes the target, which hands each end to what it is given: `partial(LocalTarget, service, setup)`."""


def folder(job: Job) -> Path:
    """Where the logs of a job are, and its results where no other folder was asked for."""
    return files.state() / "jobs" / job.submission.group / str(job.id)


def results(job: Job, out: str) -> Path:
    """A job's folder of results: in the folder `out` that was asked for, or beside its logs."""
    if not out:
        return folder(job) / "out"
    return Path(out).absolute() / job.submission.group / str(job.id)


def run(history: History, submission: Submission, connect: Connect, options: Options, show: Show) -> Outcome:
    """Run the queued jobs of a submission, which is new, until none is left or the user wants no more.

    Signals (INT, TERM, HUP) are handled meanwhile. Raises UsageError when another process runs it, OcicalibanError
    when the history or the target fails; what runs then goes on, and `resume` takes it up.
    """
    with owned(submission):
        return _Sweep(history, submission, connect, options, show).run(found=False)


def resume(history: History, submission: Submission, connect: Connect, options: Options, show: Show) -> Outcome:
    """As `run`, of a submission that was left: what still runs is waited for, and what has ended recorded, first."""
    with owned(submission):
        return _Sweep(history, submission, connect, options, show).run(found=True)


def is_run(submission: Submission, patience: float = 0.0) -> bool:
    """Whether a process on this machine runs the submission, and goes on with it for `patience` seconds."""
    until = time.monotonic() + patience
    while True:
        try:
            with _lock_file(submission).open("rb") as file:
                if _locked(file, fcntl.LOCK_SH):
                    return False
        except FileNotFoundError:
            return False
        if time.monotonic() >= until:
            return True
        time.sleep(0.05)


def was_killed(submission: Submission) -> bool:
    """Whether the process that had the submission last was killed, so that it could not even let go of it."""
    return _lock_file(submission).exists() and not is_run(submission)


def why(exit_code: int | None, *, oom_killed: bool = False) -> str:
    """Why an attempt counts as failed, for the user; "" for one that succeeded."""
    if exit_code is None:
        return "its container is gone, and its result with it"
    if oom_killed:
        return f"it was killed for want of memory (exit code {exit_code})"
    if exit_code > 128:
        with contextlib.suppress(ValueError):
            return f"ended by {signal.Signals(exit_code - 128).name} (exit code {exit_code})"
    return f"exit code {exit_code}" if exit_code else ""


def _lock_file(submission: Submission) -> Path:
    # The time tells apart submissions of two histories, whose numbers may be the same.
    return files.state() / "submissions" / f"{submission.id}-{int(submission.created * 1000)}.lock"


@contextlib.contextmanager
def owned(submission: Submission) -> Iterator[None]:
    """Hold the lock of a submission, which is free as soon as our process is gone.

    Raises UsageError when another process holds it.
    """
    path = _lock_file(submission)
    path.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + _PATIENCE
    while True:
        with path.open("ab") as file:
            if _locked(file, fcntl.LOCK_EX):
                if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    try:
                        yield
                    finally:
                        path.unlink(missing_ok=True)
                    return
                continue  # somebody had it and removed it meanwhile
        if time.monotonic() > until:  # who only asks `is_run` has it for a moment
            hint = f"`ocicaliban status --group {submission.group} --watch` shows it"
            raise UsageError(f"another ocicaliban runs these jobs of '{submission.group}'", hint)
        time.sleep(0.05)


def _locked(file: IO[bytes], how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@frozen(kw_only=True)
class _Under:
    """An attempt that is under way."""

    job: Job
    attempt: Attempt


@frozen(kw_only=True)
class _Left:
    """What another process left of a submission: what runs or has an end to be told, and how often jobs failed."""

    running: tuple[_Under, ...] = ()
    devices: Mapping[int, tuple[str, ...]] = field(factory=dict)
    failures: Mapping[int, int] = field(factory=dict)


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"


class _Sweep:
    """One run of a submission. All but the starting, signalling and removing happens in the caller's thread."""

    def __init__(
        self, history: History, submission: Submission, connect: Connect, options: Options, show: Show
    ) -> None:
        self._history = history
        self._submission = submission
        self._connect = connect
        self._options = options
        self._show = show
        self._devices = {device.qualified: device for device in options.gpus}
        # What other threads, and signals, want to be done: each is called in the order in which it came.
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._under: dict[int, _Under] = {}
        self._handles: dict[str, int] = {}
        self._signals: dict[int, Literal["TERM", "KILL"]] = {}
        self._started: set[str] = set()
        self._adopted: set[str] = set()
        self._results: dict[int, Ended] = {}
        self._deadline: float | None = None
        self._interrupted = 0
        self._last_signal = (0, 0.0)

    def run(self, *, found: bool) -> Outcome:
        self._target = self._connect(lambda ended: self._inbox.put(functools.partial(self._on_end, ended)))
        starters = ThreadPoolExecutor(max(1, min(len(self._options.places), _STARTERS)), "start")
        settlers = ThreadPoolExecutor(2, "settle")
        self._starters, self._settlers = starters, settlers
        try:
            with self._signals_taken():
                left = self._left() if found else _Left()
                self._begin(left)
                while not self._state.done:
                    self._wait()
                settlers.shutdown(wait=True)
                self._clear()
        finally:
            # Where we fail, what has begun to start is let finish: it is on record already.
            starters.shutdown(wait=True, cancel_futures=True)
            settlers.shutdown(wait=True, cancel_futures=True)
            self._target.close()
        state = self._state
        return Outcome(
            succeeded=state.succeeded,
            failed=state.failed,
            stopped=state.stopped,
            left=state.queued,
            signal=self._interrupted,
        )

    # --- what was left by another ---------------------------------------------------------------------------------

    def _left(self) -> _Left:
        """Record what became of the attempts that are on record as running, as far as they do not run."""
        found = self._target.find(submission=str(self._submission.id))
        running: list[_Under] = []
        devices: dict[int, tuple[str, ...]] = {}
        failures: dict[int, int] = {}
        for job in self._history.jobs(submission=self._submission.id, statuses=UNDER_WAY | {"queued"}):
            # A job that was resubmitted has older attempts.
            since = self._submission.created
            if failed := sum(each.status == "failed" and each.started >= since for each in job.attempts):
                failures[job.id] = failed
            if job.status not in UNDER_WAY or job.last is None:
                continue
            there = found.get(job.last.handle)
            lost = ""
            if there is None:
                lost = "its container is gone"
            elif there.state == "exited" and there.exit_code is None:
                lost = _DOWN
            elif there.state == "created":
                lost = "it was never started, since ocicaliban was killed"
            if lost:
                try:
                    self._target.remove(job.last.handle)
                except OcicalibanError:
                    lost = ""  # it was being started when we looked
            if lost:
                self._history.end(job.id, job.last.number, "lost", reason=lost, ended=time.time(), again=True)
                continue
            running.append(_Under(job=job, attempt=job.last))
            if there and (names := there.labels.get("devices", "")):
                devices[job.id] = tuple(names.split(","))
        return _Left(running=tuple(running), devices=devices, failures=failures)

    def _begin(self, left: _Left) -> None:
        adopted = [
            Adopted(job=one.job.id, devices=left.devices.get(one.job.id, ()), failures=left.failures.get(one.job.id, 0))
            for one in left.running
        ]
        self._state, actions = scheduler.begin(
            [job.id for job in self._history.queued(self._submission.id)],
            self._options.places,
            adopted=adopted,
            failures=left.failures,
            retries=self._options.retries,
            fail_fast=self._options.fail_fast,
        )
        for one in left.running:
            self._note(one, found=True)
            self._started.add(one.attempt.handle)
            self._adopted.add(one.attempt.handle)
            self._target.watch(one.attempt.handle)
        self._act(actions)

    # --- the loop -------------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Do the next thing that is to be done."""
        limit = _TICK if self._show.live else None
        if self._deadline is not None:
            until = max(0.0, self._deadline - time.monotonic())
            limit = until if limit is None else min(limit, until)
        with contextlib.suppress(queue.Empty):
            self._inbox.get(timeout=limit)()
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self._deadline = None
            self._show.say("the time to end is over: killing what still runs")
            self._step(scheduler.GraceOver())
        self._show.tick(self._state)

    def _step(self, event: scheduler.Event) -> None:
        before = self._state.phase
        self._state, actions = scheduler.step(self._state, event)
        if before == "going" and self._state.phase == "draining":
            self._show.say("note: podman starts no container, so that the other jobs are left queued")
        if before == "going" and self._state.phase == "stopping" and not self._interrupted:
            self._show.say(f"--fail-fast: {_jobs(len(self._state.running))} asked to end, the others are left queued")
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

    def _note(self, one: _Under, *, found: bool = False) -> None:
        self._under[one.job.id] = one
        self._handles[one.attempt.handle] = one.job.id
        self._show.started(one.job, one.attempt, found=found)

    # --- starting -------------------------------------------------------------------------------------------------

    def _start(self, number: int, slot: Slot) -> None:
        (job,) = self._history.jobs(ids=[number])
        own = folder(job)
        # Another attempt goes on in the folder of the first one.
        out = job.out or str(results(job, self._options.out))
        attempt = self._history.begin(
            job.id,
            log=lambda attempt: str(own / f"attempt-{attempt}.log"),
            out=out,
            started=time.time(),
        )
        if attempt is None:
            self._inbox.put(functools.partial(self._step, scheduler.Withdrawn(job=number)))
            return
        one = _Under(job=evolve(job, status="running", out=out), attempt=attempt)
        self._note(one)
        self._starters.submit(self._start_one, one, tuple(self._devices[name] for name in slot.devices))

    def _start_one(self, one: _Under, devices: tuple[Device, ...]) -> None:
        try:
            self._target.start(one.job, one.attempt, devices)
        except (OcicalibanError, OSError) as fault:
            reason = fault.message if isinstance(fault, OcicalibanError) else str(fault)
            self._inbox.put(functools.partial(self._on_refusal, one, reason))
            return
        self._inbox.put(functools.partial(self._on_start, one))

    def _on_start(self, one: _Under) -> None:
        if self._handles.get(one.attempt.handle) != one.job.id:
            return  # it has ended already
        self._started.add(one.attempt.handle)
        self._step(scheduler.Started(job=one.job.id))
        if asked := self._signals.get(one.job.id):
            self._signal(one.job.id, asked)
        if self._recorded(one).status not in UNDER_WAY:
            # Somebody stopped it when there was no container yet to send a signal to.
            self._signal(one.job.id, "KILL")

    def _on_refusal(self, one: _Under, reason: str) -> None:
        self._results[one.job.id] = Ended(handle=one.attempt.handle, ended=time.time())
        self._step(scheduler.CouldNotStart(job=one.job.id, reason=reason))

    # --- ending ---------------------------------------------------------------------------------------------------

    def _signal(self, number: int, name: Literal["TERM", "KILL"]) -> None:
        """Send a signal to a job, now or when it has started."""
        self._signals[number] = name
        one = self._under.get(number)  # none where it was not queued any more, as we are about to be told
        if one and one.attempt.handle in self._started:
            self._settlers.submit(self._quietly, functools.partial(self._target.signal, one.attempt.handle, name))

    def _quietly(self, do: Callable[[], object]) -> None:
        try:
            do()
        except (OcicalibanError, OSError) as fault:
            self._inbox.put(functools.partial(self._show.say, f"note: {fault}"))

    def _on_end(self, ended: Ended) -> None:
        number = self._handles.get(ended.handle)
        if number is None:
            return
        one = self._under[number]

        def plain() -> None:
            self._quietly(functools.partial(log_file.plain, one.attempt.log))
            self._inbox.put(functools.partial(self._on_settled, one, ended))

        self._settlers.submit(plain)

    def _on_settled(self, one: _Under, ended: Ended) -> None:
        self._results[one.job.id] = ended
        reason = why(ended.exit_code, oom_killed=ended.oom_killed)
        outcome: Literal["succeeded", "failed", "stopped", "lost"] = "failed" if reason else "succeeded"
        if ended.exit_code is None and one.attempt.handle in self._adopted:
            outcome, reason = "lost", _DOWN
        recorded = self._recorded(one)
        if recorded.status not in UNDER_WAY:  # somebody else has put its end on record
            outcome = "succeeded" if recorded.status == "succeeded" else "stopped"
            reason = recorded.reason
        self._step(scheduler.Ended(job=one.job.id, outcome=outcome, reason=reason))

    def _recorded(self, one: _Under) -> Attempt:
        """The attempt as it is on record now."""
        (job,) = self._history.jobs(ids=[one.job.id])
        return next(each for each in job.attempts if each.number == one.attempt.number)

    def _finish(self, action: scheduler.Finish) -> None:
        one, result = self._under.pop(action.job), self._results.pop(action.job)
        handle = one.attempt.handle
        del self._handles[handle]
        self._started.discard(handle)
        self._signals.pop(action.job, None)
        ended = result.ended or time.time()
        self._history.end(
            action.job,
            one.attempt.number,
            action.status,
            exit_code=result.exit_code,
            reason=action.reason,
            ended=ended,
            again=action.again,
        )
        self._settlers.submit(self._quietly, functools.partial(self._target.remove, handle))
        attempt = evolve(
            one.attempt,
            status=action.status,
            started=result.started or one.attempt.started,
            ended=ended,
            exit_code=result.exit_code,
            reason=action.reason,
        )
        status: Status = "queued" if action.again else action.status
        self._show.ended(evolve(one.job, status=status), attempt, self._state, again=action.again)

    def _clear(self) -> None:
        """Remove containers of attempts that are over: one that was being made when another process was killed."""
        number = self._submission.id
        found = self._target.find(submission=str(number))
        keys = {there.labels.get("job", "") for there in found.values() if there.state != "running"}
        for job in self._history.jobs(keys=keys, submission=number) if keys else ():
            for attempt in job.attempts:
                if attempt.handle in found and attempt.status not in UNDER_WAY:
                    self._quietly(functools.partial(self._target.remove, attempt.handle))

    # --- signals --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _signals_taken(self) -> Iterator[None]:
        """Take the signals that end us, but those that whoever started us has us ignore (nohup)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        taken = [
            number
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            if signal.getsignal(number) != signal.SIG_IGN
        ]
        self._before = {number: signal.signal(number, self._on_signal) for number in taken}
        try:
            yield
        finally:
            self._given_back()

    def _given_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _: object) -> None:
        # In the midst of anything: put() of a SimpleQueue may be called here, and nothing else is done.
        now = time.monotonic()
        again = self._last_signal[0] == number and now - self._last_signal[1] < _SAME_KEYPRESS
        self._last_signal = (number, now)
        if not again:
            self._inbox.put(functools.partial(self._interrupt, number))

    def _interrupt(self, number: int) -> None:
        jobs = _jobs(len(self._state.running))
        if not self._interrupted:
            self._show.say(f"interrupted: {jobs} asked to end; once more kills")
        else:
            self._show.say(f"interrupted again: {jobs} killed")
            self._given_back()  # the third time ends us, and what runs is found by `resume`
        self._interrupted = self._interrupted or number
        self._step(scheduler.Interrupted())
