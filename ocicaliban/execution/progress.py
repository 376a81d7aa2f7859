"""Tells how a sweep goes: a live display at a terminal, plain lines with the job's number in a pipe or log."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TextIO

from ocicaliban.jobs import log_file
from ocicaliban.jobs.status_table import printable, span
from ocicaliban.model.job import Attempt, Job

if TYPE_CHECKING:
    # rich is imported at a terminal alone, and `sweep` does not need to know who shows it.
    from rich.console import Console, RenderableType
    from rich.live import Live

    from ocicaliban.execution.runner import Outcome
    from ocicaliban.execution.scheduler import State

_PAUSE = 0.2
"""Seconds between two drawings."""
_TAIL_LINES = 5
_TAIL_BYTES = 8 << 10
_TOLD = 5
"""So many failures are told of in full at a terminal; they would scroll away all else."""
_NAMED = 5
_BAR = 30


def own_arguments(job: Job) -> str:
    """The arguments that are the job's own, as one would type them: those of its parameters, or all."""
    count = sum(0 if value is False else 1 if value is True else 2 for _, value in job.parameters)
    return printable(shlex.join(job.args[-count:] if count else job.args))


def remaining(mean: float, elapsed: Sequence[float], queued: int, places: int) -> float:
    """The seconds until all is done, if a job takes `mean` seconds: `elapsed` tells how long those have run that do."""
    work = queued * mean + sum(max(mean - each, 0.0) for each in elapsed)
    return work / max(1, min(places, queued + len(elapsed)))


def tail(log: str) -> list[str]:
    """The last lines of a job's log, once it is plain text; none where there is no log."""
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


def summary(group: str, outcome: Outcome, failed: Sequence[int]) -> list[str]:
    """What became of a sweep, and what one can do next; `failed` are the numbers of jobs that failed."""
    counts = {
        "succeeded": outcome.succeeded,
        "failed": outcome.failed,
        "stopped": outcome.stopped,
        "not finished": outcome.left,
    }
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "nothing to do"
    lines = [f"{group}: {told}"]
    if failed:
        others = ", ".join(map(str, failed[1:_NAMED]))
        more = f" (also {others}{', ...' if len(failed) > _NAMED else ''})" if others else ""
        lines.append(f"  what failed: ocicaliban logs {failed[0]}{more}")
    if outcome.left:
        lines.append(f"  to go on:    ocicaliban resume {group}")
    if outcome.succeeded or outcome.failed:
        lines.append(f"  results:     ocicaliban report {group}")
    return lines


class Progress:
    """What the user sees of a sweep, on `stream` (stderr); a context, in which `sweep` runs.

    `failed` has the numbers of the jobs that failed for good, in the order in which they did.
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
        self.live = self._stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._display = _Display(self._stream) if self.live else None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._display:
            with contextlib.suppress(OSError):
                self._display.close()

    def started(self, job: Job, attempt: Attempt, *, found: bool = False) -> None:
        """The attempt is about to start, or was `found` running."""
        self._running[job.id] = (job, attempt)
        if not self._display:
            again = f" (attempt {attempt.number})" if attempt.number > 1 else ""
            what = "still runs" if found else "started"
            self.say(f"[{job.id}] {what}{again}: {own_arguments(job)}".removesuffix(": "))

    def ended(self, job: Job, attempt: Attempt, state: State, *, again: bool) -> None:
        """The attempt, with its status, times and reason, ended; `again` when the job is queued again."""
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
            what = f"{attempt.reason}; left queued" if again else f"stopped: {attempt.reason}".removesuffix(": ")
            self.say(f"[{job.id}] {printable(what)} after {span(seconds)}" + ("" if again else f" {of}"))
            return
        if not again:
            self.failed.append(job.id)
        self._tell_failure(job, attempt, f"; it is tried again {of}" if again else f" {of}", seconds)

    def _tell_failure(self, job: Job, attempt: Attempt, then: str, seconds: float) -> None:
        self._failures += 1
        if self._display and self._failures > _TOLD:
            if self._failures == _TOLD + 1:
                self.say("more fail; they are counted below, and `ocicaliban status` names them")
            return
        lines = [f"[{job.id}] failed after {span(seconds)}: {printable(attempt.reason)}{then}"]
        if os.path.exists(attempt.log):
            lines.append(f"[{job.id}]   log: {printable(attempt.log)}")
            lines += [f"[{job.id}]   | {line}" for line in tail(attempt.log)]
        self.say("\n".join(lines))

    def tick(self, state: State) -> None:
        """Some time has passed."""
        if not self._display or not self._display.due():
            return
        now = self._clock()
        elapsed = [now - attempt.started for _, attempt in self._running.values()]
        left = remaining(self._sum / self._count, elapsed, state.queued, self._places) if self._count else None
        if state.phase != "going":
            left = None
        with contextlib.suppress(OSError):
            self._display.draw([*self._running.values()], state, now, left)

    def say(self, text: str) -> None:
        """Something else that the user should know; where it cannot be written the work goes on."""
        with contextlib.suppress(OSError):
            if self._display:
                self._display.say(text)
            else:
                print(text, file=self._stream, flush=True)


def counts(state: State, left: float | None) -> str:
    """How many jobs are where, and how long the rest will take."""
    done = state.succeeded + state.failed + state.stopped
    words = [f"{done}/{done + state.queued + len(state.running)}"]
    words += [f"{state.failed} failed"] if state.failed else []
    words += [f"{state.stopped} stopped"] if state.stopped else []
    words += [f"{len(state.running)} running", f"{state.queued} queued"]
    words += [f"about {span(left)} left"] if left is not None and left >= 1 else []
    words += ["ending"] if state.phase in ("stopping", "killing") else []
    return ", ".join(words)


def row(job: Job, attempt: Attempt, now: float, width: int, number_width: int) -> str:
    """A line of exactly `width` cells for a job that runs: its number, arguments, time and last line of output."""
    from rich.cells import cell_len

    head = f"[{job.id}]".rjust(number_width + 2)
    seconds = max(0, int(now - attempt.started))
    hours, minutes = divmod(seconds // 60, 60)
    clock = (f"{hours}:{minutes:02}:{seconds % 60:02}" if hours else f"{minutes}:{seconds % 60:02}").rjust(5)
    room = max(width - len(head) - len(clock) - 3, 0)
    arguments = own_arguments(job)
    said = printable(log_file.last_line(attempt.log)) if attempt.log else ""
    # The arguments have half of it, and more where the output leaves it.
    share = min(cell_len(arguments), max(room // 2, room - cell_len(said)))
    return cut(f"{head} {cut(arguments, share)} {clock} {cut(said, room - share)}", width)


def cut(text: str, width: int) -> str:
    """The text in exactly `width` cells of a terminal; what is left out shows as an ellipsis."""
    from rich.cells import cell_len, set_cell_size

    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(set_cell_size(text, width - 1).rstrip() + "…", width)


class _Display:
    """Rows for the jobs that run and a bar, at the bottom of a terminal; what is said goes above."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        self._console: Console = Console(file=stream, highlight=False, markup=False, emoji=False)
        self._live: Live | None = None
        self._width = 0
        self._drawn = 0.0

    def due(self) -> bool:
        """Whether the display is old enough to be drawn anew."""
        return time.monotonic() - self._drawn >= _PAUSE

    def draw(self, running: Sequence[tuple[Job, Attempt]], state: State, now: float, left: float | None) -> None:
        """Draw anew."""
        from rich.live import Live

        width, height = self._console.size
        if self._live and width < self._width:
            # Terminals disagree about what becomes of lines that are too wide now: only a clear screen is sure.
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
        """Lines above the display."""
        self._console.print(text, soft_wrap=True)

    def close(self) -> None:
        """Take the display away."""
        if self._live:
            self._live.stop()
            self._live = None
