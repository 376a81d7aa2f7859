"""Write many rows in a few statements: peewee takes five times as long to put so many values together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from attrs import frozen
from peewee import Database, Select, fn

from ocicaliban.history import queries, rows, schema
from ocicaliban.jobs import lifecycle
from ocicaliban.model.job import Attempt, UnderWay

_job, _attempt = schema.job, schema.attempt
_j, _a = schema.job.c, schema.attempt.c


@frozen(kw_only=True)
class NewAttempt:
    """An attempt that begins: the job's id, the backend's name for it, what returns the path of its log, its /out."""

    job: int
    named: str
    log: Callable[[int], str]
    out: str


def begin(
    database: Database,
    locked: Callable[[Select], list[Any]],
    attempts: Iterable[NewAttempt],
    started: float,
    status: UnderWay,
) -> frozenset[int]:
    """Begin a new attempt at each of these queued jobs, and return the jobs that have one now.

    `locked` returns the rows of a query, and locks them until the transaction ends.
    """
    transition = lifecycle.beginning(status)
    mark = database.param
    columns = ("job", *rows.ATTEMPT)
    add = f"INSERT INTO attempt ({', '.join(columns)}) VALUES ({', '.join([mark] * len(columns))})"
    change = f"UPDATE job SET status = {mark}, out = {mark} WHERE id = {mark}"
    begun: list[int] = []
    for some in queries.batches(sorted(attempts, key=lambda each: each.job)):
        ids = [each.job for each in some]
        before = _j.status.in_(sorted(transition.before))
        free = {row[0] for row in locked(_job.select(_j.id).where(_j.id.in_(ids), before).order_by(_j.id))}
        newest = _attempt.select(_a.job, fn.MAX(_a.number)).where(_a.job.in_(ids)).group_by(_a.job)
        last = dict(newest.tuples().execute(database))
        for each in some:
            if each.job in free:
                number = (last.get(each.job) or 0) + 1
                log = rows.text(each.log(number))
                made = Attempt(number=number, handle=each.named, status=status, started=float(started), log=log)
                database.execute_sql(add, (each.job, *rows.of_attempt(made)))
                database.execute_sql(change, (transition.job, rows.text(each.out), each.job))
                begun.append(each.job)
    return frozenset(begun)
