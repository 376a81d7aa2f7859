"""Submit each job exactly once to a service that makes a new job of every request.

The protocol, for each job: look it up by its key; if the service does not have it, send it; if the answer is lost,
look it up again, several times, before sending it again. Every job that the service has is recorded at once, by its
name there. If this process is killed, the next one finds by the keys what was sent.

This is generic: a backend supplies a `Client`.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, Literal, Protocol, TypeVar

from attrs import frozen

from ocicaliban.errors import OcicalibanError, first_line
from ocicaliban.model.job import Status
from ocicaliban.reporter import SILENT, Reporter
from ocicaliban.targets import rate_limit
from ocicaliban.targets.backend import Refused
from ocicaliban.targets.clock import SYSTEM, Clock

Verdict = Literal["throttled", "unclear", "refused"]
"""What a failed create means: not carried out, send it again later; perhaps carried out, look it up; never will be."""


@frozen(kw_only=True)
class CreateRequest:
    """A job to submit: its key, the number of the attempt, and the body of the request as JSON."""

    key: str
    attempt: int = 1
    body: Mapping[str, object]


@frozen(kw_only=True)
class ObservedJob:
    """What a service says about a job.

    `name` is the service's own for it, `state` its own word ("queued", "cancelling") for the `status`, `reason` why it
    failed. Times are in seconds since 1970.
    """

    key: str
    attempt: int
    name: str
    state: str
    status: Status
    reason: str = ""
    created: float = 0.0
    started: float | None = None
    ended: float | None = None


@frozen(kw_only=True)
class Limits:
    """How patient a submission is, in seconds, and how fast it goes.

    `per_minute` is the service's documented quota of requests, `at_once` how many may be under way. A job whose answer
    was lost is looked up after each of the times in `look_after`, and sent again only if the last look did not find
    it: until then the request may still take effect. A submission gives up after `patience` without any answer.
    `ask_every` is how often it asks which jobs were stopped meanwhile.
    """

    per_minute: float = 60.0
    at_once: int = 64
    look_after: tuple[float, ...] = (0.5, 2.0, 5.0)
    patience: float = 600.0
    ask_every: float = 2.0

    @property
    def settles(self) -> float:
        """The seconds after which a request that was sent has taken effect, or never will."""
        return self.look_after[-1]

    def next_look(self, looks: int) -> float | None:
        """Return the seconds to wait before the next look, after so many looks; None: send the job again."""
        times = (0.0, *self.look_after)
        return times[looks + 1] - times[looks] if looks < len(self.look_after) else None


class CreateFault(Exception):
    """A create was not answered by a job's name. `verdict` says what that means, `words` are the service's own."""

    def __init__(self, verdict: Verdict, words: str) -> None:
        super().__init__(words)
        self.verdict = verdict
        self.words = words


Message = TypeVar("Message")


class Client(Protocol[Message]):
    """A connection to a service. `Message` is a request in the form that the service's library sends."""

    @property
    def title(self) -> str:
        """The service's name, to show to people."""

    @property
    def limits(self) -> Limits:
        """How fast and how patiently to submit to this service."""

    def message(self, body: Mapping[str, object]) -> Message:
        """Return a request's body as it is sent. Raises UsageError if the service cannot take it."""

    def create(self, message: Message) -> str:
        """Send a job and return its name. Raises CreateFault."""

    def look(self, *groups: str) -> Sequence[ObservedJob]:
        """Return what the service has of these groups. Raises OcicalibanError, or Refused if asking again is futile."""

    def look_for(self, *keys: str) -> Sequence[ObservedJob]:
        """Return all attempts that the service has at the jobs with these keys. Raises as `look` does."""

    def cancel(self, names: Sequence[str]) -> Mapping[str, str]:
        """Ask the service to end these jobs. Return for each that it does not end the reason.

        A job that has ended is not an error. The reason for a job that it does not have is `unknown(title)`.
        """

    def explain(self, fault: Exception, before: str) -> OcicalibanError:
        """Return a fault of `create`, `look` or `look_for` for people; `before` says what was done until then."""


@frozen(kw_only=True)
class Record:
    """How a submission tells its caller what happens; everything is called by the caller's thread.

    `accepted` gets each job that the service has, with its name; record it there at once. `withdrawn` returns the keys
    of jobs that must not be sent any more. All jobs that are known to be accepted at the same time are told within one
    context of `together`.
    """

    accepted: Callable[[CreateRequest, str], None]
    withdrawn: Callable[[], Collection[str]] = tuple
    together: Callable[[], AbstractContextManager[None]] = nullcontext


def unknown(title: str) -> str:
    """Return why a service cannot cancel a job that it does not have."""
    return f"{title} does not know it"


def looking(title: str, limits: Limits) -> str:
    """Return what to tell somebody who has to wait for requests that may be on their way."""
    return f"looking for {limits.settles:g} s whether some were on their way to {title} already"


def submit(
    client: Client[Message],
    requests: Iterable[CreateRequest],
    group: str,
    record: Record,
    *,
    settle: bool = False,
    reporter: Reporter = SILENT,
    clock: Clock = SYSTEM,
) -> None:
    """Submit these jobs of a `group`, each once; return when the service has all that are not withdrawn.

    Jobs that the service has already, from an earlier call that was killed, are recorded and not sent again. With
    `settle` that call was killed a moment ago: wait first for the requests that may be on their way.

    Raises Refused if the service refuses a job for good, in its own words and with a remedy, and it is known of every
    job whether the service has it. Raises OcicalibanError if that is unknown for some, or if the service has not
    answered for as long as the limits allow. No more jobs are sent then, and all that were accepted are recorded. The
    same goes for any exception of `record`, and for a Ctrl-C.
    """
    if settle:
        reporter.say(looking(client.title, client.limits))
        clock.sleep(client.limits.settles)
    there = {(seen.key, seen.attempt): seen.name for seen in client.look(group)}
    left: deque[tuple[CreateRequest, Message]] = deque()
    with record.together():
        for request in requests:
            if name := there.get((request.key, request.attempt)):
                record.accepted(request, name)
            else:
                left.append((request, client.message(request.body)))
    if left:
        _Submission(client, left, record, reporter, clock).run()


class _Submission(Generic[Message]):
    """One submission under way: its threads, the rate that they share, and the first refusal, which ends it."""

    def __init__(
        self,
        client: Client[Message],
        left: deque[tuple[CreateRequest, Message]],
        record: Record,
        reporter: Reporter,
        clock: Clock,
    ) -> None:
        self._client = client
        self._left = left
        self._record = record
        self._reporter = reporter
        self._clock = clock
        self._limits = client.limits
        self._total = len(left)
        # It protects what follows. Notified when more may be sent than before, and when nothing may any more.
        self._changed = clock.condition()
        self._pace = rate_limit.Pace(per_minute=self._limits.per_minute)
        self._answered = clock.monotonic()
        self._stopping = False
        self._refusal: Exception | None = None
        self._unexpected: Exception | None = None
        self._unknown = 0  # jobs of which it is unknown whether the service has them
        self._told_slow = False
        self._withdrawn: Collection[str] = ()
        # A job with its name, and None from each thread that ends.
        self._done = clock.inbox()
        self._untold: deque[tuple[CreateRequest, str]] = deque()
        self._accepted = 0
        self._working = 0

    def run(self) -> None:
        """Submit all jobs that are left. Raises as `submit` does."""
        self._working = min(self._limits.at_once, len(self._left))
        for _ in range(self._working):
            self._clock.start(self._work)
        try:
            self._record_until_done()
        except (KeyboardInterrupt, SystemExit):
            self._reporter.say("interrupted; the answers that are under way are waited for")
            raise
        finally:
            # The service may still take what is under way, and that must be recorded.
            self._stop()
            while self._working:
                self._receive(None)
            self._tell()
        self._raise_what_ended_it()

    # --- the caller's thread ---

    def _record_until_done(self) -> None:
        asked = self._clock.monotonic()
        while self._working:
            if self._clock.monotonic() > asked + self._limits.ask_every:
                self._withdrawn = self._record.withdrawn()
                asked = self._clock.monotonic()
            try:
                self._receive(self._limits.ask_every)
            except queue.Empty:
                continue
            # Together with all that has come meanwhile: writing each by itself takes longer than submitting it.
            for _ in range(self._done.qsize()):
                self._receive(None)
            self._tell()

    def _receive(self, timeout: float | None) -> None:
        item = self._done.get(timeout=timeout)
        if item is None:
            self._working -= 1
        else:
            self._accepted += 1
            self._untold.append(item)

    def _tell(self) -> None:
        with self._record.together():
            while self._untold:
                self._record.accepted(*self._untold.popleft())

    def _raise_what_ended_it(self) -> None:
        if self._unexpected is not None:
            fault, hint = self._unexpected, "what was sent is found again; --debug shows where it comes from"
            raise OcicalibanError(f"unexpected: {type(fault).__name__}: {first_line(fault)}", hint) from fault
        if self._refusal is None:
            return
        count = self._accepted
        before = f" a job, after {count} of {self._total} were accepted" if count else " the job"
        error = self._client.explain(self._refusal, before)
        if self._unknown:
            unknown = f"{self._unknown} jobs may be there or not" if self._unknown > 1 else "it may be there"
            error = OcicalibanError(f"{error.message}; {unknown}", error.hint)
        raise error from self._refusal

    # --- the threads ---

    def _work(self) -> None:
        try:
            while True:
                with self._changed:
                    if self._stopping or not self._left:
                        return
                    request, message = self._left.popleft()
                if name := self._sent(request, message):
                    self._done.put((request, name))
        except Exception as fault:  # noqa: BLE001 `run` raises it; here it would only end one thread, and lose a job
            with self._changed:
                self._unexpected = self._unexpected or fault
                self._stop()
        finally:
            self._done.put(None)

    def _sent(self, request: CreateRequest, message: Message) -> str:
        """Send a job until its fate is known. Return its name, or "" if the submission ends without it."""
        while (at := self._may_send(request)) is not None:
            try:
                name = self._client.create(message)
            except CreateFault as fault:
                goes_on = self._goes_on(fault, at)
                if fault.verdict == "unclear" and (found := self._looked_up(request)):
                    return found
                if not goes_on:
                    return ""
            else:
                self._count_accepted()
                return name
        return ""

    def _may_send(self, request: CreateRequest) -> float | None:
        """Wait until a job may be sent. Return that time, or None if the submission ends without the job."""
        with self._changed:
            while not self._stopping and request.key not in self._withdrawn:
                now = self._clock.monotonic()
                self._pace, pause = rate_limit.take(self._pace, now)
                if not pause:
                    return now
                self._changed.wait(min(pause, self._limits.ask_every))
        return None

    def _count_accepted(self) -> None:
        with self._changed:
            self._answered = self._clock.monotonic()
            before = self._pace.per_minute
            self._pace = rate_limit.accepted(self._pace, self._answered)
            if self._pace.per_minute > before:
                self._changed.notify_all()

    def _stop(self) -> None:
        """Send no more."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def _goes_on(self, fault: CreateFault, sent_at: float) -> bool:
        """Apply a failed create to all other jobs. Return False if it ends the submission."""
        with self._changed:
            now = self._clock.monotonic()
            if fault.verdict != "unclear":
                self._answered = now
            if fault.verdict == "throttled":
                self._pace = rate_limit.throttled(self._pace, now, sent_at)
                if not self._told_slow:
                    self._told_slow = True
                    self._reporter.note(f"the rest goes out more slowly: {fault.words}")
            elif fault.verdict == "refused" or now > self._answered + self._limits.patience:
                self._refusal = self._refusal or fault
                self._stop()
                return False
        return True

    def _looked_up(self, request: CreateRequest) -> str:
        """Return the name of a job that may have been made though its answer was lost; "" if it was not made.

        The look-up goes on even if the submission ends meanwhile, so that what the service has is recorded. Only a
        look that was answered counts. If there is no answer for too long, or after the end of the submission, the job
        counts as unknown, and the submission ends.
        """
        looks, pause = 0, self._limits.next_look(0)
        until = self._clock.monotonic() + self._limits.patience
        while pause is not None:
            self._clock.sleep(pause)
            try:
                seen = self._client.look_for(request.key)
            except OcicalibanError as fault:  # the client has been patient itself
                if isinstance(fault, Refused) or self._stopping or self._clock.monotonic() > until:
                    self._give_up(fault)
                    return ""
                pause = self._limits.settles
                continue
            if name := next((each.name for each in seen if each.attempt == request.attempt), ""):
                return name
            looks += 1
            pause = self._limits.next_look(looks)
        return ""

    def _give_up(self, fault: Exception) -> None:
        with self._changed:
            self._unknown += 1
            self._refusal = self._refusal or fault
            self._stop()
