"""A clock whose seconds pass at once, and threads that run one at a time, in an order that a test chooses.

Only one thread runs; it hands on where it waits: asleep, at a condition, at an empty queue. When all of them wait, time
moves to the moment at which the first of them goes on.
"""

from __future__ import annotations

import contextlib
import queue
import random
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import define, field

EPOCH = 1_700_000_000.0


class Killed(BaseException):
    """The process of a thread is dead: nothing that it does has an effect any more."""


@define(eq=False)
class _Thread:
    go: threading.Semaphore = field(factory=lambda: threading.Semaphore(0))
    waits_for: object | None = None
    until: float | None = None


class VirtualClock:
    """A `targets.clock.Clock`. `seed` determines which of several threads goes on first."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._now = 0.0
        self._current = _Thread()
        self._main = self._current
        self._waiting: list[_Thread] = []
        self._ready: list[_Thread] = []
        self._alive = 1
        self.interrupt_at: float | None = None
        """When the main thread gets a Ctrl-C, once."""

    def time(self) -> float:
        return EPOCH + self._now

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._wait(None, seconds)

    def condition(self) -> VirtualCondition:
        return VirtualCondition(self)

    def inbox(self) -> VirtualInbox:
        return VirtualInbox(self)

    def start(self, work: Callable[[], None]) -> None:
        thread = _Thread()
        self._alive += 1

        def run() -> None:
            thread.go.acquire()
            try:
                with contextlib.suppress(Killed):
                    work()
            finally:
                self._alive -= 1
                self._hand_on()

        threading.Thread(target=run, daemon=True).start()
        self._ready.append(thread)

    def finish(self) -> None:
        """Let all other threads come to their ends."""
        while self._alive > 1:
            self.sleep(1.0)

    def wake(self, what: object) -> None:
        """Let those go on that wait for this."""
        for thread in [each for each in self._waiting if each.waits_for is what]:
            self._waiting.remove(thread)
            self._ready.append(thread)

    def _wait(self, what: object | None, seconds: float | None) -> None:
        me = self._current
        me.waits_for, me.until = what, None if seconds is None else self._now + seconds
        self._waiting.append(me)
        self._hand_on()
        me.go.acquire()
        if me is self._main and self.interrupt_at is not None and self._now >= self.interrupt_at:
            self.interrupt_at = None
            raise KeyboardInterrupt

    def _hand_on(self) -> None:
        if not self._ready:
            due = [each for each in self._waiting if each.until is not None]
            if not due:
                raise AssertionError("every thread waits for another one, for ever")
            self._now = max(self._now, min(each.until for each in due if each.until is not None))
            for thread in [each for each in due if each.until is not None and each.until <= self._now]:
                self._waiting.remove(thread)
                self._ready.append(thread)
        self._current = self._ready.pop(self._random.randrange(len(self._ready)))
        self._current.go.release()


class VirtualCondition:
    """A `targets.clock.Condition`; it needs no lock, since only one thread runs."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def __enter__(self) -> bool:
        return True

    def __exit__(self, *_: object) -> None:
        pass

    def wait(self, timeout: float) -> object:
        self._clock._wait(self, timeout)
        return True

    def notify_all(self) -> None:
        self._clock.wake(self)


class VirtualInbox:
    """A `targets.clock.Inbox`."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._items: deque[Any] = deque()

    def put(self, item: Any) -> None:
        self._items.append(item)
        self._clock.wake(self)

    def get(self, *, timeout: float | None = None) -> Any:
        until = None if timeout is None else self._clock.monotonic() + timeout
        while not self._items:
            left = None if until is None else until - self._clock.monotonic()
            if left is not None and left <= 0:
                raise queue.Empty
            self._clock._wait(self, left)
        return self._items.popleft()

    def qsize(self) -> int:
        return len(self._items)
