"""The signals by which a user interrupts a command that runs jobs."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SAME_KEYPRESS = 0.2
"""Seconds in which a repeated signal is the same one: `timeout` sends each of its signals twice."""


class Interruptions:
    """Calls `on_signal` with the number of each signal that interrupts this process.

    It is called in the midst of anything, so it may do no more than put something into a SimpleQueue.
    """

    def __init__(self, on_signal: Callable[[int], None]) -> None:
        self._on_signal = on_signal
        self._before: dict[int, object] = {}
        self._last = (0, 0.0)

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Take the signals meanwhile, except those that this process was started to ignore (nohup).

        In another thread than the main one, nothing is taken.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        taken = [number for number in _NUMBERS if signal.getsignal(number) != signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._receive) for number in taken}
        try:
            yield
        finally:
            self.give_back()

    def give_back(self) -> None:
        """Handle the signals as before: the next one ends this process."""
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _receive(self, number: int, _: object) -> None:
        now = time.monotonic()
        again = self._last[0] == number and now - self._last[1] < _SAME_KEYPRESS
        self._last = (number, now)
        if not again:
            self._on_signal(number)
