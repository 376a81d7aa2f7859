"""The history in SQLite follows the table of `jobs.lifecycle`. Integration tests do more, and on PostgreSQL too."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocicaliban.errors import OcicalibanError
from ocicaliban.history import access
from ocicaliban.history.queries import STATUSES
from ocicaliban.history.store import History, NewAttempt, handle
from ocicaliban.jobs import lifecycle
from ocicaliban.jobs.lifecycle import Event
from ocicaliban.jobs.origin import Machine, Origin
from ocicaliban.model.job import ENDED, JobSpec, Status, Submission

_groups = itertools.count(1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    with access.open(f"sqlite://{tmp_path_factory.mktemp('history')}/history.db") as opened:
        yield opened


def submission(group: str) -> Submission:
    return Submission(target="local", group=group, user="ada", host="one", project="/p", mode="run")


def happen(store: History, job: int, number: int, event: Event, name: str) -> bool:
    """Tell the history of an event; return whether it changed anything. `number` is the newest attempt's."""
    if event == "withdrawn":
        return store.stop_queued([job]) == (job,)
    if event == "resubmitted":
        made = store.resubmit(submission("again"), [job])
        return bool(store.jobs(ids=[job], submission=made.id))
    if event in ("accepted", "discovered pending"):
        late = event == "discovered pending"
        return store.begin(job, started=1.0, named=name, late=late, status="pending") is not None
    if event in ("started", "discovered running"):
        return store.begin(job, started=1.0, named=name, late=event == "discovered running") is not None
    if event == "observed pending":
        return store.observed(job, number, status="pending", backend_state=name)
    if event == "observed running":
        return store.observed(job, number, status="running", started=2.0)
    status = next(each for each in ENDED if event.partition(",")[0] == each)
    return store.end(job, number, status, ended=3.0, again=event.endswith("again"))


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(events=st.lists(st.sampled_from(get_args(Event)), max_size=12))
def test_a_job_goes_through_its_life_as_the_table_says(store: History, events: list[Event]) -> None:
    made = store.submit(submission("digits"), [JobSpec(), JobSpec()])
    job, other = (each.id for each in store.jobs(submission=made.id))
    status: Status = "queued"
    attempts: tuple[Status, ...] = ()
    for count, event in enumerate(events):
        following = lifecycle.after(event, status, attempts)
        assert happen(store, job, len(attempts), event, f"name-{count}") == (following is not None)
        status, attempts = following or (status, attempts)
        (found,) = store.jobs(ids=[job])
        assert (found.status, tuple(each.status for each in found.attempts)) == (status, attempts)
        assert [each.number for each in found.attempts] == [*range(1, len(attempts) + 1)]
        assert all((each.ended is None) == (each.status not in ENDED) for each in found.attempts)
        assert all(not each.backend_state for each in found.attempts if each.status in ENDED)
    assert store.jobs(ids=[other])[0].status == "queued"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(
    jobs=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["queued", "stopped"])), max_size=6),
    group=st.sampled_from(["", "a", "b"]),
    status=st.sampled_from(["", "queued", "stopped", "lost"]),
    newest=st.integers(0, 3),
)
def test_a_query_chooses_what_it_says(
    store: History, jobs: list[tuple[str, Status]], group: str, status: Status, newest: int
) -> None:
    user = f"user-{next(_groups)}"
    added: list[tuple[int, str, Status]] = []
    for letter, wanted in jobs:
        made = store.submit(
            Submission(target="local", group=letter, user=user, host="", project="", mode=""), [JobSpec()]
        )
        (job,) = store.jobs(submission=made.id)
        if wanted == "stopped":
            store.stop_queued([job.id])
        added.append((job.id, letter, wanted))
    expected = [number for number, letter, is_ in added if group in ("", letter) and status in ("", is_)]
    expected = expected[-newest:] if newest else expected
    found = store.jobs(user=user, group=group, statuses=[status] if status else [], newest=newest)
    assert [job.id for job in found] == expected
    counts = {each.name: each.counts for each in store.groups(user=user)}
    assert counts == {
        letter: {each: [(a, b) for _, a, b in added].count((letter, each)) for each in STATUSES}
        for letter in {letter for _, letter, _ in added}
    }


def test_a_container_is_named_after_the_job_and_the_attempt() -> None:
    assert handle("0123456789ab", 3) == "ocicaliban-0123456789ab-3"


@pytest.mark.parametrize("replaced", [True, False])
@pytest.mark.parametrize("how", ["write", "read"])
def test_a_file_that_is_gone_or_another_one_is_an_error(tmp_path: Path, replaced: bool, how: str) -> None:
    file = tmp_path / "history.db"
    with access.open(f"sqlite://{file}") as opened:
        opened.submit(submission("g"), [JobSpec()])
        if replaced:
            with access.open(f"sqlite://{tmp_path}/other.db"):
                pass
            (tmp_path / "other.db").rename(file)
        else:
            for each in tmp_path.iterdir():
                each.unlink()
        said = "was replaced by another file" if replaced else "was removed"
        with pytest.raises(OcicalibanError, match=f"{said} while it was in use"):
            opened.submit(submission("g"), [JobSpec()]) if how == "write" else opened.jobs()
        assert file.exists() == replaced


@pytest.mark.parametrize("replaced", [True, False])
@pytest.mark.parametrize("part", ["-wal", "-shm"])
def test_a_part_of_the_history_that_is_gone_is_an_error(tmp_path: Path, part: str, replaced: bool) -> None:
    file = tmp_path / "history.db"
    with access.open(f"sqlite://{file}") as opened:
        opened.submit(submission("g"), [JobSpec()])
        (tmp_path / f"history.db{part}").unlink()
        if replaced:
            (tmp_path / f"history.db{part}").touch()
        said = "was replaced by another file" if replaced else "was removed"
        with pytest.raises(OcicalibanError, match=f"history.db{part}, a part of the history, {said} while it was in"):
            opened.submit(submission("g"), [JobSpec()])


def test_the_files_of_a_history_in_use_stay_the_same(tmp_path: Path) -> None:
    # What FilesInUse relies on: neither other connections nor a full log make SQLite replace one of its files.
    url = f"sqlite://{tmp_path}/history.db"
    with access.open(url) as opened:
        for _ in range(3):
            opened.submit(submission("g"), [JobSpec(args=("x" * 2000,))] * 3000)
            with access.open(url) as other:
                other.submit(submission("g"), [JobSpec()])
        assert opened.counts()["queued"] == 9003


def test_what_a_submission_was_made_from_is_kept(store: History) -> None:
    machine = Machine(processor="P", cores=2, memory=8, gpus=("G",), driver="1")
    made_from = Origin(program="1", machine=machine, remote="r", sweep_name="s", sweep="{}", files={"a/b": "text\n"})
    made = store.submit(submission("kept"), [JobSpec()], made_from)
    other = store.submit(submission("kept"), [JobSpec()])
    assert store.origin(made.id) == made_from and store.origin(other.id) is None
    store._database.execute_sql("UPDATE origin SET record = '{\"version\": 9}'")
    assert store.origin(made.id) is None, "a newer version wrote it"


def test_many_attempts_begin_as_one_does(store: History) -> None:
    made = store.submit(submission("many"), [JobSpec() for _ in range(700)])
    ids = [job.id for job in store.jobs(submission=made.id)]
    store.stop_queued(ids[:1])
    first = store.begin(
        ids[1], started=1.0, named="17_1", out="/o/1", log=lambda number: f"/l/{number}", status="pending"
    )
    assert first and store.end(ids[1], 1, "failed", ended=2.0, again=True)
    new = [
        NewAttempt(job=id, named=f"18_{place}", out=f"/o/{place}", log=lambda number: f"/l/{number}")
        for place, id in enumerate(ids)
    ]
    assert store.begin_all(new, started=3.0, status="pending") == frozenset(ids[1:])
    assert store.begin_all(new, started=4.0, status="pending") == frozenset()
    stopped, again, *others = store.jobs(submission=made.id)
    assert (stopped.status, stopped.attempts) == ("stopped", ())
    assert again.last and again.last.number == 2 and again.last.log == "/l/2"
    assert {(job.status, job.out, job.last.handle if job.last else "") for job in others} == {
        ("pending", f"/o/{place}", f"18_{place}") for place in range(2, 700)
    }
    assert others[0].last == evolve(first, handle="18_2", started=3.0)
