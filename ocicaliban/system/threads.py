"""Does work beside the main thread, which nobody waits for who is interrupted or has found a fault meanwhile.

The threads of concurrent.futures are waited for, at the latest when Python ends: a Ctrl-C would last as long as the
slowest answer. These are not.
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


def beside(work: Callable[[], R]) -> Future[R]:
    """Do `work`; what it returns or raises is had where the result is asked for."""
    done: Future[R] = Future()
    threading.Thread(target=_fill, args=(done, work), daemon=True).start()
    return done


def each(work: Callable[[T], R], items: Iterable[T], *, at_once: int) -> list[tuple[T, R]]:
    """Do `work` for each item, `at_once` of them at a time; each item with what came out, in their order.

    When one of them raises no further one is begun; what is raised is that of the first in order.
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
    except BaseException as fault:  # noqa: BLE001 it is raised where the result is asked for
        done.set_exception(fault)
