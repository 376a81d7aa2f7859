"""Entries of Cloud Logging as they are printed, and how a log is followed, in virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import define, field

from ocicaliban import google_auth
from ocicaliban.targets.vertex import logs
from ocicaliban.targets.vertex.logs import LogEntry
from tests.unit.targets.virtual_time import EPOCH, VirtualClock


@pytest.mark.parametrize(
    ("task", "text", "alone", "printed"),
    [
        ("workerpool0-0", "a", True, b"a\n"),
        ("workerpool0-0", "a\n", True, b"a\n"),
        ("workerpool0-0", "", True, b"\n"),
        ("workerpool0-0", "a\nb", False, b"workerpool0-0: a\nworkerpool0-0: b\n"),
        ("workerpool1-3", "a", False, b"workerpool1-3: a\n"),
        ("service", "Job failed.", True, b"service: Job failed.\n"),
        ("", "a", True, b"a\n"),
    ],
)
def test_a_line_tells_who_wrote_it_where_that_is_a_question(task: str, text: str, alone: bool, printed: bytes) -> None:
    assert logs.line(LogEntry(id="1", task=task, time=1, text=text), alone=alone) == printed


@define
class Log:
    """A log whose entries are listed some seconds after they were written."""

    clock: VirtualClock
    entries: list[tuple[float, float, str]] = field(factory=list)
    """When each was written, and when it is listed, in seconds from the beginning."""

    def pages(self, since: int) -> Iterator[list[LogEntry]]:
        found = [
            LogEntry(id=str(number), task="", time=int((EPOCH + written) * 1e9), text=text)
            for number, (written, listed, text) in enumerate(self.entries)
            if listed <= self.clock.monotonic() and (EPOCH + written) * 1e9 >= since
        ]
        yield sorted(found, key=lambda each: each.time)


def test_a_log_is_followed_until_nothing_new_comes_after_its_end() -> None:
    clock = VirtualClock()
    # One comes late and out of order, one after the end.
    log: Any = Log(clock, [(0, 0, "a"), (4, 5, "c"), (2, 8, "b"), (9, 17, "d"), (9, 60, "too late")])
    told = b"".join(logs.follow(log, EPOCH, lambda: clock.monotonic() < 10, alone=True, clock=clock))
    assert told == b"a\nc\nb\nd\n" and 25 < clock.monotonic() < 40


def test_what_is_there_is_read_at_once() -> None:
    clock = VirtualClock()
    log: Any = Log(clock, [(0, 0, "a"), (4, 5, "c")])
    assert b"".join(logs.follow(log, EPOCH, None, alone=True, clock=clock)) == b"a\n" and clock.monotonic() == 0


@pytest.mark.parametrize(
    ("code", "words", "message", "hint"),
    [
        (
            "UNAVAILABLE",
            "Getting metadata from plugin failed with error: invalid_grant",
            "Google rejects the credentials: invalid_grant",
            google_auth.LOG_IN,
        ),
        ("UNAUTHENTICATED", "who?", "refused: who?", google_auth.LOG_IN),
        ("PERMISSION_DENIED", "has not been used in project 1", "refused", "gcloud services enable logging"),
        ("PERMISSION_DENIED", "no", "refused: no", "roles/logging.viewer"),
        ("UNAVAILABLE", "away", "does not answer: away", "elsewhere"),
    ],
)
def test_a_fault_has_a_remedy(code: str, words: str, message: str, hint: str) -> None:
    fault = logs.explain(code, words, "p", "elsewhere")
    assert message in fault.message and hint in fault.hint


@pytest.mark.parametrize(
    ("payload", "text", "told"),
    [({"message": SimpleNamespace(string_value="hello")}, "", "hello"), ({}, "plain", "plain")],
)
def test_an_entry_is_text_or_has_a_message(payload: dict[str, object], text: str, told: str) -> None:
    raw = SimpleNamespace(
        json_payload=SimpleNamespace(fields=payload), text_payload=text, insert_id="i",
        resource=SimpleNamespace(labels={"task_name": "workerpool0-0"}),
        timestamp=SimpleNamespace(seconds=1, nanos=5),
    )  # fmt: skip
    assert logs._entry(raw) == LogEntry(id="i", task="workerpool0-0", time=1_000_000_005, text=told)
