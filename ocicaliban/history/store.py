"""The history: submissions, jobs and attempts in a database. Each method is one transaction."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypedDict, Unpack

from attrs import evolve
from peewee import Database, Select, SqliteDatabase, fn

from ocicaliban.history import bulk, connection, queries, rows, schema
from ocicaliban.history.bulk import NewAttempt as NewAttempt
from ocicaliban.history.queries import STATUSES as STATUSES
from ocicaliban.history.queries import Group as Group
from ocicaliban.history.queries import JobQuery
from ocicaliban.history.url import DatabaseLocation
from ocicaliban.jobs import lifecycle
from ocicaliban.jobs.lifecycle import Transition
from ocicaliban.jobs.origin import Origin
from ocicaliban.model.image import Launch
from ocicaliban.model.job import UNDER_WAY, Attempt, Job, JobSpec, Status, Submission, UnderWay
from ocicaliban.reporter import Reporter

_RECORDING = 0x6F63696362  # one number for all who record runs; PostgreSQL's advisory locks have no names
_JOBS_AT_ONCE = 150  # new jobs in one statement

_job, _attempt = schema.job, schema.attempt
_j, _a, _s, _o = schema.job.c, schema.attempt.c, schema.submission.c, schema.origin.c


def handle(key: str, number: int) -> str:
    """Return the name of the container for one attempt at the job with this key."""
    return f"ocicaliban-{key}-{number}"


def opened(place: DatabaseLocation, reporter: Reporter) -> History:
    """Open the history at `place`; see `ocicaliban.history.access.open`."""
    return History(connection.connect(place, reporter), place, reporter)


class JobFilter(TypedDict, total=False):
    """The fields of JobQuery, as `History.jobs` takes them."""

    ids: Iterable[int]
    keys: Iterable[str]
    group: str
    submission: int
    user: str
    target: str
    statuses: Iterable[Status]
    newest: int


class History:
    """The submissions, jobs and attempts in a database. `jobs.lifecycle` says which status can follow which.

    What a method has written survives the end of this process or machine. Several processes can use one history at
    once, and threads can share an object. The caller leaves out secret values. All methods raise OcicalibanError where
    the database fails.
    """

    def __init__(self, opened: connection.Connection, place: DatabaseLocation, reporter: Reporter) -> None:
        self._opened = opened
        self._database = opened.database
        self._reporter = reporter
        self.place = place
        self._together = threading.local()
        self._files = connection.FilesInUse(place)

    def __enter__(self) -> History:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        with connection.clear_errors(self.place):
            self._opened.close()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Database]:
        with connection.clear_errors(self.place):
            self._files.check()
            connection.ensure_connected(self._database, self.place, self._reporter)
            yield self._database
            self._files.note()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Database]:
        if getattr(self._together, "begun", False):
            with connection.clear_errors(self.place):
                yield self._database
            return
        if self._opened.full:
            raise self._opened.full
        with self._reading():
            with connection.transaction(self._database):
                yield self._database
            self._files.check()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Write what this thread writes meanwhile in one transaction: all of it at the end, or nothing."""
        with self._writing():
            self._together.begun = True
            try:
                yield
            finally:
                self._together.begun = False

    def _locked(self, query: Select) -> list[Any]:
        """Return the rows of a query, and lock them until the transaction ends."""
        if not isinstance(self._database, SqliteDatabase):
            query = query.for_update()
        return list(query.tuples().execute(self._database))

    # --- submissions ---

    def submit(self, submission: Submission, specs: Iterable[JobSpec], origin: Origin | None = None) -> Submission:
        """Add a submission with its jobs, queued in the order of `specs`: all of them or, if anything fails, none.

        `origin` is what it was made from. Returns it with its id and, if it was 0, its time. Raises UsageError for a
        spec with a parameter twice.
        """
        with self._writing() as database:
            added = self._added(submission)
            values = (rows.of_spec(added.id, spec) for spec in specs)
            while batch := list(itertools.islice(values, _JOBS_AT_ONCE)):
                # Written out: peewee takes five times as long to put so many values together.
                marks = ", ".join([f"({', '.join([database.param] * len(rows.JOB))})"] * len(batch))
                sql = f"INSERT INTO job ({', '.join(rows.JOB)}) VALUES {marks}"
                database.execute_sql(sql, tuple(itertools.chain.from_iterable(batch)))
            self._add_origin(added.id, origin)
            return added

    def _add_origin(self, submission: int, origin: Origin | None) -> None:
        if origin is not None:
            schema.origin.insert(**rows.of_origin(submission, origin)).execute(self._database)

    def origin(self, submission: int) -> Origin | None:
        """Return what a submission was made from; None if that was not recorded, or by a newer version."""
        with self._reading() as database:
            found = [*schema.origin.select(_o.record).where(_o.submission == submission).tuples().execute(database)]
        return rows.to_origin(found[0][0]) if found else None

    def _added(self, submission: Submission) -> Submission:
        made = evolve(submission, created=submission.created or time.time())
        insert = schema.submission.insert(_columns(_s, rows.SUBMISSION, rows.of_submission(made)))
        if isinstance(self._database, SqliteDatabase):
            return evolve(made, id=int(insert.execute(self._database)))
        return evolve(made, id=int(next(iter(insert.returning(_s.id).tuples().execute(self._database)))[0]))

    def resubmit(self, submission: Submission, jobs: Iterable[int], origin: Origin | None = None) -> Submission:
        """Queue those of `jobs` that have ended again, under a new submission, with their attempts.

        Returns the new submission, with its id and time. Jobs that have not ended stay where they are.
        """
        with self._writing():
            added = self._added(submission)
            self._add_origin(added.id, origin)
            self._moved(jobs, lifecycle.TRANSITIONS["resubmitted"], {_j.submission: added.id})
            return added

    def stop_queued(self, jobs: Iterable[int]) -> tuple[int, ...]:
        """Stop those of `jobs` that are still queued, and return them; only a backend can stop the others."""
        with self._writing():
            return self._moved(jobs, lifecycle.TRANSITIONS["withdrawn"], {})

    def _moved(self, jobs: Iterable[int], transition: Transition, change: Mapping[Any, object]) -> tuple[int, ...]:
        moved: list[int] = []
        # In the order of their numbers: two processes that lock them in another order would wait for each other.
        for some in queries.batches(sorted(set(jobs))):
            # Lock, then change: PostgreSQL reads the statuses after it has waited for other processes.
            before = _j.status.in_(sorted(transition.before))
            found = [row[0] for row in self._locked(_job.select(_j.id).where(_j.id.in_(some), before).order_by(_j.id))]
            if found:
                change = {**change, _j.status: transition.job}
                _job.update(change).where(_j.id.in_(found)).execute(self._database)
            moved += found
        return tuple(moved)

    def assign(self, job: int, spec: JobSpec) -> bool:
        """Give a queued job that has no parameters those of a spec, and its arguments.

        Return False, and change nothing, for a job that is not queued any more, or that has parameters.
        """
        [_, _, parameters, args, *_] = rows.of_spec(0, spec)
        with self._writing():
            here = (_j.id == job) & (_j.status == "queued") & (_j.parameters == "{}")
            return bool(_job.update({_j.parameters: parameters, _j.args: args}).where(here).execute(self._database))

    # --- attempts ---

    def begin(  # noqa: PLR0913 - one for each column that a new attempt gets
        self,
        job: int,
        *,
        log: Callable[[int], str] = lambda _: "",
        out: str = "",
        started: float,
        named: str = "",
        late: bool = False,
        status: UnderWay = "running",
        backend_state: str = "",
    ) -> Attempt | None:
        """Begin a new attempt at a queued job, which gets the `status`, and return the attempt.

        The attempt's number is one more than the last one's. Its handle is `named` by the backend, or else
        `handle(key, number)`. `log` returns the path of its log for that number. `out` is the job's folder of results
        ("": as it was), `started` in seconds since 1970. Returns None when the job is not queued any more: another
        process took or stopped it. With `late`, a job that was stopped before it was known to run is taken too, unless
        it has an attempt of that name already.
        """
        transition = lifecycle.beginning(status, discovered=late)
        with self._writing() as database:
            before = _j.status.in_(sorted(transition.before))
            if not (found := self._locked(_job.select(_j.job_key).where(_j.id == job, before))):
                return None
            if late and _attempt.select().where(_a.job == job, _a.handle == named).exists(database):
                return None
            last = _attempt.select(fn.MAX(_a.number)).where(_a.job == job).tuples().execute(database)
            number = (next(iter(last))[0] or 0) + 1
            begun = Attempt(
                number=number,
                handle=named or handle(found[0][0], number),
                status=status,
                started=float(started),
                log=rows.text(log(number)),
                backend_state=rows.text(backend_state),
            )
            change = {_j.status: transition.job, **({_j.out: rows.text(out)} if out else {})}
            _job.update(change).where(_j.id == job).execute(database)
            self._add_attempt(job, begun)
            return begun

    def begin_all(self, attempts: Iterable[NewAttempt], *, started: float, status: UnderWay) -> frozenset[int]:
        """Begin a new attempt at each of these queued jobs, as `begin` does, and return the jobs that have one now."""
        with self._writing() as database:
            return bulk.begin(database, self._locked, attempts, started, status)

    def _add_attempt(self, job: int, attempt: Attempt) -> None:
        values = _columns(_a, rows.ATTEMPT, rows.of_attempt(attempt))
        _attempt.insert({_a.job: job, **values}).execute(self._database)

    def observed(
        self, job: int, attempt: int, *, status: UnderWay, backend_state: str = "", started: float | None = None
    ) -> bool:
        """Record what a backend says of an attempt that is under way; return False for another one.

        `backend_state` is its own word. `started`, in seconds since 1970, replaces the time on record.
        """
        return self._changed(
            job, attempt, lifecycle.observation(status), {_a.backend_state: rows.text(backend_state)}, started
        )

    def end(  # noqa: PLR0913 - one for each column that an end gets
        self,
        job: int,
        attempt: int,
        status: Status,
        *,
        exit_code: int | None = None,
        reason: str = "",
        ended: float,
        started: float | None = None,
        again: bool = False,
    ) -> bool:
        """Record how an attempt ended, once: return False, and change nothing, when that is on record already.

        The job gets the attempt's status, or with `again` is queued for another attempt. `ended` is in seconds since
        1970; so is `started`, which replaces the time on record. Raises ValueError for a status that is not an end.
        """
        change = {_a.ended: float(ended), _a.exit_code: exit_code, _a.reason: rows.text(reason), _a.backend_state: ""}
        return self._changed(job, attempt, lifecycle.ending(status, again=again), change, started)

    def _changed(
        self, job: int, attempt: int, transition: Transition, change: Mapping[Any, object], started: float | None
    ) -> bool:
        """Change an attempt that is under way, and its job; return False for another one."""
        change = {**change, _a.status: transition.attempt} | ({} if started is None else {_a.started: float(started)})
        here = (_a.job == job) & (_a.number == attempt) & _a.status.in_(sorted(transition.before))
        with self._writing() as database:
            if not _attempt.update(change).where(here).execute(database):
                return False
            _job.update({_j.status: transition.job}).where(_j.id == job).execute(database)
            return True

    def record(self, job: Job) -> None:
        """Add a job that ran without the history, with its submission and its one attempt.

        Its key identifies it: the second time, only its end is new.
        """
        [tried] = job.attempts
        with self._writing() as database:
            if not isinstance(database, SqliteDatabase):
                # Of two processes that find the same run, one waits: there is no row yet to lock.
                database.execute_sql("SELECT pg_advisory_xact_lock(%s)", (_RECORDING,))
            query = _job.select(_j.id).where(_j.job_key == job.key)
            if not (found := self._locked(query)):
                values = rows.of_recorded(self._added(job.submission).id, job, tried)
                _job.insert(_columns(_j, rows.JOB, values)).execute(database)
                found = self._locked(query)
                self._add_attempt(found[0][0], tried)
        if tried.ended is not None and tried.status not in UNDER_WAY:
            self.end(
                found[0][0],
                tried.number,
                tried.status,
                exit_code=tried.exit_code,
                reason=tried.reason,
                ended=tried.ended,
            )

    # --- questions ---

    def jobs(self, **which: Unpack[JobFilter]) -> tuple[Job, ...]:
        """Return the jobs for which everything given holds, by id from the lowest; see `queries.JobQuery`."""
        query = JobQuery(**which)  # type: ignore[arg-type]  # its converters take iterables
        with self._reading() as database:
            return queries.jobs(database, query)

    def queued(self, submission: int) -> Iterator[Job]:
        """Yield the queued jobs of a submission, by id from the lowest. Another process can take one meanwhile."""
        last = 0
        while True:
            with self._reading() as database:
                page = queries.queued(database, submission, last)
            if not page:
                return
            yield from page
            last = page[-1].id

    def submissions(self, *, group: str = "", user: str = "", ids: Iterable[int] = ()) -> tuple[Submission, ...]:
        """Return the submissions for which everything given holds, by id from the lowest."""
        with self._reading() as database:
            return queries.submissions(database, group=group, user=user, ids=ids)

    def counts(self, group: str = "", *, submission: int = 0) -> Mapping[Status, int]:
        """Return the number of jobs for each status (0 too), of a group, of a submission, or of all."""
        with self._reading() as database:
            return queries.counts(database, group, submission)

    def unfinished_images(self, *, user: str, host: str, targets: Iterable[str]) -> Mapping[str, frozenset[str]]:
        """Return the images of a user's unfinished jobs on a machine, with the groups that need each one.

        Only the jobs of these targets count.
        """
        with self._reading() as database:
            return queries.unfinished_images(database, user=user, host=host, targets=targets)

    def unfinished_launches(self, *, user: str, host: str, targets: Iterable[str]) -> tuple[Launch, ...]:
        """Return how a user's unfinished jobs on a machine start, each way once; see `unfinished_images`."""
        with self._reading() as database:
            return queries.unfinished_launches(database, user=user, host=host, targets=targets)

    def groups(self, *, user: str = "", newest: int = 0) -> tuple[Group, ...]:
        """Return the groups, those with the newest submissions first, or only so many; see `queries.groups`."""
        with self._reading() as database:
            return queries.groups(database, user=user, newest=newest)


def _columns(table: Any, names: Iterable[str], values: Iterable[object]) -> dict[Any, object]:
    return {getattr(table, name): value for name, value in zip(names, values, strict=True)}
