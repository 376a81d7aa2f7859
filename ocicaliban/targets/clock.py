"""Time and threads, as the submission of jobs sees them. Tests put a clock in their place that does not wait."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol


class Condition(Protocol):
    """A lock, and a way to wait for others to change what it protects; see threading.Condition."""

    def __enter__(self) -> bool:
        """Take the lock."""

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the lock."""

    def wait(self, timeout: float) -> object:
        """Release the lock until `notify_all` is called, for at most so many seconds, and take it again."""

    def notify_all(self) -> None:
        """Wake all who wait."""


class Inbox(Protocol):
    """A queue without a limit; see queue.SimpleQueue."""

    def put(self, item: Any) -> None:
        """Add an item."""

    def get(self, *, timeout: float | None = None) -> Any:
        """Remove the oldest item and return it. Raises queue.Empty after so many seconds without one."""

    def qsize(self) -> int:
        """Return how many items there are."""


class Clock(Protocol):
    """What waits, and what runs at the same time."""

    def time(self) -> float:
        """Return the seconds since 1970."""

    def monotonic(self) -> float:
        """Return the seconds since some moment, which no change of the system's clock affects."""

    def sleep(self, seconds: float) -> None:
        """Wait."""

    def condition(self) -> Condition:
        """Return a new condition."""

    def inbox(self) -> Inbox:
        """Return a new queue."""

    def start(self, work: Callable[[], None]) -> None:
        """Do `work` in a thread that does not keep the process alive."""


class SystemClock:
    """The clock and the threads of the system."""

    def time(self) -> float:
        """Return the seconds since 1970."""
        return time.time()

    def monotonic(self) -> float:
        """Return the seconds of the system's monotonic clock."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def condition(self) -> Condition:
        """Return a threading.Condition with a lock of its own."""
        return threading.Condition()

    def inbox(self) -> Inbox:
        """Return a queue.SimpleQueue."""
        return queue.SimpleQueue()

    def start(self, work: Callable[[], None]) -> None:
        """Do `work` in a daemon thread."""
        threading.Thread(target=work, daemon=True).start()


SYSTEM: Clock = SystemClock()
