"""What every backend does whose service schedules jobs itself: submit, record what the service says, cancel.

A backend supplies a connection, the body of a request, and where a job's results go.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from attrs import field, frozen

from ocicaliban.errors import OcicalibanError
from ocicaliban.jobs import lease
from ocicaliban.model.job import ENDED, UNDER_WAY, Attempt, Job, Submission, UnderWay
from ocicaliban.reporter import Reporter
from ocicaliban.targets import submit_once
from ocicaliban.targets.backend import stopped_unsent
from ocicaliban.targets.clock import SYSTEM, Clock
from ocicaliban.targets.submit_once import Client, CreateRequest, Limits, ObservedJob, Record

if TYPE_CHECKING:
    from ocicaliban.history.access import History

_UNSEEN = 600.0
"""Seconds for which the service's lists may lack a job that it has accepted: they lag behind."""

_FEW = 3
"""So many jobs of a group are looked up by their keys. More of them are looked up by their group."""

_PATIENCE = 5.0
"""Seconds for an answer to somebody who only wants to see what is going on."""


class Service(Protocol):
    """What a backend supplies."""

    @property
    def title(self) -> str:
        """The service's name, to show to people."""

    @property
    def limits(self) -> Limits:
        """How patiently to look for requests that may be on their way."""

    def place(self, submission: Submission) -> Hashable:
        """Return a key of where a submission went. Submissions with the same key share a connection."""

    def region(self, submission: Submission) -> str:
        """Return where the submission went, to show to people."""

    def client(self, submission: Submission, patience: float | None = None) -> Client[object]:
        """Connect, with so many seconds for an answer. Raises OcicalibanError."""

    def body(self, job: Job, attempt: int) -> tuple[Mapping[str, object], tuple[str, ...]]:
        """Return the request for an attempt at a job, and the parameters that do not fit among its labels."""

    def output(self, job: Job) -> str:
        """Return the job's folder of results; "" if it has none."""


@frozen(kw_only=True)
class ServiceJobs:
    """The jobs of the history at one service."""

    service: Service
    clock: Clock = field(default=SYSTEM, repr=False)

    # --- submitting ---

    def submit(
        self,
        history: History,
        submission: Submission,
        client: Client[object],
        accepted: Callable[[Job, str], None],
        reporter: Reporter,
        *,
        settle: bool = False,
    ) -> None:
        """Submit the queued jobs of a submission, each once; see `submit_once.submit`.

        Each job that the service has is recorded at once, and handed to `accepted` with its name there. A job that is
        stopped meanwhile is not sent. If the service has it already, it is recorded as accepted, so that people see it
        and its next attempt is another one, and is cancelled. A job that another process has recorded meanwhile counts
        as accepted. Raises UsageError if another process submits them.
        """
        with lease.held(submission):
            waiting = {job.key: job for job in history.queued(submission.id)}
            requests = self._requests(waiting.values(), reporter)
            recorder = _Recorder(self, history, submission, waiting, accepted)
            record = Record(accepted=recorder.hear, withdrawn=recorder.stopped, together=recorder.together)
            try:
                submit_once.submit(
                    client, requests, submission.group, record, settle=settle, reporter=reporter, clock=self.clock
                )
            finally:
                for name, words in client.cancel(tuple(recorder.late)).items():
                    job = recorder.late[name]
                    reporter.say(
                        f"job {job.id} was stopped on its way, and still runs: {words}; ocicaliban stop {job.id}"
                    )

    def _requests(self, jobs: Iterable[Job], reporter: Reporter) -> list[CreateRequest]:
        left_out: set[str] = set()
        requests = []
        for job in jobs:
            attempt = len(job.attempts) + 1
            body, without = self.service.body(job, attempt)
            left_out.update(without)
            requests.append(CreateRequest(key=job.key, attempt=attempt, body=body))
        if left_out:
            reporter.note(
                f"no room among the labels for {', '.join(sorted(left_out))}; the jobs have them all the same"
            )
        return requests

    # --- observing ---

    def observe(self, history: History, jobs: Iterable[Job], reporter: Reporter) -> None:
        """Record what the service says of these jobs, in few lists: by their groups, or by their keys if few.

        A queued job that the service has was submitted by a process that was killed before it could record it. If the
        service does not answer, say so, and leave the record as it is.
        """
        for here in self._by_place(jobs):
            submission = here[0].submission
            try:
                observed = _look(self.service.client(submission, _PATIENCE), here)
            except OcicalibanError as fault:
                names = ", ".join(dict.fromkeys(job.submission.group for job in here))
                reporter.note(
                    f"no news of {names} from {self.service.region(submission)}: {_whole(fault)};"
                    " this is what was known before"
                )
                continue
            for job in here:
                self._record(history, job, observed)

    def _by_place(self, jobs: Iterable[Job]) -> Iterable[list[Job]]:
        places: dict[Hashable, list[Job]] = {}
        for job in jobs:
            places.setdefault(self.service.place(job.submission), []).append(job)
        return places.values()

    def _record(self, history: History, job: Job, observed: Mapping[tuple[str, int], ObservedJob]) -> None:
        """Record what the service says of one job's newest attempt, and of one that is not on record yet."""
        attempt = job.last
        if job.status not in UNDER_WAY:
            # The service may have an attempt that is not on record.
            if (seen := observed.get((job.key, len(job.attempts) + 1))) is None:
                return
            attempt = history.begin(
                job.id,
                out=self.service.output(job),
                started=seen.created,
                named=seen.name,
                late=job.status == "stopped",
                status="pending",
            )
        if attempt is None:
            return
        seen = observed.get((job.key, attempt.number))
        if seen is None:
            self._record_unlisted(history, job, attempt)
        elif seen.status in ENDED:
            reason = seen.reason or ("" if seen.status == "succeeded" else seen.state)
            ended = seen.ended or self.clock.time()
            history.end(job.id, attempt.number, seen.status, reason=reason, ended=ended, started=seen.started)
        else:
            status: UnderWay = "running" if seen.status == "running" else "pending"
            word = "" if seen.state == status == "running" else seen.state
            if (status, word) != (attempt.status, attempt.backend_state):
                history.observed(job.id, attempt.number, status=status, backend_state=word, started=seen.started)

    def _record_unlisted(self, history: History, job: Job, attempt: Attempt) -> None:
        """Record that the service does not list an attempt, and after a while that it is lost."""
        word = f"not listed by {self.service.title}"
        if self.clock.time() - attempt.started > _UNSEEN:
            reason = f"{self.service.title} does not know it any more"
            history.end(job.id, attempt.number, "lost", reason=reason, ended=self.clock.time())
        elif attempt.backend_state != word:
            status: UnderWay = "running" if attempt.status == "running" else "pending"
            history.observed(job.id, attempt.number, status=status, backend_state=word)

    # --- cancelling ---

    def cancel(self, history: History, jobs: Iterable[Job], reporter: Reporter) -> Iterator[Job]:
        """Ask the service to end these jobs, and yield those that it agreed to end.

        `reporter` gets a line for each of the others. A job that the service does not know is recorded as lost.
        """
        for some in self._by_place(job for job in jobs if job.status in UNDER_WAY and job.last):
            names = {job.last.handle: job for job in some if job.last}
            try:
                faults = self.service.client(some[0].submission).cancel(tuple(names))
            except OcicalibanError as fault:
                reporter.say(f"cannot be stopped: {_numbers(some)}: {_whole(fault)}")
                continue
            unknown = submit_once.unknown(self.service.title)
            lost = [names[name] for name, words in faults.items() if words == unknown]
            for job in lost:
                if job.last:
                    history.end(job.id, job.last.number, "lost", reason=unknown, ended=self.clock.time())
            if lost:
                reporter.say(f"nothing to stop: {_numbers(lost)}: {unknown}")
            for name, words in faults.items():
                if words != unknown:
                    reporter.say(f"job {names[name].id} cannot be stopped: {words}")
            yield from (job for name, job in names.items() if name not in faults)

    def cancel_late(
        self, history: History, jobs: Iterable[Job], reporter: Reporter, *, wait: Reporter | None
    ) -> tuple[Job, ...]:
        """Record and cancel what the service has of jobs that were stopped before anybody knew that it has them.

        Return those that it agreed to end; `reporter` gets a line for each of the others. A request that was on its
        way when they were stopped may still take effect: with `wait`, wait for that first, and tell that reporter. An
        attempt that was submitted again meanwhile goes on.
        """
        late = [job for job in jobs if job.status == "queued" or stopped_unsent(job)]
        if not late:
            return ()
        if wait:
            wait.say(submit_once.looking(self.service.title, self.service.limits))
            self.clock.sleep(self.service.limits.settles)
        stopped_of = {job.id: job.submission.id for job in late}
        found: list[Job] = []
        for some in self._by_place(late):
            ids = tuple(job.id for job in some)
            try:
                observed = _look(self.service.client(some[0].submission), some)
            except OcicalibanError as fault:
                reporter.say(f"cannot ask {self.service.title} whether it has {_numbers(some)}: {fault.message}")
                continue
            for job in history.jobs(ids=ids, statuses=("stopped",)):
                self._record(history, job, observed)
            under_way = history.jobs(ids=ids, statuses=UNDER_WAY)
            found += [job for job in under_way if job.last and job.submission.id == stopped_of[job.id]]
        return tuple(self.cancel(history, found, reporter))


class _Recorder:
    """Records which jobs the service accepts, many in one transaction."""

    def __init__(
        self,
        jobs: ServiceJobs,
        history: History,
        submission: Submission,
        waiting: Mapping[str, Job],
        accepted: Callable[[Job, str], None],
    ) -> None:
        self._jobs = jobs
        self._history = history
        self._submission = submission
        self._waiting = waiting
        self._accepted = accepted
        self._news: list[tuple[Job, str]] = []
        self.late: dict[str, Job] = {}
        """Jobs by their name at the service that were stopped when they were on their way."""

    def hear(self, request: CreateRequest, name: str) -> None:
        """Hear that the service has a job."""
        self._news.append((self._waiting[request.key], name))

    def stopped(self) -> frozenset[str]:
        """Return the keys of the jobs that were stopped."""
        return frozenset(job.key for job in self._history.jobs(submission=self._submission.id, statuses=("stopped",)))

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Record what is heard meanwhile, at the end. If that fails, it is recorded the next time."""
        yield
        late: dict[str, Job] = {}
        with self._history.together():
            for job, name in self._news:
                if not self._begin(job, name, late=False) and self._begin(job, name, late=True):
                    late[name] = job
        self.late |= late
        told = [each for each in self._news if each[1] not in late]
        self._news.clear()
        for job, name in told:
            self._accepted(job, name)

    def _begin(self, job: Job, name: str, *, late: bool) -> bool:
        """Record an attempt; `late` if the job was stopped meanwhile. False if another process has recorded it."""
        out, now = self._jobs.service.output(job), self._jobs.clock.time()
        begun = self._history.begin(job.id, out=out, started=now, named=name, late=late, status="pending")
        return begun is not None


def _look(client: Client[object], jobs: Iterable[Job]) -> dict[tuple[str, int], ObservedJob]:
    """Return what the service says of these jobs, and perhaps of others, by key and attempt."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.submission.group, []).append(job)
    # A group may have a thousand jobs, in pages of a hundred, of which one is asked for.
    few = [job.key for some in groups.values() if len(some) <= _FEW for job in some]
    many = [group for group, some in groups.items() if len(some) > _FEW]
    return {(each.key, each.attempt): each for each in (*client.look_for(*few), *client.look(*many))}


def _numbers(jobs: Sequence[Job]) -> str:
    return ", ".join(str(job.id) for job in jobs)


def _whole(fault: OcicalibanError) -> str:
    return f"{fault.message} ({fault.hint})" if fault.hint else fault.message
