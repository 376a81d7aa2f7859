"""What is written into a history, and read from it, each in one transaction."""

from __future__ import annotations

import contextlib
import itertools
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

from attrs import asdict, evolve, frozen
from peewee import JOIN, SQL, Database, Select, SqliteDatabase, fn

from ocicaliban.errors import UsageError
from ocicaliban.history import connection as database
from ocicaliban.history.schema import attempt as attempts
from ocicaliban.history.schema import job as jobs_table
from ocicaliban.history.schema import submission as submissions_table
from ocicaliban.history.url import Place
from ocicaliban.model.image import Launch
from ocicaliban.model.job import ENDED, UNDER_WAY, Attempt, Job, JobSpec, Parameters, Status, Submission, UnderWay
from ocicaliban.reporter import Reporter

STATUSES: tuple[Status, ...] = get_args(Status)

_AT_ONCE = 900
"""Values in one statement: versions of SQLite before 3.32 take 999."""
_RECORDING = 0x6F63696362  # one number for all who record runs; PostgreSQL's advisory locks have no names
_PAGE = 1000
"""Jobs that `queued` holds at a time."""

_s, _j, _a = submissions_table.c, jobs_table.c, attempts.c
_SUBMISSION = (
    *("group_name", "user_name", "host", "target", "project", "mode", "module", "image", "plan_key"),
    *("git_commit", "git_dirty", "launch", "options", "created"),
)
_JOB = ("job_key", "submission", "parameters", "args", "status", "out")
_ATTEMPT = ("number", "handle", "status", "started", "ended", "exit_code", "reason", "log", "backend_state")


@frozen(kw_only=True)
class Group:
    """What is known of a group: how many of its jobs have which status (all statuses are there, 0 too).

    `project` and `user` are those of its newest submission; `created` is when the first was, in seconds since 1970.
    """

    name: str
    project: str
    user: str
    created: float
    counts: Mapping[Status, int]


def handle(key: str, number: int) -> str:
    """The name of the container for one attempt at the job with this key."""
    return f"ocicaliban-{key}-{number}"


def opened(place: Place, reporter: Reporter) -> History:
    """The history at `place`; see `ocicaliban.history.access.open`."""
    return History(database.connected(place, reporter), place, reporter)


class History:
    """The submissions, jobs and attempts in a database.

    A job is queued until `begin` takes it; pending or running, as `observed` says, until `end` records what became of
    the attempt; then it stays as it is until `resubmit`. What a method has returned from is written, and survives the
    end of this process or machine. Several processes may use one history at once, and threads may share one of these.
    It stores what it is given: the caller leaves out secret values. All methods raise OcicalibanError where the
    database fails.
    """

    def __init__(self, connection: Database, place: Place, reporter: Reporter) -> None:
        self._database = connection
        self._reporter = reporter
        self.place = place
        self._together = threading.local()

    def __enter__(self) -> History:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database."""
        with database.told(self.place):
            self._database.close()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        with database.told(self.place):
            database.alive(self._database, self.place, self._reporter)
            yield

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        if getattr(self._together, "begun", False):
            with database.told(self.place):
                yield
            return
        with self._reading(), database.transaction(self._database):
            yield

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What this thread writes meanwhile is one transaction: written when it ends, or not at all."""
        with self._writing():
            self._together.begun = True
            try:
                yield
            finally:
                self._together.begun = False

    def _locked(self, query: Select) -> list[Any]:
        """The rows of a query, which nobody else changes until the transaction ends."""
        if not isinstance(self._database, SqliteDatabase):
            query = query.for_update()
        return list(query.tuples().execute(self._database))

    # --- what shall be done ---------------------------------------------------------------------------------------

    def submit(self, submission: Submission, specs: Iterable[JobSpec]) -> Submission:
        """Add a submission with its jobs, queued in the order of `specs`; all of them or, if anything fails, none.

        Returns it with its id and, if it was 0, its time. Raises UsageError for a spec with a parameter twice.
        """
        with self._writing():
            added = self._added(submission)
            rows = (_row(added.id, spec) for spec in specs)
            while batch := list(itertools.islice(rows, _AT_ONCE // len(_JOB))):
                # Written out: peewee takes five times as long to put so many values together.
                marks = ", ".join([f"({', '.join([self._database.param] * len(_JOB))})"] * len(batch))
                sql = f"INSERT INTO job ({', '.join(_JOB)}) VALUES {marks}"
                self._database.execute_sql(sql, tuple(itertools.chain.from_iterable(batch)))
            return added

    def _added(self, submission: Submission) -> Submission:
        made = evolve(submission, created=submission.created or time.time())
        values = (
            *(_text(made.group), _text(made.user), _text(made.host), _text(made.target), _text(made.project)),
            *(_text(made.mode), _text(made.module), _text(made.image), made.plan_key, made.commit, made.dirty),
            *(json.dumps(asdict(made.launch)), json.dumps(made.options), made.created),
        )
        insert = submissions_table.insert(dict(zip(map(_s.__getattr__, _SUBMISSION), values, strict=True)))
        if isinstance(self._database, SqliteDatabase):
            return evolve(made, id=int(insert.execute(self._database)))
        return evolve(made, id=int(next(iter(insert.returning(_s.id).tuples().execute(self._database)))[0]))

    def resubmit(self, submission: Submission, jobs: Iterable[int]) -> Submission:
        """Queue those of `jobs` that have ended again, under a new submission, keeping their attempts.

        Returns the new submission, with its id and time. Jobs that have not ended stay where they are.
        """
        with self._writing():
            added = self._added(submission)
            self._moved(jobs, ENDED, {_j.status: "queued", _j.submission: added.id})
            return added

    def stop_queued(self, jobs: Iterable[int]) -> tuple[int, ...]:
        """Stop those of `jobs` that are still queued, and return them; one under way is its backend's matter."""
        with self._writing():
            return self._moved(jobs, frozenset({"queued"}), {_j.status: "stopped"})

    def _moved(self, jobs: Iterable[int], before: frozenset[Status], change: Mapping[Any, object]) -> tuple[int, ...]:
        moved: list[int] = []
        # In the order of their numbers: two who lock the same rows in another order would wait for each other.
        for some in _batches(sorted(set(jobs))):
            # One by one: PostgreSQL takes the statuses after it has waited for those who had the rows.
            query = jobs_table.select(_j.id).where(_j.id.in_(some), _j.status.in_(sorted(before))).order_by(_j.id)
            found = [row[0] for row in self._locked(query)]
            if found:
                jobs_table.update(dict(change)).where(_j.id.in_(found)).execute(self._database)
            moved += found
        return tuple(moved)

    # --- what is done ---------------------------------------------------------------------------------------------

    def begin(
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
        """Take a queued job: it has the `status` from now on, and its new attempt, which is returned, is on record.

        The attempt's number is one more than the last one's; its handle is as `named` by its target, or else
        `history.handle(key, number)`; `log` tells the path of its log from that number. `out` is the job's folder of
        results ("": as it was), `started` in seconds since 1970. None when the job is not queued (any more): somebody
        else took or stopped it. One that was stopped before it was known to run is taken too where it is `late`, once:
        not where an attempt has that name already.
        """
        with self._writing():
            before = ["queued", "stopped"] if late else ["queued"]
            query = jobs_table.select(_j.job_key).where(_j.id == job, _j.status.in_(before))
            if not (found := self._locked(query)):
                return None
            if late and attempts.select().where(_a.job == job, _a.handle == named).exists(self._database):
                return None
            last = attempts.select(fn.MAX(_a.number)).where(_a.job == job).tuples().execute(self._database)
            number = (next(iter(last))[0] or 0) + 1
            name = named or handle(found[0][0], number)
            begun = Attempt(
                number=number,
                handle=name,
                status=status,
                started=float(started),
                log=_text(log(number)),
                backend_state=_text(backend_state),
            )
            change = {_j.status: status, **({_j.out: _text(out)} if out else {})}
            jobs_table.update(change).where(_j.id == job).execute(self._database)
            values = {getattr(_a, name): getattr(begun, name) for name in _ATTEMPT}
            attempts.insert({_a.job: job, **values}).execute(self._database)
            return begun

    def end(
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
        """Record what became of an attempt, once: False, and nothing is changed, when that is on record already.

        The job gets the attempt's status, or with `again` is queued for another one. `ended` is in seconds since 1970,
        and `started`, where that is known better than it was. Raises ValueError for a status that is no end.
        """
        if status not in ENDED:
            raise ValueError(f"an attempt does not end {status}")
        change = {_a.status: status, _a.ended: float(ended), _a.exit_code: exit_code, _a.reason: _text(reason)}
        change |= {_a.backend_state: ""}
        change |= {} if started is None else {_a.started: float(started)}
        with self._writing():
            here = (_a.job == job) & (_a.number == attempt) & _a.status.in_(sorted(UNDER_WAY))
            if not attempts.update(change).where(here).execute(self._database):
                return False
            jobs_table.update({_j.status: "queued" if again else status}).where(_j.id == job).execute(self._database)
            return True

    def observed(
        self, job: int, attempt: int, *, status: UnderWay, backend_state: str = "", started: float | None = None
    ) -> bool:
        """Record what a backend says of an attempt that is under way, and of its job; return False for another one.

        `backend_state` is its own word, and `started`, in seconds since 1970, replaces the time on record.
        """
        change = {_a.status: status, _a.backend_state: _text(backend_state)}
        change |= {} if started is None else {_a.started: float(started)}
        here = (_a.job == job) & (_a.number == attempt) & _a.status.in_(sorted(UNDER_WAY))
        with self._writing():
            if not attempts.update(change).where(here).execute(self._database):
                return False
            jobs_table.update({_j.status: status}).where(_j.id == job).execute(self._database)
            return True

    def record(self, job: Job) -> None:
        """Put on record a job that was run without this history, with its submission and one attempt at it.

        It is known by its key: the second time only what has ended meanwhile is new.
        """
        [tried] = job.attempts
        with self._writing():
            if not isinstance(self._database, SqliteDatabase):
                # Of two who find the same run one waits: there is no row yet that they could lock.
                self._database.execute_sql("SELECT pg_advisory_xact_lock(%s)", (_RECORDING,))
            query = jobs_table.select(_j.id).where(_j.job_key == job.key)
            found = self._locked(query)
            if not found:
                values = (job.key, self._added(job.submission).id, json.dumps(dict(job.parameters)))
                row = dict(zip(_JOB, (*values, json.dumps(job.args), tried.status, _text(job.out)), strict=True))
                jobs_table.insert({getattr(_j, name): value for name, value in row.items()}).execute(self._database)
                found = self._locked(query)
                row = {_a.job: found[0][0], **{getattr(_a, name): getattr(tried, name) for name in _ATTEMPT}}
                attempts.insert(row).execute(self._database)
        if tried.ended is not None:
            self.end(
                found[0][0],
                tried.number,
                tried.status,
                exit_code=tried.exit_code,
                reason=tried.reason,
                ended=tried.ended,
            )

    # --- what is known --------------------------------------------------------------------------------------------

    def jobs(
        self,
        *,
        ids: Iterable[int] = (),
        keys: Iterable[str] = (),
        group: str = "",
        submission: int = 0,
        user: str = "",
        target: str = "",
        statuses: Iterable[Status] = (),
        newest: int = 0,
    ) -> tuple[Job, ...]:
        """The jobs of which all that is given holds, by id from the lowest; with `newest` only so many of the highest.

        What is empty or 0 is not given, also an empty `ids`. Each comes with its submission and its attempts.
        """
        return tuple(self._jobs(tuple(ids), tuple(keys), group, submission, user, target, tuple(statuses), newest))

    def _jobs(
        self,
        ids: Sequence[int],
        keys: Sequence[str],
        group: str,
        submission: int,
        user: str,
        target: str,
        statuses: Sequence[Status],
        newest: int,
    ) -> list[Job]:
        conditions = []
        if group:
            conditions.append(_s.group_name == group)
        if user:
            conditions.append(_s.user_name == user)
        if target:
            conditions.append(_s.target == target)
        if submission:
            conditions.append(_j.submission == submission)
        if statuses:
            conditions.append(_j.status.in_(statuses))
        found: list[Job] = []
        for some_ids, some_keys in itertools.product(_batches(sorted(set(ids)), 2), _batches(sorted(set(keys)), 2)):
            more = [_j.id.in_(some_ids)] if some_ids else []
            more += [_j.job_key.in_(some_keys)] if some_keys else []
            found += self._read([*conditions, *more], newest=newest)
        found.sort(key=lambda job: job.id)
        return found[-newest:] if newest else found

    def queued(self, submission: int) -> Iterator[Job]:
        """The jobs of a submission that are queued, by id from the lowest, a page at a time.

        Others may take one meanwhile: `begin` tells.
        """
        last = 0
        while page := self._read(
            [_j.submission == submission, _j.status == "queued", _j.id > last], first=_PAGE
        ):  # fmt: skip
            yield from page
            last = page[-1].id

    def _read(self, conditions: Sequence[Any], *, newest: int = 0, first: int = 0) -> list[Job]:
        wanted = jobs_table.select(_j.id).join(submissions_table, on=(_s.id == _j.submission))
        if conditions:
            wanted = wanted.where(*conditions)
        if newest or first:
            wanted = wanted.order_by(_j.id.desc() if newest else _j.id).limit(newest or first)
        # One statement, so that no job is seen running without its attempt.
        columns = [_j.id, *(getattr(_j, name) for name in _JOB), *(getattr(_a, name) for name in _ATTEMPT)]
        query = (
            jobs_table.select(*columns)
            .join(attempts, JOIN.LEFT_OUTER, on=(_a.job == _j.id))
            .where(_j.id.in_(wanted))
            .order_by(_j.id, _a.number)
        )
        with self._reading():
            rows = list(query.tuples().execute(self._database))
        split = 1 + len(_JOB)
        known = {each.id: each for each in self.submissions(ids={row[2] for row in rows})} if rows else {}
        return [
            _job(of_job, known, tuple(_attempt(row[split:]) for row in same if row[split] is not None))
            for of_job, same in itertools.groupby(rows, key=lambda row: row[:split])
        ]

    def submissions(self, *, group: str = "", user: str = "", ids: Iterable[int] = ()) -> tuple[Submission, ...]:
        """The submissions of which all that is given holds, by id from the lowest."""
        query = submissions_table.select(_s.id, *(getattr(_s, name) for name in _SUBMISSION)).order_by(_s.id)
        if group:
            query = query.where(_s.group_name == group)
        if user:
            query = query.where(_s.user_name == user)
        found: list[Submission] = []
        with self._reading():
            for some in _batches(sorted(set(ids))):
                chosen = query.where(_s.id.in_(some)) if some else query
                found += map(_submission, chosen.tuples().execute(self._database))
        return tuple(found)

    def counts(self, group: str = "", *, submission: int = 0) -> Mapping[Status, int]:
        """How many jobs of a group, of a submission or of all have which status; all statuses are there, 0 too."""
        query = jobs_table.select(_j.status, fn.COUNT(SQL("*"))).group_by(_j.status)
        if group:
            query = query.join(submissions_table, on=(_s.id == _j.submission)).where(_s.group_name == group)
        if submission:
            query = query.where(_j.submission == submission)
        with self._reading():
            rows = list(query.tuples().execute(self._database))
        return _counts(rows)

    def unfinished_images(self, *, user: str, host: str) -> Mapping[str, frozenset[str]]:
        """The images (ids) that unfinished jobs of a user on a machine are of, each with the names of their groups."""
        query = submissions_table.select(_s.image, _s.group_name).distinct()
        query = query.join(jobs_table, on=(_s.id == _j.submission)).where(_j.status.not_in(sorted(ENDED)))
        query = query.where(_s.user_name == user, _s.host == host, _s.target == "local")
        found: dict[str, frozenset[str]] = {}
        with self._reading():
            for image, group in query.tuples().execute(self._database):
                found[image] = found.get(image, frozenset()) | {group}
        return found

    def groups(self, *, user: str = "", newest: int = 0) -> tuple[Group, ...]:
        """The groups, with `user` as far as they are theirs: those with the newest submissions first, or only."""
        found = submissions_table.select(_s.group_name, fn.MAX(_s.id), fn.MIN(_s.created)).group_by(_s.group_name)
        found = found.order_by(fn.MAX(_s.id).desc())
        if user:
            found = found.where(_s.user_name == user)
        if newest:
            found = found.limit(newest)
        with self._reading():
            rows = list(found.tuples().execute(self._database))
            numbers: dict[str, list[tuple[str, int]]] = {}
            for some in _batches([row[0] for row in rows]):
                counted = jobs_table.select(_s.group_name, _j.status, fn.COUNT(SQL("*")))
                counted = counted.join(submissions_table, on=(_s.id == _j.submission))
                counted = counted.where(_s.group_name.in_(some)) if some else counted
                counted = counted.where(_s.user_name == user) if user else counted
                for name, status, number in counted.group_by(_s.group_name, _j.status).tuples().execute(self._database):
                    numbers.setdefault(name, []).append((status, number))
        last = {each.id: each for each in self.submissions(ids=[row[1] for row in rows])} if rows else {}
        return tuple(
            Group(
                name=name,
                project=last[newest_id].project,
                user=last[newest_id].user,
                created=created,
                counts=_counts(numbers.get(name, ())),
            )
            for name, newest_id, created in rows
        )


def _batches(values: Sequence[Any], parts: int = 1) -> Iterator[Sequence[Any]]:
    """The values in portions that one statement can take, `parts` of them at once; one that is empty for none."""
    size = _AT_ONCE // parts - 10
    for start in range(0, max(len(values), 1), size):
        yield values[start : start + size]


def _text(text: str) -> str:
    """A text as both databases take it: neither has the bytes that a path may hold and UTF-8 may not, or a NUL."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _row(submission: int, spec: JobSpec) -> tuple[object, ...]:
    parameters = dict(spec.parameters)
    if len(parameters) < len(spec.parameters):
        names = [name for name, _ in spec.parameters]
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"the parameter '{twice}' is there twice", "name each once")
    return secrets.token_hex(6), submission, json.dumps(parameters), json.dumps(spec.args), "queued", ""


def _counts(rows: Iterable[tuple[str, int]]) -> Mapping[Status, int]:
    known: dict[str, int] = dict(rows)
    return {status: known.get(status, 0) for status in STATUSES}


def _submission(row: Sequence[Any]) -> Submission:
    number, group, user, host, target, project, mode, module, image, plan_key, commit, dirty, launch, options, at = row
    return Submission(
        id=number, group=group, user=user, host=host, target=target, project=project, mode=mode, module=module,
        image=image, plan_key=plan_key, commit=commit, dirty=bool(dirty), launch=_launch(json.loads(launch)),
        options=json.loads(options), created=at,
    )  # fmt: skip


def _launch(raw: Mapping[str, Any]) -> Launch:
    """A launch that this or another version of ocicaliban wrote: what is missing or not known does not count."""
    lists = {name: tuple(raw.get(name, ())) for name in ("command", "mounts", "ports", "devices")}
    env = tuple((name, value) for name, value in raw.get("env", ()))
    return Launch(**lists, env=env, workdir=raw.get("workdir", ""))


def _job(row: Sequence[Any], known: Mapping[int, Submission], tried: tuple[Attempt, ...]) -> Job:
    number, key, submission, parameters, args, status, out = row
    values: Parameters = tuple(json.loads(parameters).items())
    return Job(
        id=number, key=key, submission=known[submission], parameters=values, args=tuple(json.loads(args)),
        status=status, out=out, attempts=tried,
    )  # fmt: skip


def _attempt(row: Sequence[Any]) -> Attempt:
    return Attempt(**dict(zip(_ATTEMPT, row, strict=True)))
