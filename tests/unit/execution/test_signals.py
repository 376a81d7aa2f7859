from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from ocicaliban.execution import signals
from ocicaliban.execution.signals import Interruptions


@pytest.fixture
def received() -> list[int]:
    return []


def test_a_signal_is_received_and_one_that_comes_at_once_again_is_the_same(
    received: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interruptions(received.append).taken():
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
        assert received == [signal.SIGTERM, signal.SIGHUP]
        monkeypatch.setattr(signals, "_SAME_KEYPRESS", 0.0)
        time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGHUP)
        assert received[2:] == [signal.SIGHUP]
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_ignored_signal_stays_ignored(received: list[int]) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruptions(received.append).taken():
            os.kill(os.getpid(), signal.SIGHUP)
        assert received == [] and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_signals_are_given_back(received: list[int]) -> None:
    before = signal.getsignal(signal.SIGINT)
    interruptions = Interruptions(received.append)
    with interruptions.taken():
        assert signal.getsignal(signal.SIGINT) is not before
        interruptions.give_back()
        assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_takes_none(received: list[int]) -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def take() -> None:
        with Interruptions(received.append).taken():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    assert seen == [before]
