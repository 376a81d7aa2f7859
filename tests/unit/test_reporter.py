"""What is told of what is being made."""

from __future__ import annotations

import sys

import pytest

from ocicaliban.reporter import SILENT, Reporter


def test_in_a_pipe_there_is_one_plain_line() -> None:
    told: list[str] = []
    with Reporter(told.append).making("data data", taken=3_000_000_000) as made:
        made.measure = lambda: 5
    assert told == ["data data: building"]


def test_rich_is_imported_at_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.progress", None)  # an import of it fails
    with SILENT.making("a"):
        pass
