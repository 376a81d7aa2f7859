"""Tells what is being made: a live line at a terminal, one plain line elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator

from ocicaliban.build.plan_view import amount


class Making:
    """Something that is being made; who makes it may leave its `measure`, which returns its bytes."""

    def __init__(self) -> None:
        self.measure: Callable[[], int] = lambda: 0


@contextlib.contextmanager
def making(
    what: str, doing: str = "building", *, done: str = "built", taken: int = 0, say: Callable[[str], None]
) -> Iterator[Making]:
    """Tell that `what` is being made, of `taken` bytes of files (0 for none), as long as the context lasts.

    At a terminal the line shows the time that went by, and another one says what it was when it is `done`, or
    interrupted. Elsewhere `say` gets "WHAT: DOING" and nothing else, for logs.
    """
    made = Making()
    if not _live():
        say(f"{what}: {doing}")
        yield made
        return
    began = time.monotonic()
    try:
        with _line(f"{what}: {doing}{f', {amount(taken)}' if taken else ''}"):
            yield made
    except (KeyboardInterrupt, SystemExit):
        say(f"{what}: interrupted; the layers that are finished are kept")
        raise
    took, large = time.monotonic() - began, made.measure()
    say(f"{what}: {done} in {took:.{0 if took >= 10 else 1}f} s{f', {amount(large)}' if large else ''}")


@contextlib.contextmanager
def counting(what: str, total: int, *, say: Callable[[str], None]) -> Iterator[Callable[[], None]]:
    """Count up to `total`: what is given is called for each one that is done.

    At a terminal a bar moves, with an estimate; elsewhere `say` gets a line for each tenth.
    """
    if not _live():
        done = 0

        def tell() -> None:
            nonlocal done
            done += 1
            if done * 10 // total > (done - 1) * 10 // total:
                say(f"{what} {done} of {total}")

        yield tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)


def _live() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


@contextlib.contextmanager
def _line(text: str) -> Iterator[None]:
    """A line at the terminal that moves, and is gone in the end."""
    # Not before something is really made: most commands make nothing.
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        progress.add_task(text, total=None)
        yield
