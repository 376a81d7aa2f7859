"""The history, on both databases: a file of SQLite and a real PostgreSQL server."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test
from peewee import SqliteDatabase

from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.history import access, schema
from ocicaliban.history.store import STATUSES, History, NewAttempt, handle
from ocicaliban.model.image import Launch
from ocicaliban.model.job import ENDED, UNDER_WAY, JobSpec, Status, Submission, UnderWay
from ocicaliban.reporter import Reporter
from ocicaliban.system import filesystems
from tests import records
from tests.integration import postgres

REPOSITORY = Path(__file__).parents[2]
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    with postgres.server() as made:
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a new history."""
    if request.param == "sqlite":
        return f"sqlite://{tmp_path}/made/history.db"
    made: str = request.getfixturevalue("server").database(f"history{next(_numbers)}")
    return made


@pytest.fixture
def store(url: str) -> Iterator[History]:
    with access.open(url) as opened:
        yield opened


def submission(**changes: Any) -> Submission:
    made = Submission(
        target="local", group="digits", user="ada", host="zuse", project="/p/digits", mode="run", options={"version": 1}
    )
    return evolve(made, **changes)


def specs(number: int) -> list[JobSpec]:
    return [JobSpec(parameters=(("n", n),), args=("--n", str(n))) for n in range(number)]


def ids(store: History, **which: Any) -> list[int]:
    return [job.id for job in store.jobs(**which)]


def statuses(store: History) -> list[Status]:
    return [job.status for job in store.jobs()]


def script(url: str, text: str, *arguments: str) -> subprocess.Popen[str]:
    """Another process of ocicaliban's Python."""
    head = (
        "import sys, time\nfrom ocicaliban.history import access as history\n"
        "from ocicaliban.model.job import *\nfrom ocicaliban.model.image import Launch\n"
    )
    head += 'def say(text): print(text, flush=True)\ndef wait(): say("ready"); sys.stdin.readline()\n'
    return subprocess.Popen(
        [sys.executable, "-c", head + text, *arguments],
        env={**os.environ, "OCICALIBAN_DB_URL": url, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def together(children: list[subprocess.Popen[str]]) -> list[list[str]]:
    """Let children that wait go on at once; their lines."""
    for child in children:
        assert child.stdout and child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin
        child.stdin.write("\n")
        child.stdin.flush()
    said = [child.communicate(timeout=120)[0] for child in children]
    assert [child.returncode for child in children] == [0] * len(children), said
    return [lines.splitlines() for lines in said]


# --- what earlier versions wrote ------------------------------------------------------------------------------------


def test_a_history_of_schema_1_on_a_server_is_read(server: postgres.Server) -> None:
    """Read what `tests/data` holds as statements; the file of SQLite is read by the unit tests."""
    name = f"history{next(_numbers)}"
    url = server.database(name)
    server.tell((records.DATA / "history-1.postgresql.sql").read_text(encoding="utf-8"), database=name)
    with access.open(url) as known:
        records.check(known)


def test_a_migrated_server_has_the_tables_of_a_new_one(server: postgres.Server) -> None:
    def tables(url: str) -> list[Any]:
        with access.open(url) as known:
            found = known._database.execute_sql(
                "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
                " WHERE conrelid IN ('submission'::regclass, 'job'::regclass, 'attempt'::regclass) ORDER BY 1, 2"
            ).fetchall()
            columns = known._database.execute_sql(
                "SELECT table_name, ordinal_position, column_name, data_type, is_nullable, column_default,"
                " identity_generation FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"
            ).fetchall()
            indexes = known._database.execute_sql(
                "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
            ).fetchall()
            return [found, columns, indexes]

    old, new = f"history{next(_numbers)}", f"history{next(_numbers)}"
    url = server.database(old)
    server.tell((records.DATA / "history-1.postgresql.sql").read_text(encoding="utf-8"), database=old)
    assert tables(url) == tables(server.database(new))


def test_a_migration_gives_way_to_a_sweep_that_writes(server: postgres.Server) -> None:
    """Migrate while another process has locked an attempt, and then wants its job: neither is a deadlock's victim."""
    import psycopg

    name = f"history{next(_numbers)}"
    url = server.database(name)
    server.tell((records.DATA / "history-1.postgresql.sql").read_text(encoding="utf-8"), database=name)
    with psycopg.connect(url) as sweep, ThreadPoolExecutor(1) as other:
        sweep.execute("UPDATE attempt SET status = 'failed', ended = 2.0 WHERE job = 6")
        migrated = other.submit(lambda: access.open(url).close())
        time.sleep(1.5)
        assert not migrated.done()
        sweep.execute("UPDATE job SET status = 'failed' WHERE id = 6")
        sweep.commit()
        migrated.result(timeout=60)
    with access.open(url) as known:
        assert known.jobs(ids=[6])[0].status == "failed" and known.jobs(ids=[9])[0].status == "pending"


# --- what goes in comes out -----------------------------------------------------------------------------------------


def test_a_submission_comes_back_as_it_was_given(store: History) -> None:
    given = submission(
        module="train.py", image="sha256:1", plan_key="abc", commit="c0ffee", dirty=True, target="local",
        launch=Launch(command=("python", "-m", "x"), env=(("A", "1"), ("B", "")), mounts=("/a:/b",), devices=("gpu",)),
        options={"version": 1, "memory": "4g", "podman_args": ["--init"], "gpus": 2, "rebuild": False, "none": None},
        created=1234.5,
    )  # fmt: skip
    made = store.submit(given, [])
    assert made.id and made == evolve(given, id=made.id)
    assert store.submissions() == (made,)


def test_a_submission_gets_its_time(store: History) -> None:
    before = time.time()
    assert before <= store.submit(submission(), []).created <= time.time()


def test_jobs_come_back_as_they_were_given(store: History) -> None:
    values: tuple[tuple[str, str | int | float | bool], ...] = (
        *(("z", 0.1), ("a", 1), ("big", 2**70), ("float", 1.0), ("yes", True), ("no", False), ("empty", "")),
        ("text", 'ä "quoted" \0 \\ 日本\ud800'),
    )
    given = JobSpec(parameters=values, args=("--", "-x", "", "\udcff\n\0"))
    made = store.submit(submission(), [given, JobSpec()])
    first, second = store.jobs()
    assert (first.parameters, first.args) == (given.parameters, given.args)
    assert [type(value) for _, value in first.parameters] == [type(value) for _, value in given.parameters]
    assert (second.parameters, second.args, second.attempts, second.last) == ((), (), (), None)
    assert first.submission == made and first.status == "queued" and first.id < second.id
    assert first.key != second.key
    assert all(re.fullmatch("[0-9a-f]{12}", job.key) for job in (first, second))


def test_text_that_no_database_takes_is_kept_readable(store: History) -> None:
    store.submit(submission(project="/p/\udcff\0"), specs(1))
    (job,) = ids(store)
    store.begin(job, log=lambda number: f"/\udcfe/{number}", started=1.0)
    assert store.end(job, 1, "failed", reason="bad \0 byte", ended=2.0)
    found = store.jobs()[0]
    assert found.submission.project == "/p/\\udcff\\x00"
    assert found.last and found.last.log == "/\\udcfe/1" and found.last.reason == "bad \\x00 byte"


def test_a_parameter_that_is_there_twice_leaves_nothing_of_the_submission(store: History) -> None:
    with pytest.raises(UsageError, match="'a' is given twice"):
        store.submit(submission(), [*specs(2), JobSpec(parameters=(("a", 1), ("a", 2)))])
    assert store.jobs() == () and store.submissions() == ()


def test_a_submission_whose_jobs_cannot_be_made_leaves_nothing(store: History) -> None:
    def broken() -> Iterator[JobSpec]:
        yield from specs(1000)
        raise OcicalibanError("no more")

    with pytest.raises(OcicalibanError, match="no more"):
        store.submit(submission(), broken())
    assert store.jobs() == () and store.submissions() == ()
    store.submit(submission(), specs(1))


def test_very_many_jobs(store: History) -> None:
    made = store.submit(submission(), iter(specs(25_000)))
    assert [job.parameters[0][1] for job in store.queued(made.id)] == list(range(25_000))
    every = ids(store)
    assert len(every) == 25_000 and every == sorted(every)
    assert ids(store, ids=every[::2]) == every[::2]
    assert len(store.stop_queued(every)) == 25_000
    assert store.counts("digits")["stopped"] == 25_000
    again = store.resubmit(submission(), every)
    assert store.counts(submission=again.id)["queued"] == 25_000


# --- what becomes of a job ------------------------------------------------------------------------------------------


def test_a_job_from_its_beginning_to_its_end(store: History) -> None:
    store.submit(submission(), specs(2))
    one, two = store.jobs()
    begun = store.begin(one.id, log=lambda number: f"/logs/{number}.log", out="/out/1", started=10.0)
    assert begun and begun.number == 1 and begun.handle == f"ocicaliban-{one.key}-1" == handle(one.key, 1)
    assert begun.status == "running" and begun.log == "/logs/1.log" and begun.started == 10.0 and begun.ended is None
    running = store.jobs(ids=[one.id])[0]
    assert running.status == "running" and running.out == "/out/1" and running.attempts == (begun,)
    assert store.end(one.id, 1, "succeeded", exit_code=0, ended=20.5)
    ended = store.jobs(ids=[one.id])[0]
    assert ended.status == "succeeded"
    assert ended.attempts == (evolve(begun, status="succeeded", exit_code=0, ended=20.5),)
    assert store.jobs(ids=[two.id]) == (two,)


def test_a_job_is_begun_by_one_alone(store: History) -> None:
    store.submit(submission(), specs(1))
    (job,) = ids(store)
    assert store.begin(job, started=1.0)
    assert store.begin(job, started=1.0) is None
    store.end(job, 1, "failed", ended=2.0)
    assert store.begin(job, started=3.0) is None
    assert store.begin(job + 1000, started=3.0) is None
    assert len(store.jobs()[0].attempts) == 1


def test_an_end_is_recorded_once(store: History) -> None:
    store.submit(submission(), specs(1))
    (job,) = ids(store)
    assert not store.end(job, 1, "failed", ended=2.0)
    store.begin(job, started=1.0)
    assert store.end(job, 1, "succeeded", exit_code=0, ended=2.0)
    before = store.jobs()
    assert not store.end(job, 1, "lost", exit_code=3, reason="x", ended=3.0, again=True)
    assert store.jobs() == before


def test_a_retry_keeps_what_became_of_the_attempt_before(store: History) -> None:
    store.submit(submission(), specs(1))
    (job,) = ids(store)
    store.begin(job, out="/out", started=1.0)
    assert store.end(job, 1, "failed", exit_code=9, reason="killed", ended=2.0, again=True)
    assert statuses(store) == ["queued"]
    second = store.begin(job, started=3.0)
    assert second and second.number == 2 and second.handle.endswith("-2")
    found = store.jobs()[0]
    assert [(a.number, a.status, a.exit_code, a.reason) for a in found.attempts] == [
        (1, "failed", 9, "killed"),
        (2, "running", None, ""),
    ]
    assert found.last == second and found.out == "/out"


@pytest.mark.parametrize("status", ["queued", "pending", "running", "gone", ""])
def test_a_status_that_is_no_end_does_not_get_in(store: History, status: Any) -> None:
    store.submit(submission(), specs(1))
    (job,) = ids(store)
    store.begin(job, started=1.0)
    with pytest.raises(ValueError, match="does not end"):
        store.end(job, 1, status, ended=2.0)
    assert statuses(store) == ["running"]


def test_the_database_itself_refuses_an_unknown_status(store: History) -> None:
    store.submit(submission(), specs(1))
    with pytest.raises(OcicalibanError), store._writing():
        store._database.execute_sql("UPDATE job SET status = 'gone'")
    assert statuses(store) == ["queued"]


@pytest.mark.parametrize("change", ["status = 'queued'", "status = 'failed'", "status = 'pending', ended = 2.0"])
def test_the_database_itself_refuses_an_attempt_under_way_that_has_ended(store: History, change: str) -> None:
    store.submit(submission(), specs(1))
    (job,) = ids(store)
    store.begin(job, started=1.0)
    with pytest.raises(OcicalibanError), store._writing():
        store._database.execute_sql(f"UPDATE attempt SET {change}")
    assert store.jobs()[0].attempts[0].status == "running"


def test_what_a_backend_says_of_an_attempt_is_on_record_until_it_ends(store: History) -> None:
    store.submit(submission(), specs(2))
    job, other = ids(store)
    begun = store.begin(job, started=1.0, named="customJobs/1", status="pending", backend_state="queued")
    assert begun and (begun.status, begun.backend_state) == ("pending", "queued")
    assert store.jobs(statuses=["pending"])[0].attempts == (begun,)
    assert store.observed(job, 1, status="running", started=5.0)
    found = store.jobs(statuses=["running"])[0]
    assert found.attempts == (evolve(begun, status="running", backend_state="", started=5.0),)
    assert store.observed(job, 1, status="pending", backend_state="restarting\0")
    found = store.jobs(ids=[job])[0]
    assert found.last and (found.status, found.last.backend_state) == ("pending", "restarting\\x00")
    assert not store.observed(job, 2, status="running") and not store.observed(other, 1, status="running")
    assert store.end(job, 1, "failed", reason="expired", ended=9.0)
    before = store.jobs()
    assert before[0].last and (before[0].last.backend_state, before[0].last.reason) == ("", "expired")
    assert not store.observed(job, 1, status="running") and store.jobs() == before


def test_what_is_queued_is_stopped_and_nothing_else(store: History) -> None:
    store.submit(submission(), specs(3))
    one, two, three = ids(store)
    store.begin(two, started=1.0)
    assert store.stop_queued([three, two, one, one, 999_999]) == (one, three)
    assert statuses(store) == ["stopped", "running", "stopped"]
    assert store.stop_queued([one, two, three]) == ()
    assert store.stop_queued([]) == ()
    assert store.begin(one, started=1.0) is None


def test_resubmitted_jobs_move_and_keep_their_attempts(store: History) -> None:
    first = store.submit(submission(), specs(4))
    failed, running, queued, stopped = ids(store)
    store.begin(failed, started=1.0)
    store.end(failed, 1, "failed", exit_code=1, ended=2.0)
    store.begin(running, started=1.0)
    store.stop_queued([stopped])
    second = store.resubmit(submission(image="new", created=99.0), [stopped, failed, running, queued])
    assert second.id > first.id and second.image == "new" and second.created == 99.0
    assert {job.id: (job.status, job.submission.id) for job in store.jobs()} == {
        failed: ("queued", second.id), running: ("running", first.id),
        queued: ("queued", first.id), stopped: ("queued", second.id),
    }  # fmt: skip
    begun = store.begin(failed, started=3.0)
    assert begun and begun.number == 2
    assert store.jobs(ids=[failed])[0].attempts[0].exit_code == 1


class Transitions(RuleBasedStateMachine):
    """A second model of the life of jobs, in a few lines of Python; the history must agree with it."""

    store: History

    def __init__(self) -> None:
        super().__init__()
        self.group = f"group{next(_numbers)}"
        self.model: dict[int, tuple[int, Status, list[Status]]] = {}

    jobs: Bundle[int] = Bundle("jobs")

    @rule(target=jobs, number=st.integers(1, 3))
    def submit(self, number: int) -> Any:
        made = self.store.submit(submission(group=self.group), specs(number))
        found = ids(self.store, submission=made.id)
        assert len(found) == number and not self.model.keys() & set(found)
        self.model |= {job: (made.id, "queued", []) for job in found}
        return multiple(*found)

    @rule(job=jobs, at_first=st.sampled_from(sorted(UNDER_WAY)))
    def begin(self, job: int, at_first: UnderWay) -> None:
        number, status, tried = self.model[job]
        begun = self.store.begin(job, started=1.0, status=at_first)
        assert (begun is not None) == (status == "queued")
        if begun:
            assert begun.number == len(tried) + 1
            self.model[job] = (number, at_first, [*tried, at_first])

    @rule(job=jobs, back=st.integers(0, 1), seen=st.sampled_from(sorted(UNDER_WAY)))
    def observed(self, job: int, back: int, seen: UnderWay) -> None:
        number, _, tried = self.model[job]
        which = len(tried) - back
        recorded = self.store.observed(job, which, status=seen, backend_state=seen)
        assert recorded == (which > 0 and tried[which - 1] in UNDER_WAY)
        if recorded:
            self.model[job] = (number, seen, [*tried[:-1], seen])

    @rule(job=jobs, back=st.integers(0, 1), became=st.sampled_from(sorted(ENDED)), again=st.booleans())
    def end(self, job: int, back: int, became: Status, again: bool) -> None:
        number, _, tried = self.model[job]
        which = len(tried) - back
        recorded = self.store.end(job, which, became, ended=2.0, again=again)
        assert recorded == (which > 0 and tried[which - 1] in UNDER_WAY)
        if recorded:
            self.model[job] = (number, "queued" if again else became, [*tried[:-1], became])

    @rule(some=st.lists(jobs, max_size=4))
    def stop(self, some: list[int]) -> None:
        stopped = {job for job in some if self.model[job][1] == "queued"}
        assert self.store.stop_queued(some) == tuple(sorted(stopped))
        for job in stopped:
            self.model[job] = (self.model[job][0], "stopped", self.model[job][2])

    @rule(some=st.lists(jobs, max_size=4))
    def resubmit(self, some: list[int]) -> None:
        made = self.store.resubmit(submission(group=self.group), some)
        for job in some:
            if self.model[job][1] in ENDED:
                self.model[job] = (made.id, "queued", self.model[job][2])

    @invariant()
    def the_history_says_what_happened(self) -> None:
        found = self.store.jobs(group=self.group)
        assert {
            job.id: (job.submission.id, job.status, [attempt.status for attempt in job.attempts]) for job in found
        } == self.model
        every = [status for _, status, _ in self.model.values()]
        assert self.store.counts(self.group) == {status: every.count(status) for status in STATUSES}


def test_whatever_happens_to_jobs_the_history_says_so(store: History) -> None:
    machine = type("Machine", (Transitions,), {"store": store})
    chosen = settings(max_examples=40, stateful_step_count=20, suppress_health_check=list(HealthCheck), database=None)
    run_state_machine_as_test(machine, settings=chosen)


# --- what is asked --------------------------------------------------------------------------------------------------


def test_jobs_are_found_by_what_is_known_of_them(store: History) -> None:
    one = store.submit(submission(), specs(3))
    two = store.submit(submission(group="faces", user="bob"), specs(2))
    every = store.jobs()
    a, b, c, d, e = (job.id for job in every)
    store.begin(b, started=1.0)
    assert ids(store, group="digits") == [a, b, c]
    assert ids(store, user="bob") == [d, e]
    assert ids(store, submission=one.id) == [a, b, c]
    assert ids(store, group="digits", user="bob") == []
    assert ids(store, statuses=["running"]) == [b]
    assert ids(store, statuses=["queued"], submission=two.id) == [d, e]
    assert ids(store, keys=[every[4].key, every[0].key, "nothing"]) == [a, e]
    assert ids(store, ids=[e, a, a]) == [a, e]
    assert ids(store, ids=[a, e], group="faces") == [e]
    assert ids(store, newest=2) == [d, e]
    assert ids(store, newest=2, group="digits") == [b, c]
    assert ids(store, newest=1, ids=[a, b]) == [b]
    assert ids(store, newest=99) == [a, b, c, d, e]
    assert [job.id for job in store.queued(one.id)] == [a, c]
    assert store.submissions(group="faces") == store.submissions(user="bob") == (two,)
    assert store.submissions(ids=[two.id]) == (two,)
    assert store.submissions() == (one, two)


def test_ids_of_which_there_are_very_many(store: History) -> None:
    store.submit(submission(), specs(3))
    first = ids(store)[0]
    assert ids(store, ids=range(first, first + 5000)) == [first, first + 1, first + 2]
    assert ids(store, ids=range(first, first + 5000), newest=2) == [first + 1, first + 2]


def test_groups_are_told_newest_first_with_their_counts(store: History) -> None:
    assert store.groups() == ()
    store.submit(submission(created=1.0), specs(3))
    store.submit(submission(group="faces", user="bob", project="/p/faces", created=2.0), specs(1))
    store.submit(submission(project="/q/digits", user="bob", created=3.0), specs(1))
    first = ids(store)[0]
    store.begin(first, started=1.0)
    digits, faces = store.groups()
    assert (digits.name, digits.project, digits.user, digits.created) == ("digits", "/q/digits", "bob", 1.0)
    assert digits.counts == dict.fromkeys(STATUSES, 0) | {"queued": 3, "running": 1}
    assert (faces.name, faces.created) == ("faces", 2.0)
    assert store.groups(newest=1) == (digits,)
    (mine,) = store.groups(user="ada")
    assert mine.project == "/p/digits" and mine.counts["queued"] == 2 and mine.counts["running"] == 1
    assert store.counts("digits") == digits.counts
    assert store.counts("nobody") == dict.fromkeys(STATUSES, 0)
    assert sum(store.counts().values()) == 5


# --- many at once, and sudden ends ----------------------------------------------------------------------------------

TAKER = """
with history.open() as store:
    jobs = store.jobs()
    wait()
    for number, job in enumerate(jobs):
        if attempt := store.begin(job.id, started=1.0):
            say(job.id)
            store.end(job.id, attempt.number, "succeeded", exit_code=0, ended=2.0)
        if number % 10 == 0:
            store.submit(job.submission, [JobSpec()])
            store.stop_queued([job.id + 1, job.id])
"""


def test_several_processes_write_at_once_and_each_job_runs_once(url: str) -> None:
    with access.open(url) as store:
        first = store.submit(submission(), specs(150))
        taken = [int(line) for lines in together([script(url, TAKER) for _ in range(4)]) for line in lines]
        assert len(taken) == len(set(taken)) > 100
        found = store.jobs()
        assert {job.id for job in found if job.status == "succeeded"} == set(taken)
        assert all(len(job.attempts) == (job.status == "succeeded") for job in found)
        assert {job.status for job in found if job.submission == first} <= {"succeeded", "stopped"}
        assert len(store.submissions()) == 1 + 4 * 15


RECORDER = """
runs = []
for number in range(40):
    run = Submission(target="local", group="g", user="u", host="h", project="/p", mode="run", created=1.0)
    runs.append(Job(id=0, key=f"run{number}", submission=run, status="succeeded", attempts=(
        Attempt(number=1, handle=f"c{number}", status="succeeded", started=1.0, ended=2.0, exit_code=0),)))
with history.open() as store:
    wait()
    for run in runs:
        store.record(run)
"""


def test_several_processes_record_the_same_runs_at_once(url: str) -> None:
    with access.open(url) as store:
        together([script(url, RECORDER) for _ in range(4)])
        assert len(store.jobs()) == len(store.submissions()) == 40
        assert all(len(job.attempts) == 1 for job in store.jobs())


def test_threads_share_a_history(store: History) -> None:
    made = store.submit(submission(), specs(40))
    every = ids(store)
    with ThreadPoolExecutor(8) as pool:
        begun = list(pool.map(lambda job: store.begin(job, started=1.0), [*every, *every]))
    assert sum(attempt is not None for attempt in begun) == 40
    assert store.counts(submission=made.id)["running"] == 40


WRITER = """
with history.open() as store:
    for job in store.jobs(statuses=["queued"]):
        if attempt := store.begin(job.id, log=lambda number: f"/log/{number}", started=1.0):
            say(f"begun {job.id}")
            store.end(job.id, attempt.number, "succeeded", exit_code=0, ended=2.0)
            say(f"ended {job.id}")
"""


def test_what_was_recorded_survives_kill_9(url: str) -> None:
    chance = random.Random(4)
    with access.open(url) as store:
        store.submit(submission(), specs(400))
        for _ in range(6):
            child = script(url, WRITER)
            assert child.stdout
            said = [child.stdout.readline() for _ in range(chance.randrange(1, 40))]
            time.sleep(chance.random() / 50)
            child.send_signal(signal.SIGKILL)
            said += child.communicate(timeout=60)[0].splitlines(True)
            words = [line.split() for line in said if line.endswith("\n")]
            found = {job.id: job for job in store.jobs()}
            for word, number in words:
                assert found[int(number)].status in (["succeeded"] if word == "ended" else ["succeeded", "running"])
            for job in found.values():
                assert len(job.attempts) == (job.status != "queued")
                assert not job.last or job.last.status == job.status
            for job in found.values():
                if job.status == "running":
                    assert store.end(job.id, 1, "lost", ended=3.0)


SUBMITTER = """
def specs():
    for number in range(5000):
        yield JobSpec(args=(str(number),))
    wait()
with history.open() as store:
    store.submit(Submission(target="local", group="g", user="u", host="h", project="/p", mode="run"), specs())
"""


def test_a_submission_that_is_killed_leaves_nothing_and_blocks_no_other_process(url: str) -> None:
    with access.open(url) as store:
        child = script(url, SUBMITTER)
        assert child.stdout and child.stdout.readline() == "ready\n"
        assert store.jobs() == ()  # reading does not wait
        child.send_signal(signal.SIGKILL)
        child.communicate(timeout=60)
        store.submit(submission(), specs(1))
        assert len(store.jobs()) == len(store.submissions()) == 1


OPENER = """
wait()
with history.open() as store:
    store.submit(Submission(target="local", group="g", user="u", host="h", project="/p", mode="run"), [JobSpec()])
"""


def test_several_processes_make_the_tables_at_once(url: str) -> None:
    together([script(url, OPENER) for _ in range(5)])
    with access.open(url) as store:
        assert len(store.jobs()) == 5
        rows = store._database.execute_sql("SELECT version FROM schema_version ORDER BY version").fetchall()
        assert [row[0] for row in rows] == list(range(1, len(schema.MIGRATIONS) + 1))


# --- the schema -----------------------------------------------------------------------------------------------------


def next_step(monkeypatch: pytest.MonkeyPatch, *statements: str) -> int:
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, schema.same_on_both(*statements)))
    return len(schema.MIGRATIONS)


def test_a_history_of_an_older_program_is_brought_forward(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with access.open(url) as store:
        store.submit(submission(), specs(3))
        before = store.jobs()
    number = next_step(
        monkeypatch,
        "CREATE TABLE note (id $ID, text TEXT NOT NULL)",
        "ALTER TABLE job ADD COLUMN note BIGINT",
        "UPDATE job SET note = 7",
    )
    with access.open(url) as store:
        assert schema.version(store._database) == number
        assert store.jobs() == before
        assert store._database.execute_sql("SELECT DISTINCT note FROM job").fetchall() == [(7,)]


def test_a_step_that_fails_leaves_the_history_as_it_was(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with access.open(url) as store:
        store.submit(submission(), specs(3))
        before = store.jobs()
    with monkeypatch.context() as broken:
        next_step(broken, "ALTER TABLE job ADD COLUMN note BIGINT", "UPDATE nothing SET x = 1")
        with pytest.raises(OcicalibanError, match="nothing"):
            access.open(url)
    with access.open(url) as store:
        assert store.jobs() == before
    next_step(monkeypatch, "ALTER TABLE job ADD COLUMN note BIGINT")
    access.open(url).close()


def test_a_history_of_a_newer_program_is_not_touched(url: str, tmp_path: Path) -> None:
    with access.open(url) as store:
        store.submit(submission(), specs(1))
        store._database.execute_sql("INSERT INTO schema_version VALUES (99, 1.0)")
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(OcicalibanError, match="written by a newer ocicaliban") as caught:
        access.open(url)
    assert "upgrade" in caught.value.hint and "rd" not in caught.value.message.split("schema")[1]
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files


# --- SQLite's file --------------------------------------------------------------------------------------------------


def test_without_a_url_the_history_is_in_the_users_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("OCICALIBAN_DB_URL", raising=False)
    access.open().close()
    assert (tmp_path / "state/ocicaliban/history.db").is_file()


def test_the_url_comes_from_the_argument_the_environment_or_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "ocicaliban").mkdir()
    (tmp_path / "ocicaliban/config.toml").write_text(f'db_url = "sqlite://{tmp_path}/c.db"\n')
    monkeypatch.delenv("OCICALIBAN_DB_URL", raising=False)
    access.open().close()
    assert {path.name for path in tmp_path.glob("*.db")} == {"c.db"}
    monkeypatch.setenv("OCICALIBAN_DB_URL", f"{tmp_path}/e.db")
    access.open().close()
    assert {path.name for path in tmp_path.glob("*.db")} == {"c.db", "e.db"}
    access.open(f"sqlite:///{tmp_path}/a.db").close()
    assert {path.name for path in tmp_path.glob("*.db")} == {"a.db", "c.db", "e.db"}


def test_a_file_of_sqlite_is_synced_and_does_not_make_readers_wait(tmp_path: Path) -> None:
    with access.open(f"{tmp_path}/h.db") as store:
        connection = store._database
        assert isinstance(connection, SqliteDatabase)
        found = {name: connection.pragma(name) for name in ("journal_mode", "synchronous", "foreign_keys")}
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_network_file_system_is_warned_of_once_and_gets_no_shared_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access.open(f"{tmp_path}/h.db").close()
    monkeypatch.setattr(filesystems, "mounted", lambda: f"1 1 0:1 / {tmp_path} rw - nfs4 server:/home rw\n")
    said: list[str] = []
    with access.open(f"{tmp_path}/h.db", reporter=Reporter(said.append)) as store:
        store.submit(submission(), specs(1))
        assert isinstance(store._database, SqliteDatabase)
        assert store._database.pragma("journal_mode") == "delete"
    (warning,) = said
    assert "nfs4" in warning and "OCICALIBAN_DB_URL" in warning and f"{tmp_path}/h.db" in warning


def test_a_local_disk_is_not_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystems, "mounted", lambda: "1 1 0:1 / / rw - ext4 /dev/sda rw\n")
    access.open(f"{tmp_path}/h.db", reporter=Reporter(lambda text: pytest.fail(text))).close()


def fault(url: str) -> OcicalibanError:
    with pytest.raises(OcicalibanError) as caught, access.open(url) as store:
        store.submit(submission(), specs(1))
        store.jobs()
        store.groups()
    assert caught.value.hint
    assert postgres.PASSWORD not in str(caught.value) and "p%40ss" not in str(caught.value)
    return caught.value


@contextlib.contextmanager
def mode(path: Path, wanted: int) -> Iterator[None]:
    before = stat.S_IMODE(path.stat().st_mode)
    path.chmod(wanted)
    try:
        yield
    finally:
        path.chmod(before)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with mode(tmp_path, 0o500):
        assert "Permission denied" in fault(f"{tmp_path}/sub/h.db").message
        found = fault(f"{tmp_path}/h.db")
    assert f"{tmp_path}/h.db cannot be opened" in found.message and "OCICALIBAN_DB_URL" in found.hint


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    access.open(f"{tmp_path}/h.db").close()
    with mode(tmp_path / "h.db", 0o400):
        assert "is not writable" in fault(f"{tmp_path}/h.db").message
    with mode(tmp_path / "h.db", 0):
        assert "cannot be opened" in fault(f"{tmp_path}/h.db").message


def test_a_folder_in_the_files_place(tmp_path: Path) -> None:
    assert "cannot be opened" in fault(str(tmp_path)).message
    (tmp_path / "file").touch()
    assert "is not a folder" in fault(f"{tmp_path}/file/h.db").message


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "h.db").write_text("This is no database, and never was one. " * 100)
    found = fault(f"{tmp_path}/h.db")
    assert "is not a database" in found.message and ".recover" in found.hint and f"{tmp_path}/h.db" in found.hint


def test_a_damaged_database(tmp_path: Path) -> None:
    with access.open(f"{tmp_path}/h.db") as store:
        store.submit(submission(), specs(2000))
    whole = (tmp_path / "h.db").read_bytes()
    (tmp_path / "h.db").write_bytes(whole[:4096] + random.Random(1).randbytes(len(whole) - 4096))
    assert "is damaged" in fault(f"{tmp_path}/h.db").message


CRAMPED = """
import resource
from ocicaliban.errors import OcicalibanError
with history.open() as store:
    given = Submission(target="local", group="g", user="u", host="h", project="/p", mode="run")
    store.submit(given, [JobSpec()])
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
    try:
        store.submit(given, (JobSpec() for _ in range(50_000)))
    except OcicalibanError as fault:
        say(f"{fault.message} ({fault.hint})")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    store.submit(given, [JobSpec()])
    say(len(store.jobs()))
"""


def test_a_file_that_cannot_grow(tmp_path: Path) -> None:
    said, _ = script(f"{tmp_path}/h.db", CRAMPED).communicate(timeout=60)
    message, number = said.splitlines()
    assert "cannot be read or written: the disk" in message and "df -h" in message and number == "2"


def test_a_process_that_does_not_release_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocicaliban.history.connection.PATIENCE", 0.1)
    access.open(f"{tmp_path}/h.db").close()
    other = sqlite3.connect(tmp_path / "h.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert "has been locked by another process" in fault(f"{tmp_path}/h.db").message
    other.execute("ROLLBACK")
    other.close()


def test_another_programs_tables(url: str) -> None:
    with access.open(url) as store:
        store._database.execute_sql("DROP TABLE schema_version")
        store._database.execute_sql("CREATE TABLE schema_version (script TEXT)")
    assert "version" in fault(url).message


# --- PostgreSQL -----------------------------------------------------------------------------------------------------


def test_a_server_that_is_down() -> None:
    found = fault(f"postgresql://ada:{'p%40ss'}@127.0.0.1:1/history")
    assert "postgresql://ada:****@127.0.0.1:1/history cannot be reached" in found.message
    assert "is the server running" in found.hint


def test_a_wrong_password(server: postgres.Server) -> None:
    found = fault(server.url("postgres", password="wr@ng-one"))
    assert "password authentication failed" in found.message and "password" in found.hint
    assert "wr@ng" not in str(found) and "wr%40ng" not in str(found)


def test_no_password(server: postgres.Server) -> None:
    found = fault(f"postgresql://ada@127.0.0.1:{server.port}/postgres")
    assert "no password supplied" in found.message and "~/.pgpass" in found.hint


def test_a_database_that_is_missing(server: postgres.Server) -> None:
    found = fault(server.url("nowhere"))
    assert 'database "nowhere" does not exist' in found.message and "createdb" in found.hint


def test_a_user_who_may_not_create_tables(server: postgres.Server) -> None:
    server.tell("CREATE ROLE eve LOGIN PASSWORD 'secret'", "CREATE DATABASE others")
    server.tell("REVOKE CREATE ON SCHEMA public FROM PUBLIC", database="others")
    found = fault(server.url("others", user="eve", password="secret"))
    assert "permission denied for schema public" in found.message and "GRANT CREATE" in found.hint


def test_a_server_that_restarts_is_waited_for(server: postgres.Server) -> None:
    said: list[str] = []
    with access.open(server.database(f"history{next(_numbers)}"), reporter=Reporter(said.append)) as store:
        store.submit(submission(), specs(2))
        one, two = ids(store)
        assert store.begin(one, started=1.0)
        server.stop()
        server.start()
        assert store.end(one, 1, "succeeded", ended=2.0)
        server.stop()
        starting = threading.Timer(1, server.start)
        starting.start()
        assert store.begin(two, started=1.0)
        starting.join()
        assert statuses(store) == ["succeeded", "running"]
    assert len(said) == 1 and "waiting" in said[0] and "p%40ss" not in said[0]


def test_the_driver_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    found = fault("postgresql://ada:p%40ss@127.0.0.1:1/history")
    assert "needs the Python package psycopg" in found.message and "psycopg" in found.hint


def test_a_schema_of_its_own_in_a_teams_database(server: postgres.Server) -> None:
    name = f"team{next(_numbers)}"
    url = server.database(name)
    server.tell("CREATE TABLE job (other INTEGER)", "CREATE SCHEMA ocicaliban", database=name)
    with access.open(f"{url}?options=-csearch_path%3Docicaliban") as store:
        store.submit(submission(), specs(1))
        assert len(store.jobs()) == 1


def test_parameters_can_be_asked_for_in_sql(store: History) -> None:
    store.submit(submission(), [JobSpec(parameters=(("lr", 0.1),))])
    sqlite = store.place.kind == "sqlite"
    shown = "json_extract(parameters, '$.lr')" if sqlite else "parameters::json ->> 'lr'"
    assert str(store._database.execute_sql(f"SELECT {shown} FROM job").fetchone()[0]) == "0.1"


def test_the_images_that_unfinished_jobs_are_of(store: History) -> None:
    for group, image in (("a", "i1"), ("b", "i1"), ("c", "i2")):
        store.submit(submission(group=group, image=image), specs(2))
    store.submit(submission(image="i3", host="other"), specs(1))
    store.submit(submission(image="i4", user="grace"), specs(1))
    store.submit(submission(image="i5", target="vertex"), specs(1))
    assert store.unfinished_images(user="ada", host="zuse", targets=["local"]) == {"i1": {"a", "b"}, "i2": {"c"}}
    running, queued = ids(store, group="c")
    attempt = store.begin(running, started=1.0)
    assert attempt
    store.stop_queued([queued])
    assert "i2" in store.unfinished_images(user="ada", host="zuse", targets=["local"])
    store.end(running, attempt.number, "failed", ended=2.0)
    assert store.unfinished_images(user="ada", host="zuse", targets=["local"]) == {"i1": {"a", "b"}}


def test_many_attempts_begin_at_once(url: str) -> None:
    with access.open(url) as history:
        made = history.submit(
            Submission(group="g", user="u", host="h", target="slurm", project="/p", mode="run"), [JobSpec()] * 3
        )
        first, *others = (job.id for job in history.jobs(submission=made.id))
        history.stop_queued([first])
        new = [NewAttempt(job=id, named=f"17_{id}", log=str, out="/o") for id in (first, *others)]
        assert history.begin_all(new, started=1.0, status="pending") == frozenset(others)
        found = history.jobs(ids=others)
        assert [(job.status, job.out, job.attempts[0].handle) for job in found] == [
            ("pending", "/o", f"17_{id}") for id in others
        ]
