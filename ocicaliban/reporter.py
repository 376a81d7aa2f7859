"""Report to the user while a command works: lines, notes, warnings and progress."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator

from ocicaliban.formats.text import amount, shown


class Making:
    """Something that is being made; its maker may set `measure`, which returns its size in bytes."""

    def __init__(self) -> None:
        self.measure: Callable[[], int] = lambda: 0


_quiet = False
LOUD = ("warning: ", "error: ", " hint: ", "hint: ")
"""How a line begins that is reported with --quiet, too."""


def be_quiet(wanted: bool) -> None:
    """Report from now on only what is wrong, as --quiet asks, or everything."""
    global _quiet
    _quiet = wanted


def is_quiet() -> bool:
    """Return whether only what is wrong is reported."""
    return _quiet


class Reporter:
    """Reports to the user; `write` gets each line."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def say(self, line: str) -> None:
        """Report a line, or several lines in one text. With --quiet, only what is wrong."""
        if not _quiet or line.startswith(LOUD):
            self._write(line)

    def also(self, hear: Callable[[str], None]) -> Reporter:
        """Return a reporter that gives each line to `hear`, and then reports it here."""

        def write(line: str) -> None:
            hear(line)
            self.say(line)

        return Reporter(write)

    def note(self, text: str) -> None:
        """Report something that the user may want to know, and that needs no action."""
        self.say(f"note: {text}")

    def warning(self, text: str) -> None:
        """Report something that may make the result differ from what the user wants."""
        self.say(f"warning: {text}")

    @contextlib.contextmanager
    def making(self, what: str, doing: str = "building", *, done: str = "built", taken: int = 0) -> Iterator[Making]:
        """Show that `what` is being made, from `taken` bytes of files (0: not shown), while the context lasts.

        At a terminal the line shows the elapsed time, and a last line gives the total time and the size of the result.
        Elsewhere the line is "WHAT: DOING", for logs, and another one follows whenever 15 s have passed without one.
        """
        made = Making()
        if not _live():
            self.say(f"{what}: {doing}")
            with contextlib.nullcontext() if self is SILENT or _quiet else _HEARTBEAT.beating(f"{what}: still {doing}"):
                yield made
            return
        began = time.monotonic()
        try:
            with _line(f"{what}: {doing}{f', {amount(taken)}' if taken else ''}"):
                yield made
        except (KeyboardInterrupt, SystemExit):
            self.say(f"{what}: interrupted; the layers that are finished are kept")
            raise
        took, large = time.monotonic() - began, made.measure()
        self.say(f"{what}: {done} in {took:.{0 if took >= 10 else 1}f} s{f', {amount(large)}' if large else ''}")

    @contextlib.contextmanager
    def waiting(self, what: str, doing: str) -> Iterator[None]:
        """Show that something is done which may be quick: nothing before it has taken a while."""
        if self is SILENT or _quiet:
            yield
        elif _live():
            with _late_line(f"{what}: {doing}"):
                yield
        else:
            with _HEARTBEAT.beating(f"{what}: still {doing}"):
                yield

    @contextlib.contextmanager
    def counting(self, what: str, total: int) -> Iterator[Callable[[], None]]:
        """Count up to `total`; the yielded function counts one more.

        At a terminal a bar moves, with an estimate of the time left. Elsewhere each tenth is a line.
        """
        if not _live():
            done = 0

            def count() -> None:
                nonlocal done
                done += 1
                if done * 10 // total > (done - 1) * 10 // total:
                    self.say(f"{what} {done} of {total}")

            yield count
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        text = TextColumn("{task.description}", markup=False)
        columns = (text, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task(shown(what), total=total)
            yield lambda: progress.advance(task)


_EVERY = 15.0
"""Seconds without a line after which the user must be told that something still goes on."""

_LATE = 1.0
"""Seconds after which what is usually quick gets a line at a terminal."""


class _Heartbeat:
    """Prints a line whenever none was printed for a while, as long as something is done. For logs, not terminals."""

    def __init__(self) -> None:
        self._done: list[object] = []
        self._last = 0.0

    def said(self) -> None:
        """Note that a line was printed."""
        self._last = time.monotonic()

    @contextlib.contextmanager
    def beating(self, text: str) -> Iterator[None]:
        """Print `text` with the seconds, while the context lasts and no other is inside it."""
        itself, over, began = object(), threading.Event(), time.monotonic()

        def beat() -> None:
            while not over.wait(max(_EVERY / 60, self._last + _EVERY - time.monotonic())):
                now = time.monotonic()
                if now - self._last >= _EVERY and self._done[-1:] == [itself]:
                    _print(f"{text}, {now - began:.0f} s")

        self._done.append(itself)
        self.said()
        threading.Thread(target=beat, daemon=True).start()
        try:
            yield
        finally:
            over.set()
            self._done.remove(itself)


_HEARTBEAT = _Heartbeat()


def _print(line: str) -> None:
    _HEARTBEAT.said()
    # The work goes on even if stderr cannot be written.
    with contextlib.suppress(OSError):
        print(shown(line), file=sys.stderr, flush=True)


TERMINAL = Reporter(_print)
"""Writes to stderr; stdout is for the result."""

SILENT = Reporter(lambda _: None)
"""Reports nothing."""


def confirmed(question: str) -> bool:
    """Return whether the user, at a terminal, says yes to a question of ours."""
    sys.stderr.write(f"{shown(question)} [y/N] ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        TERMINAL.say("")
    return answer.strip().lower() in ("y", "yes")


def _live() -> bool:
    return not _quiet and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


@contextlib.contextmanager
def _late_line(text: str) -> Iterator[None]:
    """Show a line as `_line` does, if the context lasts longer than a moment."""
    over = threading.Event()

    def show() -> None:
        if not over.wait(_LATE):
            with _line(text):
                over.wait()

    shower = threading.Thread(target=show, daemon=True)
    shower.start()
    try:
        yield
    finally:
        over.set()
        shower.join()


@contextlib.contextmanager
def _line(text: str) -> Iterator[None]:
    """Show a line with a spinner at the terminal, and remove it at the end."""
    # Imported late: most commands do not need it.
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        progress.add_task(shown(text), total=None)
        yield
