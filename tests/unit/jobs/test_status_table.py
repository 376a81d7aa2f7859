"""Jobs as people and programs read them."""

from __future__ import annotations

import json

import pytest
from attrs import evolve

from ocicaliban.jobs import status_table
from ocicaliban.model.job import Attempt, Job, Status, Submission

SWEEP = Submission(
    target="local", id=7, group="digits-calm-otter", user="ada", host="one", project="/p", mode="run", module="train.py"
)


def job(status: Status = "queued", *attempts: Attempt, args: tuple[str, ...] = ("--lr", "0.1")) -> Job:
    return Job(id=3, key="a1", submission=SWEEP, parameters=(("lr", 0.1),), args=args, status=status, attempts=attempts)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        *[(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (200, "3 min 20 s"), (3600, "1 h"), (7500, "2 h 5 min")],
        *[(86400 * 2 + 3600, "2 d 1 h"), (3599.9, "1 h"), (3.4, "3 s"), (-3, "0 s")],
        *[(0.04, "0 s"), (0.05, "0.1 s"), (0.94, "0.9 s"), (0.96, "1 s")],
    ],
)
def test_lengths_of_time_have_two_units_at_most(seconds: float, told: str) -> None:
    assert status_table.span(seconds) == told


def test_what_was_long_ago_is_told_roughly() -> None:
    assert [status_table.ago(0, now) for now in (3, 65, 7500)] == ["just now", "1 min ago", "2 h ago"]


def test_a_failed_job_tells_its_exit_code_and_its_attempts() -> None:
    first = Attempt(number=1, handle="a", status="failed", started=1, ended=2, exit_code=3)
    second = Attempt(number=2, handle="b", status="failed", started=5, ended=9, exit_code=4)
    assert status_table.status(job("failed", first)) == "failed (3)"
    assert status_table.status(job("failed", first, second)) == "failed (4), attempt 2"
    assert status_table.took(job("failed", first, second), 100) == "4 s"


def test_a_job_that_a_backend_accepted_is_told_from_one_that_runs() -> None:
    def under_way(status: Status, backend_state: str) -> Job:
        return job(status, Attempt(number=1, handle="a", status="running", started=40, backend_state=backend_state))

    waits, ends = under_way("pending", "queued"), under_way("running", "cancelling")
    assert (status_table.status(waits), status_table.took(waits, 100)) == ("pending (queued)", "")
    assert (status_table.status(ends), status_table.took(ends, 100)) == ("running (cancelling)", "1 min")
    assert status_table.status(under_way("pending", "pending")) == "pending"
    assert status_table.status(under_way("running", "")) == "running"
    assert status_table.counted({"pending": 3, "running": 2}) == "3 pending, 2 running"
    assert status_table.as_json(waits)["backend_state"] == "queued"
    assert status_table.as_json(job())["backend_state"] == ""


def test_a_running_job_is_as_old_as_its_last_attempt() -> None:
    running = job("running", Attempt(number=1, handle="a", started=40))
    assert status_table.took(running, 100) == "1 min"
    assert status_table.took(job(), 100) == ""


def test_a_queued_job_has_no_time() -> None:
    [row] = status_table.rows([job()], 100)
    assert row == ("3", "digits-calm-otter", "queued", "", "", "train.py --lr 0.1")


def test_columns_are_even_and_no_line_ends_in_blanks() -> None:
    assert status_table.aligned([("a", "bb", ""), ("ccc", "d", "e f")]) == ["a    bb", "ccc  d   e f"]
    assert status_table.aligned([]) == []


def test_arguments_can_be_pasted() -> None:
    [row] = status_table.rows([job(args=("--name", "two words"))], 0)
    assert row[-1] == "train.py --name 'two words'"


def test_json_has_the_job_and_neither_its_launch_nor_its_options() -> None:
    told = status_table.as_json(job("failed", Attempt(number=1, handle="a", status="failed", ended=2, exit_code=3)))
    assert json.loads(json.dumps(told))["parameters"] == {"lr": 0.1}
    assert (told["exit_code"], told["group"], told["status"]) == (3, "digits-calm-otter", "failed")
    assert isinstance(told["submission"], dict) and not {"launch", "options"} & told["submission"].keys()


def test_counts_leave_out_what_none_has() -> None:
    assert status_table.counted({"queued": 0, "succeeded": 2, "failed": 1}) == "2 succeeded, 1 failed"
    assert status_table.counted({}) == "no jobs"


def test_arguments_stay_in_one_line_and_give_a_terminal_no_commands() -> None:
    [row] = status_table.rows([job(args=("a\nb", "\x1b[31mred", "\udcff", "ü"))], 0)
    assert row[-1] == r"train.py 'a\nb' '\x1b[31mred' '\udcff' 'ü'"


def test_reasons_that_no_exit_code_tells_are_told_once() -> None:
    def ended(number: int, status: Status, reason: str, code: int | None = None) -> Job:
        last = Attempt(number=1, handle="a", status=status, started=1, ended=2, exit_code=code, reason=reason)
        return evolve(job(status, last), id=number)

    fault = "podman cannot start the job: no\x1b overlay"
    jobs = [*(ended(number, "failed", fault) for number in range(1, 6)), ended(6, "lost", "its node failed")]
    jobs += [ended(7, "failed", "exit code 3", 3), ended(8, "stopped", "stopped by ada"), ended(9, "succeeded", "")]
    assert status_table.reasons(jobs) == [
        "jobs 1, 2, 3 and 2 more failed: podman cannot start the job: no\\x1b overlay",
        "job 6 lost: its node failed",
    ]
    many = [ended(number, "lost", f"reason {number}") for number in range(8)]
    assert status_table.reasons(many)[5:] == ["3 more reasons: ocicaliban status --json"]
