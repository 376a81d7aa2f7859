"""Colours at a terminal."""

from __future__ import annotations

import io

import pytest

from ocicaliban.cli import output
from ocicaliban.formats import colours
from ocicaliban.jobs import status_table


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
)
def test_colours_are_for_terminals_of_users_who_want_them(
    environ: dict[str, str], wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert colours.wanted(_Terminal()) is wanted
    assert not colours.wanted(io.StringIO())


def test_a_status_has_its_colour_and_nothing_else_in_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = _Terminal()
    monkeypatch.setattr("sys.stdout", out)
    rows = [("JOB", "STATUS", "WHAT"), ("1", "failed (1), attempt 2", "x\x1b[2J"), ("10", "queued", "y")]
    output.print_styled(status_table.styled(rows, 1))
    head, failed, queued = out.getvalue().splitlines()
    assert head == "\x1b[1mJOB  STATUS                 WHAT\x1b[0m"
    assert failed == "1    failed (1), attempt 2  x\\x1b[2J"  # what controls a terminal is never printed
    assert queued == "10   \x1b[2mqueued\x1b[0m                 y"
