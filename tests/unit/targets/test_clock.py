"""The system's clock and threads, as submissions see them."""

from __future__ import annotations

import queue
import threading
import time

import pytest

from ocicaliban.targets.clock import SYSTEM


def test_time_passes_and_threads_run() -> None:
    before, wall = SYSTEM.monotonic(), SYSTEM.time()
    SYSTEM.sleep(0.001)
    assert SYSTEM.monotonic() > before and abs(wall - time.time()) < 60
    inbox, changed, told = SYSTEM.inbox(), SYSTEM.condition(), threading.Event()

    def work() -> None:
        told.wait()
        with changed:
            inbox.put("done")
            changed.notify_all()

    with changed:
        SYSTEM.start(work)
        told.set()
        changed.wait(60)
    assert inbox.qsize() == 1 and inbox.get() == "done"
    with pytest.raises(queue.Empty):
        inbox.get(timeout=0.001)
