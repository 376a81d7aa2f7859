"""What has become of a job, by the files of its task, by accounting and by squeue."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.model.job import ENDED
from ocicaliban.targets.slurm import states
from ocicaliban.targets.slurm.states import ALIVE, Began, Ended, Evidence, News, Shown

BEGAN = {1: Began(task="7_0", at=10.0)}
NOTHING = Evidence(first=1, began={}, ended={}, queue=None, deadline=60.0)
RUNS = evolve(NOTHING, began=BEGAN, queue=Shown(state="RUNNING"))


def ended(code: int | None, signal: str = "", *, again: bool = False) -> dict[int, Ended]:
    return {1: Ended(code=code, at=20.0, signal=signal, again=again)}


CASES = {
    "it waits": (evolve(NOTHING, queue=Shown(state="PENDING", reason="Priority")), "pending", "Priority"),
    "it was submitted, and squeue does not show it yet": (NOTHING, "pending", "not listed by Slurm"),
    "it runs": (RUNS, "running", ""),
    "it runs, and its file is not there yet": (evolve(RUNS, began={}), "running", ""),
    "the result counts before squeue has forgotten it": (evolve(RUNS, ended=ended(0)), "succeeded", ""),
    "it failed": (evolve(RUNS, ended=ended(3)), "failed", "exit code 3"),
    "a signal: it may be requeued": (evolve(RUNS, ended=ended(143, "TERM")), "running", ""),
    "cancelled by scancel": (
        evolve(RUNS, ended=ended(143, "TERM"), queue=Shown(state="CANCELLED")),
        "stopped", "cancelled at Slurm (ended by SIGTERM (exit code 143))",
    ),
    "cancelled before it began": (evolve(NOTHING, queue=Shown(state="CANCELLED")), "stopped", "cancelled at Slurm"),
    "time limit": (
        evolve(RUNS, ended=ended(143, "USR1"), queue=Shown(state="FAILED")),
        "failed", "it reached its time limit (ended by SIGTERM (exit code 143))",
    ),
    "it saved its state at the time limit, and succeeded": (
        evolve(RUNS, ended=ended(0, "USR1"), queue=Shown(state="COMPLETED")), "succeeded", "",
    ),
    "completed, and the file is late": (
        evolve(RUNS, queue=Shown(state="COMPLETED")), "running", "completed; its result is awaited",
    ),
    "completed, and the file never came": (
        evolve(RUNS, queue=None, accounting=Shown(state="COMPLETED", code=0), absent=61.0), "succeeded", "",
    ),
    "completed, and it never began": (
        evolve(NOTHING, accounting=Shown(state="COMPLETED", code=0), absent=61.0),
        "lost", "Slurm says completed, and nothing shows that it began",
    ),
    "squeue says completed, and it never began": (
        evolve(NOTHING, queue=Shown(state="COMPLETED"), absent=1.0), "pending", "completed; its result is awaited",
    ),
    "failed, and the file never came": (
        evolve(RUNS, queue=None, accounting=Shown(state="FAILED", code=2), absent=61.0), "failed", "exit code 2",
    ),
    "its node failed; a requeue may come": (
        evolve(RUNS, queue=None, accounting=Shown(state="NODE_FAIL"), absent=5.0),
        "running", "node_fail; its result is awaited",
    ),
    "its node failed, and no requeue came": (
        evolve(RUNS, queue=None, accounting=Shown(state="NODE_FAIL"), absent=61.0), "lost", "its node failed",
    ),
    "preempted by TERM, squeue says so, a requeue may come": (
        evolve(RUNS, ended=ended(143, "TERM"), queue=Shown(state="PREEMPTED"), absent=1.0),
        "running", "preempted; its result is awaited",
    ),
    "preempted for good": (
        evolve(RUNS, ended=ended(143, "TERM"), queue=Shown(state="PREEMPTED"), absent=61.0),
        "lost", "it was preempted (ended by SIGTERM (exit code 143))",
    ),
    "gone, nothing says how": (evolve(RUNS, queue=None, absent=61.0), "lost", "Slurm does not know it any more"),
    "gone, and before the deadline": (evolve(RUNS, queue=None, absent=59.0), "running", "not listed by Slurm"),
    "its container is gone": (
        evolve(RUNS, ended=ended(None)), "lost", "its container is gone, and its result with it",
    ),
    "podman could not start it": (
        evolve(RUNS, ended={1: Ended(code=None, at=20.0, fault="podman cannot start the job: no")}),
        "failed", "podman cannot start the job: no",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_newest_attempt(name: str) -> None:
    seen, status, words = CASES[name]
    [news] = states.judge(seen)
    assert (news.number, news.status, news.reason or news.state) == (1, status, words)


def test_a_requeued_task_waits_for_its_second_attempt() -> None:
    seen = evolve(RUNS, ended=ended(143, "TERM"), queue=Shown(state="PENDING", restarts=1, reason="BeginTime"))
    first, second = states.judge(seen)
    assert (first.status, first.reason) == ("lost", "requeued by Slurm (ended by SIGTERM (exit code 143))")
    assert second == News(number=2, status="pending", state="BeginTime")


def test_accounting_tells_of_an_attempt_whose_requeue_has_completed() -> None:
    """Accounting says PREEMPTED; the files show a second attempt, which has ended well."""
    seen = evolve(
        RUNS,
        began={**BEGAN, 2: Began(task="7_0", at=30.0)},
        ended={2: Ended(code=0, at=40.0)},
        queue=None,
        accounting=Shown(state="PREEMPTED"),
        absent=100.0,
    )
    assert [(each.number, each.status) for each in states.judge(seen)] == [(1, "lost"), (2, "succeeded")]


def test_a_job_that_failed_and_asked_to_run_again() -> None:
    seen = evolve(RUNS, ended=ended(1, again=True), queue=Shown(state="COMPLETING"))
    first, second = states.judge(seen)
    assert (first.status, first.reason, second.status) == ("failed", "exit code 1", "pending")
    gone = evolve(seen, queue=None, absent=100.0)
    assert [each.status for each in states.judge(gone)] == ["failed"]


_codes = st.none() | st.integers(0, 255)
_marks = st.builds(
    Ended, code=_codes, at=st.just(20.0), signal=st.sampled_from(("", "TERM", "USR1")), again=st.booleans()
)
_shown = st.builds(
    Shown, state=st.sampled_from((*sorted(ALIVE), "CANCELLED", "PREEMPTED", "NODE_FAIL", "COMPLETED", "FAILED", "ODD")),
    restarts=st.integers(0, 3), code=_codes,
)  # fmt: skip
_evidence = st.builds(
    Evidence,
    first=st.integers(1, 3),
    began=st.dictionaries(st.integers(1, 6), st.just(BEGAN[1])),
    ended=st.dictionaries(st.integers(1, 6), _marks),
    queue=st.none() | _shown,
    accounting=st.none() | _shown,
    absent=st.floats(0, 100),
    deadline=st.just(60.0),
)


@given(_evidence)
def test_all_attempts_but_the_last_have_ended(seen: Evidence) -> None:
    news = states.judge(seen)
    assert [each.number for each in news] == list(range(seen.first, news[-1].number + 1))
    assert all(each.status in ENDED for each in news[:-1])


@given(_evidence)
def test_slurm_alone_never_ends_a_task_that_it_shows_as_alive(seen: Evidence) -> None:
    last = states.judge(seen)[-1]
    alive = seen.queue is not None and seen.queue.state in ALIVE
    if alive and last.number not in seen.ended:
        assert last.status not in ENDED


@given(_evidence)
def test_every_job_ends_after_the_deadline(seen: Evidence) -> None:
    gone = evolve(seen, queue=None, absent=60.0)
    assert states.judge(gone)[-1].status in ENDED
