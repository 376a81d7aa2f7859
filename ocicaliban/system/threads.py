"""Work in threads that never delay the end of the program: after a Ctrl-C or a fault, nobody waits for them.

Python waits for the threads of concurrent.futures when it exits, so a Ctrl-C would take as long as the slowest answer.
"""

from __future__ import annotations

import functools
import queue
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def start(work: Callable[[], R]) -> Future[R]:
    """Call `work` in a thread; the future's `result()` returns or raises what `work` does."""
    done: Future[R] = Future()
    threading.Thread(target=_fill, args=(done, work), daemon=True).start()
    return done


def each(work: Callable[[T], R], items: Iterable[T], *, at_once: int) -> list[tuple[T, R]]:
    """Call `work` for each item in `at_once` threads; return each item with its result, in the order of the items.

    When a call raises, no further call begins; the exception raised here is the first one in the order of the items.
    """
    results = [(item, Future[R]()) for item in items]
    left: queue.SimpleQueue[tuple[T, Future[R]]] = queue.SimpleQueue()
    over = threading.Event()
    for one in results:
        left.put(one)

    def go_on() -> None:
        while not over.is_set():
            try:
                item, done = left.get_nowait()
            except queue.Empty:
                return
            _fill(done, functools.partial(work, item))
            if done.exception() is not None:
                over.set()

    for _ in range(min(at_once, len(results))):
        threading.Thread(target=go_on, daemon=True).start()
    try:
        return [(item, done.result()) for item, done in results]
    finally:
        over.set()


def _fill(done: Future[R], work: Callable[[], R]) -> None:
    try:
        done.set_result(work())
    except BaseException as fault:  # noqa: BLE001 it is raised where the result is needed
        done.set_exception(fault)
