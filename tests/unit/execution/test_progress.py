"""What the user sees of a sweep: lines in a log, and a display that stays where it is at a terminal."""

import io
import re
import time
from pathlib import Path

import pyte
import pytest
from rich.cells import cell_len

from ocicaliban.execution import progress
from ocicaliban.execution.progress import Progress
from ocicaliban.execution.runner import Outcome
from ocicaliban.execution.scheduler import Running, State, slots
from ocicaliban.jobs import log_file
from ocicaliban.model.job import Attempt, Job, Status, Submission

SUBMISSION = Submission(target="local", group="g", user="ada", host="", project="/p", mode="run")


def _job(number: int, *args: str, parameters: tuple[tuple[str, str | int | float | bool], ...] = ()) -> Job:
    return Job(id=number, key=f"k{number}", submission=SUBMISSION, args=args, parameters=parameters)


def _attempt(
    log: str = "", status: Status = "running", *, number: int = 1, took: float = 0.0, why: str = ""
) -> Attempt:
    now = time.time()
    return Attempt(number=number, handle="h", log=log, status=status, started=now - took, ended=now, reason=why)


def _state(*, running: int = 0, queued: int = 0, succeeded: int = 0, failed: int = 0) -> State:
    return State(
        slots=slots((), 4),
        queue=range(queued),
        running=tuple(Running(job=number, slot=None) for number in range(running)),
        succeeded=succeeded,
        failed=failed,
    )


class Terminal(io.StringIO):
    """A terminal that pyte shows, and all that was written to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, columns: int, rows: int) -> None:
        super().__init__()
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("LINES", str(rows))
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setattr(progress, "_PAUSE", 0.0)
        self.screen = pyte.HistoryScreen(columns, rows, history=10_000)
        self._stream = pyte.Stream(self.screen)

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._stream.feed(text.replace("\n", "\r\n"))
        return super().write(text)

    def lines(self) -> list[str]:
        shown = [line.rstrip() for line in self.screen.display]
        while shown and not shown[-1]:
            shown.pop()
        return shown


def test_in_a_log_each_line_has_the_jobs_number_and_no_escape_codes(tmp_path: Path) -> None:
    log = tmp_path / "attempt-1.log"
    log.write_bytes(b"first\n\x1b[31mred\x1b[0m\n10%\r20%\r100%\nlast, without an end")
    stream = io.StringIO()
    with Progress(places=2, stream=stream) as shown:
        job = _job(12, "train.py", "--lr", "0.1", parameters=(("lr", 0.1),))
        shown.started(job, _attempt())
        shown.ended(job, _attempt(status="succeeded", took=3), _state(succeeded=4, queued=26), again=False)
        bad = _job(13, "a b", "x\ny")
        shown.started(bad, _attempt())
        shown.ended(bad, _attempt(str(log), "failed", took=70, why="exit code 1"), _state(queued=1), again=True)
        shown.started(bad, _attempt(number=2))
        shown.ended(bad, _attempt("/none", "failed", why="exit code 1"), _state(failed=1), again=False)
        shown.ended(job, _attempt(status="stopped", why="interrupted: exit code 9"), _state(queued=1), again=True)
        shown.ended(job, _attempt(status="stopped", why="by ada"), _state(succeeded=1), again=False)
        shown.started(job, _attempt(), adopted=True)
        shown.tick(_state())
    assert stream.getvalue().splitlines() == [
        "[12] started: --lr 0.1",
        "[12] succeeded in 3 s (4/30)",
        r"[13] started: 'a b' 'x\ny'",
        "[13] failed after 1 min 10 s: exit code 1; it is tried again (0/1)",
        f"[13]   log: {log}",
        "[13]   | first",
        r"[13]   | \x1b[31mred\x1b[0m",
        "[13]   | 100%",
        "[13]   | last, without an end",
        r"[13] started (attempt 2): 'a b' 'x\ny'",
        "[13] failed after 0 s: exit code 1 (1/1)",
        "[12] interrupted: exit code 9 after 0 s; it is queued again",
        "[12] stopped: by ada after 0 s (1/1)",
        "[12] still runs: --lr 0.1",
    ]
    assert shown.failed == [13]


@pytest.mark.parametrize(("columns", "rows"), [(120, 30), (80, 24), (40, 10), (20, 5), (8, 3)])
def test_a_display_fits_the_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, columns: int, rows: int) -> None:
    log = tmp_path / "log"
    log.write_text("精度 0.93 " + "長い行" * 60 + "\n")
    terminal = Terminal(monkeypatch, columns, rows)
    with Progress(places=9, stream=terminal) as shown:
        for number in range(1, 10):
            shown.started(_job(number, "--text", "äöü 日本語", "--lr", "0.1"), _attempt(str(log), took=75))
        for done in range(5):
            shown.tick(_state(running=9, queued=14, succeeded=done, failed=1))
        lines = terminal.lines()
        assert len(lines) == min(9 + 1, max(rows - 1, 3))
        assert len(terminal.screen.history.top) == 0, "nothing has scrolled"
        assert all(cell_len(line) < columns or columns < 10 for line in lines)
        if columns >= 80:
            assert re.match(r"\[1\] --text 'äöü 日本語' --lr 0\.1 +1:1\d 精度 0\.93 長い行.*…$", _packed(lines[0]))
            assert lines[-1].endswith("5/28, 1 failed, 9 running, 14 queued")
    assert terminal.lines() == [], "it is gone in the end"


def _packed(line: str) -> str:
    return re.sub(r"(?<=[^\x00-\xff]) (?=[^\x00-\xff])", "", line)


def test_a_thousand_jobs_do_not_scroll_the_screen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    terminal = Terminal(monkeypatch, 80, 24)
    with Progress(places=4, stream=terminal) as shown:
        for number in range(1000):
            job, failed = _job(number, "--lr", str(number)), number % 3 == 0
            shown.started(job, _attempt())
            if number % 20 < 2:
                shown.tick(_state(running=1, queued=999 - number, succeeded=number))
            status: Status = "failed" if failed else "succeeded"
            shown.ended(job, _attempt(status=status, took=2, why="exit code 1"), _state(succeeded=number), again=False)
        assert len(terminal.screen.history.top) == 0
        told = [line for line in terminal.lines() if "failed after" in line]
        assert len(told) == 5
        assert "more jobs fail; the display counts them, and `ocicaliban status` lists them" in terminal.lines()
    assert len(shown.failed) == 334


def test_what_is_said_stays_above_the_display(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch, 60, 10)
    with Progress(places=1, stream=terminal) as shown:
        shown.started(_job(1, "--lr", "1"), _attempt())
        shown.tick(_state(running=1))
        shown.say("interrupted: [bold]1 job[/bold] asked to end")
        shown.tick(_state(running=1))
        assert terminal.lines()[0] == "interrupted: [bold]1 job[/bold] asked to end"
        assert terminal.lines()[1].startswith("[1] --lr 1")
    assert terminal.lines() == ["interrupted: [bold]1 job[/bold] asked to end"]


def test_no_color_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch, 80, 10)
    monkeypatch.setenv("NO_COLOR", "1")
    with Progress(places=1, stream=terminal) as shown:
        shown.tick(_state(running=1, queued=3, succeeded=2))
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", terminal.getvalue())


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch, 80, 10)
    monkeypatch.setenv("TERM", "dumb")
    with Progress(places=1, stream=terminal) as shown:
        assert not shown.live
        shown.started(_job(1, "--lr", "1"), _attempt())
        shown.tick(_state(running=1))
    assert terminal.getvalue() == "[1] started: --lr 1\n"


def test_a_terminal_that_is_gone_stops_nothing() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    with Progress(places=1, stream=Gone()) as shown:
        shown.started(_job(1), _attempt())


def test_the_last_line_is_read_while_the_job_writes(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log_file.raw(log).write_text("2026-11-24T02:00:00.0+00:00 stdout F epoch 3 loss 0.2\n")
    line = progress.row(_job(7, "--lr", "1"), _attempt(str(log), took=3700), time.time(), 60, 2)
    assert line.rstrip() == " [7] --lr 1 1:01:40 epoch 3 loss 0.2"
    assert cell_len(line) == 60


def test_a_text_is_cut_between_wide_characters() -> None:
    assert progress.cut("日本語", 6) == "日本語"
    assert progress.cut("日本語", 5) == "日本…"
    assert progress.cut("日本語", 4) == "日… "
    assert progress.cut("ab", 4) == "ab  "
    assert progress.cut("abc", 1) == "…"
    assert progress.cut("abc", 0) == ""


def test_the_arguments_that_are_the_jobs_own() -> None:
    parameters = (("lr", 0.1), ("fast", True), ("slow", False))
    assert progress.own_arguments(_job(1, "--all", "x", "--lr", "0.1", "--fast", parameters=parameters)) == (
        "--lr 0.1 --fast"
    )
    assert progress.own_arguments(_job(1, "--all", "x")) == "--all x"


def test_the_time_that_is_left() -> None:
    assert progress.remaining(10, [], 8, 4) == 20
    assert progress.remaining(10, [5, 5], 0, 4) == 5
    assert progress.remaining(10, [50], 0, 4) == 0
    state = _state(running=4, queued=96)
    assert progress.counts(state, 250.0) == "0/100, 4 running, 96 queued, about 4 min 10 s left"


def test_the_summary_tells_what_to_do_next() -> None:
    outcome = Outcome(succeeded=20, failed=7, left=3)
    assert progress.summary("lr", outcome, [4, 5, 6, 7, 8, 9, 10]) == [
        "lr: 20 succeeded, 7 failed, 3 not finished",
        "  failed:      ocicaliban logs 4 (also 5, 6, 7, 8, ...)",
        "  to continue: ocicaliban resume lr",
        "  run again:   ocicaliban resubmit lr",
        "  results:     ocicaliban report lr",
    ]
    assert progress.summary("lr", Outcome(succeeded=2), []) == [
        "lr: 2 succeeded",
        "  results:     ocicaliban report lr",
    ]
    assert progress.summary("lr", Outcome(), []) == ["lr: nothing to do"]
    assert progress.summary("lr", Outcome(succeeded=1), [], 3) == [
        "lr: 1 succeeded; 3 failed or stopped before",
        "  run again:   ocicaliban resubmit lr",
        "  results:     ocicaliban report lr",
    ]
