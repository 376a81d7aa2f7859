"""Notes, warnings and progress."""

from __future__ import annotations

import contextlib
import sys
import time

import pytest

from ocicaliban import reporter
from ocicaliban.reporter import SILENT, TERMINAL, Reporter


def test_in_a_pipe_there_is_one_plain_line() -> None:
    told: list[str] = []
    with Reporter(told.append).making("data data", taken=3_000_000_000) as made:
        made.measure = lambda: 5
    assert told == ["data data: building"]


def test_without_a_terminal_a_line_comes_whenever_none_came_for_a_while(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reporter, "_EVERY", 0.05)
    told = ""

    def wait_for(text: str) -> None:
        nonlocal told
        while text not in told:
            time.sleep(0.005)
            told += capsys.readouterr().err

    with TERMINAL.waiting("dependencies", "resolving"):
        with TERMINAL.making("python", "building"):
            wait_for("python: still building, ")
        wait_for("dependencies: still resolving, ")
    lines = told.splitlines()
    lines = lines[lines.index("python: building") :]  # on a busy machine the outer one has said something before
    assert lines[1].startswith("python: still building, ")
    assert lines[-1].startswith("dependencies: still resolving, ") and lines[-1].endswith(" s")
    capsys.readouterr()
    with SILENT.making("a"), SILENT.waiting("a", "b"):
        time.sleep(0.2)
    assert capsys.readouterr().err == ""


def test_at_a_terminal_what_is_quick_is_not_shown(terminal: None, capsys: pytest.CaptureFixture[str]) -> None:
    with TERMINAL.waiting("dependencies", "resolving"):
        pass
    assert capsys.readouterr().err == ""


def test_rich_is_imported_at_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.progress", None)  # an import of it fails
    with SILENT.making("a"):
        pass


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "_live", lambda: True)


def test_at_a_terminal_the_last_line_tells_time_and_size(
    terminal: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import rich.progress  # noqa: F401 - it takes a while

    lines: list[str] = []
    monkeypatch.setattr(reporter.time, "monotonic", lambda: 5.0)  # type: ignore[attr-defined]
    with Reporter(lines.append).making("python", taken=1000) as made:
        made.measure = lambda: 2_000_000
    assert lines == ["python: built in 0.0 s, 2.0 MB"]
    capsys.readouterr()


def test_an_interruption_tells_what_is_kept(terminal: None, capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    with pytest.raises(KeyboardInterrupt), Reporter(lines.append).making("python"):
        raise KeyboardInterrupt
    assert lines == ["python: interrupted; the layers that are finished are kept"]
    capsys.readouterr()


def test_without_a_terminal_each_tenth_is_a_line() -> None:
    lines: list[str] = []
    with Reporter(lines.append).counting("jobs", 30) as count:
        for _ in range(30):
            count()
    assert lines[0] == "jobs 3 of 30" and lines[-1] == "jobs 30 of 30" and len(lines) == 10


def test_at_a_terminal_a_bar_counts(terminal: None, capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter(lambda _: None).counting("jobs", 2) as count:
        count()
        count()
    assert "2/2" in capsys.readouterr().err


def test_the_work_goes_on_where_stderr_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        TERMINAL.warning("it is told to nobody")
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()
