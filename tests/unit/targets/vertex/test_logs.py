"""Entries of Cloud Logging as they are printed."""

import pytest

from ocicaliban.targets.vertex import logs
from ocicaliban.targets.vertex.logs import LogEntry


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
