"""The questions to a history. Each function takes a database that is connected, and writes nothing."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

from attrs import field, frozen
from peewee import JOIN, SQL, Database, Select, fn

from ocicaliban.history import rows
from ocicaliban.history.schema import attempt, job, submission
from ocicaliban.jobs import records
from ocicaliban.model.image import Launch
from ocicaliban.model.job import ENDED, Job, Status, Submission

STATUSES: tuple[Status, ...] = get_args(Status)

PAGE = 1000
"""Jobs that `queued` reads at a time."""

_AT_ONCE = 900
"""Values in one statement: versions of SQLite before 3.32 take 999."""

_s, _j, _a = submission.c, job.c, attempt.c


@frozen(kw_only=True)
class JobQuery:
    """Which jobs: those for which everything given holds. Nothing is given by what is empty or 0.

    `submission` is the number of their present submission, `target` the name of its backend. With `newest`, only so
    many jobs with the highest numbers.
    """

    ids: Sequence[int] = field(default=(), converter=tuple)
    keys: Sequence[str] = field(default=(), converter=tuple)
    group: str = ""
    submission: int = 0
    user: str = ""
    target: str = ""
    statuses: Collection[Status] = field(default=(), converter=tuple)
    newest: int = 0


@frozen(kw_only=True)
class Group:
    """A group, with the number of its jobs for each status (all statuses are there, 0 too).

    `project` and `user` are those of its newest submission. `created` is the time of its first submission, in seconds
    since 1970.
    """

    name: str
    project: str
    user: str
    created: float
    counts: Mapping[Status, int]


def batches(values: Sequence[Any], parts: int = 1) -> Iterator[Sequence[Any]]:
    """Yield the values in portions; `parts` portions fit into one statement. Without values, yield an empty portion."""
    size = _AT_ONCE // parts - 10
    for start in range(0, max(len(values), 1), size):
        yield values[start : start + size]


def jobs(database: Database, query: JobQuery) -> tuple[Job, ...]:
    """Return the jobs of a query, by id from the lowest, with their submissions and attempts."""
    conditions = _conditions(query)
    chosen: list[Job] = []
    pairs = itertools.product(batches(sorted(set(query.ids)), 2), batches(sorted(set(query.keys)), 2))
    for some_ids, some_keys in pairs:
        more = [_j.id.in_(some_ids)] if some_ids else []
        more += [_j.job_key.in_(some_keys)] if some_keys else []
        chosen += _jobs(database, [*conditions, *more], newest=query.newest)
    chosen.sort(key=lambda each: each.id)
    return tuple(chosen[-query.newest :] if query.newest else chosen)


def _conditions(query: JobQuery) -> list[Any]:
    given = (
        (query.group, _s.group_name == query.group),
        (query.user, _s.user_name == query.user),
        (query.target, _s.target == query.target),
        (query.submission, _j.submission == query.submission),
        (query.statuses, _j.status.in_(query.statuses)),
    )
    return [condition for value, condition in given if value]


def queued(database: Database, submission_id: int, after: int) -> list[Job]:
    """Return the queued jobs of a submission with an id above `after`, by id from the lowest, at most PAGE."""
    return _jobs(database, [_j.submission == submission_id, _j.status == "queued", _j.id > after], first=PAGE)


def _jobs(database: Database, conditions: Sequence[Any], *, newest: int = 0, first: int = 0) -> list[Job]:
    wanted = job.select(_j.id).join(submission, on=(_s.id == _j.submission))
    if conditions:
        wanted = wanted.where(*conditions)
    if newest or first:
        wanted = wanted.order_by(_j.id.desc() if newest else _j.id).limit(newest or first)
    # One statement, so that no job is seen running without its attempt.
    columns = [_j.id, *(getattr(_j, name) for name in rows.JOB), *(getattr(_a, name) for name in rows.ATTEMPT)]
    query = (
        job.select(*columns)
        .join(attempt, JOIN.LEFT_OUTER, on=(_a.job == _j.id))
        .where(_j.id.in_(wanted))
        .order_by(_j.id, _a.number)
    )
    joined = _all(database, query)
    split = 1 + len(rows.JOB)
    of_jobs = {each.id: each for each in submissions(database, ids={row[2] for row in joined})} if joined else {}
    return [
        rows.to_job(of_job, of_jobs, tuple(rows.to_attempt(row[split:]) for row in same if row[split] is not None))
        for of_job, same in itertools.groupby(joined, key=lambda row: row[:split])
    ]


def submissions(
    database: Database, *, group: str = "", user: str = "", ids: Iterable[int] = ()
) -> tuple[Submission, ...]:
    """Return the submissions for which everything given holds, by id from the lowest."""
    query = submission.select(_s.id, *(getattr(_s, name) for name in rows.SUBMISSION)).order_by(_s.id)
    if group:
        query = query.where(_s.group_name == group)
    if user:
        query = query.where(_s.user_name == user)
    chosen: list[Submission] = []
    for some in batches(sorted(set(ids))):
        chosen += map(rows.to_submission, _all(database, query.where(_s.id.in_(some)) if some else query))
    return tuple(chosen)


def counts(database: Database, group: str, submission_id: int) -> Mapping[Status, int]:
    """Return the number of jobs for each status, of a group, of a submission, or ("", 0) of all."""
    query = job.select(_j.status, fn.COUNT(SQL("*"))).group_by(_j.status)
    if group:
        query = query.join(submission, on=(_s.id == _j.submission)).where(_s.group_name == group)
    if submission_id:
        query = query.where(_j.submission == submission_id)
    return _counts(_all(database, query))


def unfinished_images(
    database: Database, *, user: str, host: str, targets: Iterable[str]
) -> Mapping[str, frozenset[str]]:
    """Return the images of a user's unfinished jobs on a machine, with the groups that need each one.

    Only the jobs of these targets count.
    """
    query = _unfinished(submission.select(_s.image, _s.group_name).distinct(), user, host, targets)
    images: dict[str, frozenset[str]] = {}
    for image, group in _all(database, query):
        images[image] = images.get(image, frozenset()) | {group}
    return images


def unfinished_launches(database: Database, *, user: str, host: str, targets: Iterable[str]) -> tuple[Launch, ...]:
    """Return how a user's unfinished jobs on a machine start, each way once; see `unfinished_images`."""
    query = _unfinished(submission.select(_s.launch).distinct(), user, host, targets)
    return tuple(records.launch_from_record(json.loads(text)) for (text,) in _all(database, query))


def _unfinished(query: Any, user: str, host: str, targets: Iterable[str]) -> Any:
    """Return a query for submissions, of those alone that have jobs which have not ended."""
    query = query.join(job, on=(_s.id == _j.submission)).where(_j.status.not_in(sorted(ENDED)))
    return query.where(_s.user_name == user, _s.host == host, _s.target.in_(sorted(targets)))


def groups(database: Database, *, user: str = "", newest: int = 0) -> tuple[Group, ...]:
    """Return the groups, those with the newest submissions first, or only so many.

    With `user`, only their submissions count.
    """
    query = submission.select(_s.group_name, fn.MAX(_s.id), fn.MIN(_s.created)).group_by(_s.group_name)
    query = query.order_by(fn.MAX(_s.id).desc())
    if user:
        query = query.where(_s.user_name == user)
    if newest:
        query = query.limit(newest)
    named = _all(database, query)
    numbers = _numbers(database, [row[0] for row in named], user)
    last = {each.id: each for each in submissions(database, ids=[row[1] for row in named])} if named else {}
    return tuple(
        Group(
            name=name,
            project=last[newest_id].project,
            user=last[newest_id].user,
            created=created,
            counts=_counts(numbers.get(name, ())),
        )
        for name, newest_id, created in named
    )


def _numbers(database: Database, names: Sequence[str], user: str) -> Mapping[str, list[tuple[str, int]]]:
    """Return the number of jobs for each status that a group has, by the groups' names."""
    numbers: dict[str, list[tuple[str, int]]] = {}
    for some in batches(names):
        query = job.select(_s.group_name, _j.status, fn.COUNT(SQL("*")))
        query = query.join(submission, on=(_s.id == _j.submission))
        query = query.where(_s.group_name.in_(some)) if some else query
        query = query.where(_s.user_name == user) if user else query
        for name, status, number in _all(database, query.group_by(_s.group_name, _j.status)):
            numbers.setdefault(name, []).append((status, number))
    return numbers


def _counts(counted: Iterable[tuple[str, int]]) -> Mapping[Status, int]:
    numbers: dict[str, int] = dict(counted)
    return {status: numbers.get(status, 0) for status in STATUSES}


def _all(database: Database, query: Select) -> list[Any]:
    return list(query.tuples().execute(database))
