"""Shows how a sweep goes: a live display on a terminal, lines with the job's number in a pipe or log."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TextIO

from ocicaliban import reporter
from ocicaliban.formats.text import printable, shown
from ocicaliban.jobs import arguments, log_file
from ocicaliban.jobs.status_table import span
from ocicaliban.model.job import Attempt, Job

if TYPE_CHECKING:
    # rich is imported only on a terminal, and the runner does not depend on what shows it.
    from rich.console import Console, RenderableType
    from rich.live import Live

    from ocicaliban.execution.runner import Outcome
    from ocicaliban.execution.scheduler import State

_PAUSE = 0.2
"""Seconds between two drawings of the display."""
_TAIL_LINES = 5
_TAIL_BYTES = 8 << 10
_TOLD = 5
"""The number of failures that a terminal shows in full; more would scroll everything else away."""
_NAMED = 5
_BAR = 30


def own_arguments(job: Job) -> str:
    """Return the arguments of the job's parameters, or all where it has none, as a user would type them."""
    count = arguments.count_of_own(job)
    return printable(shlex.join(job.args[-count:] if count else job.args))


def remaining(mean: float, elapsed: Sequence[float], queued: int, places: int) -> float:
    """Return the seconds until all jobs are done, if each takes `mean` seconds.

    `elapsed` are the seconds that the running ones have run, `queued` is the number of the others.
    """
    work = queued * mean + sum(max(mean - each, 0.0) for each in elapsed)
    return work / max(1, min(places, queued + len(elapsed)))


def tail(log: str) -> list[str]:
    """Return the last lines of a job's log in plain text; none where there is no log."""
    try:
        with open(log, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            data = file.read()
    except OSError:
        return []
    lines = data.decode("utf-8", "replace").split("\n")
    if size > _TAIL_BYTES and len(lines) > 1:
        lines = lines[1:]
    shown = (printable(line.rstrip("\r").rsplit("\r", 1)[-1].expandtabs()).rstrip() for line in lines)
    return [line for line in shown if line][-_TAIL_LINES:]


def summary(group: str, outcome: Outcome, failed: Sequence[int], earlier: int = 0) -> list[str]:
    """Return what became of a sweep, and what to do next.

    `failed` are the numbers of jobs that failed, and `earlier` is how many others of the submission failed or were
    stopped before it was resumed.
    """
    counts = {
        "succeeded": outcome.succeeded,
        "failed": outcome.failed,
        "stopped": outcome.stopped,
        "stopped by the search": outcome.spared,
        "not finished": outcome.left,
    }
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "nothing to do"
    lines = [f"{group}: {told}{f'; {earlier} failed or stopped before' if earlier else ''}"]
    if failed:
        others = ", ".join(map(str, failed[1:_NAMED]))
        more = f" (also {others}{', ...' if len(failed) > _NAMED else ''})" if others else ""
        lines.append(f"  failed:      ocicaliban logs {failed[0]}{more}")
    if outcome.left:
        lines.append(f"  to continue: ocicaliban resume {group}")
    if outcome.failed or outcome.stopped or earlier:
        lines.append(f"  run again:   ocicaliban resubmit {group}")
    if outcome.succeeded or outcome.failed:
        lines.append(f"  results:     ocicaliban report {group}")
    return lines


class Progress:
    """What the user sees of a sweep, on `stream` (stderr). It is a context in which the jobs run.

    `failed` has the numbers of the jobs that failed for good, in that order.
    """

    def __init__(self, *, places: int, stream: TextIO | None = None, clock: Callable[[], float] = time.time) -> None:
        self._stream = stream or sys.stderr
        self._places = places
        self._clock = clock
        self._running: dict[int, tuple[Job, Attempt]] = {}
        self._sum = 0.0
        self._count = 0
        self._failures = 0
        self.failed: list[int] = []
        self._quiet = reporter.is_quiet()
        self.live = not self._quiet and self._stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._display = _Display(self._stream) if self.live else None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._display:
            with contextlib.suppress(OSError):
                self._display.close()

    def started(self, job: Job, attempt: Attempt, *, adopted: bool = False) -> None:
        """Show that an attempt is about to start, or was `adopted` running."""
        self._running[job.id] = (job, attempt)
        if not self._display:
            again = f" (attempt {attempt.number})" if attempt.number > 1 else ""
            what = "still runs" if adopted else "started"
            self.say(f"[{job.id}] {what}{again}: {own_arguments(job)}".removesuffix(": "))

    def ended(self, job: Job, attempt: Attempt, state: State, *, again: bool) -> None:
        """Show an attempt that ended, with its status, times and reason; `again` when the job is queued again."""
        self._running.pop(job.id, None)
        seconds = max(0.0, (attempt.ended or attempt.started) - attempt.started)
        if attempt.status in ("succeeded", "failed"):
            self._sum += seconds
            self._count += 1
        done = state.succeeded + state.failed + state.stopped
        of = f"({done}/{done + state.queued + len(state.running)})"
        if attempt.status == "succeeded":
            if not self._display:
                self.say(f"[{job.id}] succeeded in {span(seconds)} {of}")
            return
        if attempt.status == "stopped":
            what = attempt.reason if again else f"stopped: {attempt.reason}".removesuffix(": ")
            after = "; it is queued again" if again else f" {of}"
            self.say(f"[{job.id}] {printable(what)} after {span(seconds)}{after}", wrong=True)
            return
        if attempt.status == "lost" and again:
            self.say(f"[{job.id}] {printable(attempt.reason)}; it is queued again")
            return
        if not again:
            self.failed.append(job.id)
        self._tell_failure(job, attempt, f"; it is tried again {of}" if again else f" {of}", seconds)

    def _tell_failure(self, job: Job, attempt: Attempt, then: str, seconds: float) -> None:
        self._failures += 1
        if self._display and self._failures > _TOLD:
            if self._failures == _TOLD + 1:
                self.say("more jobs fail; the display counts them, and `ocicaliban status` lists them", wrong=True)
            return
        lines = [f"[{job.id}] failed after {span(seconds)}: {printable(attempt.reason)}{then}"]
        if os.path.exists(attempt.log):
            lines.append(f"[{job.id}]   log: {printable(attempt.log)}")
            lines += [f"[{job.id}]   | {line}" for line in tail(attempt.log)]
        self.say("\n".join(lines), wrong=True)

    def tick(self, state: State) -> None:
        """Draw the display again, if it is old enough."""
        if not self._display or not self._display.due():
            return
        now = self._clock()
        elapsed = [now - attempt.started for _, attempt in self._running.values()]
        left = remaining(self._sum / self._count, elapsed, state.queued, self._places) if self._count else None
        if state.phase != "going":
            left = None
        with contextlib.suppress(OSError):
            self._display.draw([*self._running.values()], state, now, left)

    def say(self, text: str, *, wrong: bool = False) -> None:
        """Print a line; where that fails, the work goes on. With --quiet, only what is `wrong`."""
        if self._quiet and not wrong and not text.startswith(reporter.LOUD):
            return
        with contextlib.suppress(OSError):
            if self._display:
                self._display.say(shown(text))
            else:
                print(shown(text), file=self._stream, flush=True)


def counts(state: State, left: float | None) -> str:
    """Return the numbers of jobs in a line, with `left`, the seconds that the rest will take."""
    done = state.succeeded + state.failed + state.stopped
    words = [f"{done}/{done + state.queued + len(state.running)}"]
    words += [f"{state.failed} failed"] if state.failed else []
    words += [f"{state.stopped} stopped"] if state.stopped else []
    words += [f"{len(state.running)} running", f"{state.queued} queued"]
    words += [f"about {span(left)} left"] if left is not None and left >= 1 else []
    words += ["ending"] if state.phase in ("stopping", "killing") else []
    return ", ".join(words)


def row(job: Job, attempt: Attempt, now: float, width: int, number_width: int) -> str:
    """Return a line of `width` cells for a running job: its number, arguments, time and last line of output."""
    from rich.cells import cell_len

    head = f"[{job.id}]".rjust(number_width + 2)
    seconds = max(0, int(now - attempt.started))
    hours, minutes = divmod(seconds // 60, 60)
    clock = (f"{hours}:{minutes:02}:{seconds % 60:02}" if hours else f"{minutes}:{seconds % 60:02}").rjust(5)
    room = max(width - len(head) - len(clock) - 3, 0)
    arguments = own_arguments(job)
    said = printable(log_file.last_line(attempt.log)) if attempt.log else ""
    # The arguments get half of it, and more where the output is short.
    share = min(cell_len(arguments), max(room // 2, room - cell_len(said)))
    return cut(f"{head} {cut(arguments, share)} {clock} {cut(said, room - share)}", width)


def cut(text: str, width: int) -> str:
    """Return the text in exactly `width` cells of a terminal, with an ellipsis where it is too long."""
    from rich.cells import cell_len, set_cell_size

    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(set_cell_size(text, width - 1).rstrip() + "…", width)


class _Display:
    """A row for each running job and a bar, at the bottom of a terminal; lines are printed above."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        self._console: Console = Console(file=stream, highlight=False, markup=False, emoji=False)
        self._live: Live | None = None
        self._width = 0
        self._drawn = 0.0

    def due(self) -> bool:
        """Return whether the display is old enough to draw it again."""
        return time.monotonic() - self._drawn >= _PAUSE

    def draw(self, running: Sequence[tuple[Job, Attempt]], state: State, now: float, left: float | None) -> None:
        """Draw the display again."""
        from rich.live import Live

        width, height = self._console.size
        if self._live and width < self._width:
            # Terminals differ in what they do with lines that are too wide now, so clear the screen.
            self.close()
            self._console.clear()
        self._width = width
        if not self._live:
            self._live = Live(
                console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._live.start()
        self._live.update(self._picture(running, state, now, left, width - 1, height), refresh=True)
        self._drawn = time.monotonic()

    def _picture(
        self,
        running: Sequence[tuple[Job, Attempt]],
        state: State,
        now: float,
        left: float | None,
        width: int,
        height: int,
    ) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        most = max(height - 3, 1)
        shown = running[:most]
        number_width = max((len(str(job.id)) for job, _ in shown), default=0)
        lines = [Text(row(job, attempt, now, width, number_width), no_wrap=True) for job, attempt in shown]
        if len(running) > most:
            lines.append(Text(cut(f"and {len(running) - most} more", width), style="dim", no_wrap=True))
        words = counts(state, left)
        done = state.succeeded + state.failed + state.stopped
        bar = min(_BAR, width - len(words) - 1)
        if bar < 5:
            return Group(*lines, Text(cut(words, width), no_wrap=True))
        last = Table.grid(padding=(0, 1, 0, 0))
        last.add_row(
            ProgressBar(total=max(done + state.queued + len(state.running), 1), completed=done, width=bar),
            Text(words, no_wrap=True),
        )
        return Group(*lines, last)

    def say(self, text: str) -> None:
        """Print lines above the display."""
        self._console.print(text, soft_wrap=True)

    def close(self) -> None:
        """Remove the display."""
        if self._live:
            self._live.stop()
            self._live = None
