"""What a job has written."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ocicaliban.app import logs
from ocicaliban.errors import UsageError
from ocicaliban.jobs import lease
from ocicaliban.model.job import Submission

if TYPE_CHECKING:
    from tests.unit.app.conftest import World


def write(world: World, text: str) -> Path:
    log = world.folder / "log"
    log.write_text(text)
    return log


def test_the_log_of_the_last_attempt_is_read(world: World, submission: Submission) -> None:
    world.submit(submission, ())
    log = write(world, "epoch 1\n")
    with world.history() as history:
        attempt = history.begin(1, started=1.0, log=lambda number: str(log))
        assert attempt
        history.end(1, attempt.number, "failed", exit_code=1, ended=2.0)
    for follow in (False, True):
        assert b"".join(logs.log_blocks("1", follow=follow)) == b"epoch 1\n"
    assert b"".join(logs.log_blocks("1", attempt=1)) == b"epoch 1\n"
    with pytest.raises(UsageError, match="job 1 has no attempt 2") as caught:
        list(logs.log_blocks("1", attempt=2))
    assert caught.value.hint == "there are: 1"


def test_a_job_that_was_not_started_has_none(
    world: World, submission: Submission, capsys: pytest.CaptureFixture[str]
) -> None:
    world.submit(submission, ())
    assert list(logs.log_blocks("1")) == []
    assert capsys.readouterr().err == "job 1 is queued; it has not been started\n"
    for number in (7, 0, 1 << 70):
        with pytest.raises(UsageError, match=f"there is no job {number}"):
            list(logs.log_blocks(str(number)))


def test_an_empty_log_is_told(world: World, submission: Submission, capsys: pytest.CaptureFixture[str]) -> None:
    made = world.submit(submission, ())
    log = write(world, "")
    with lease.held(made):
        world.begin(1, log=lambda number: str(log))
        assert b"".join(logs.log_blocks("1")) == b""
    assert capsys.readouterr().err == "job 1 has written nothing yet\n"


def test_following_a_queued_job_waits_for_its_start(
    world: World, submission: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = world.submit(submission, ())
    log = write(world, "here\n")
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        with world.history() as history:
            attempt = history.begin(made.id, started=1.0, log=lambda number: str(log))
            assert attempt
            history.end(1, attempt.number, "succeeded", ended=2.0)

    monkeypatch.setattr(time, "sleep", sleep)
    assert b"".join(logs.log_blocks("1", follow=True)) == b"here\n"
    assert waited == [2.0]
