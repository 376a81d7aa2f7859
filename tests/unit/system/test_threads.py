"""Work in other threads: its results, its faults, and that it does not delay the end of the program."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from ocicaliban.system.threads import each, start


def test_a_result_or_a_fault_is_had_where_it_is_asked_for() -> None:
    assert start(lambda: 3).result() == 3
    with pytest.raises(ZeroDivisionError):
        start(lambda: 1 // 0).result()


def test_items_keep_their_order_and_no_more_than_so_many_are_done_at_once() -> None:
    both = threading.Barrier(2, timeout=10)  # two are under way together, or it breaks

    def work(number: int) -> int:
        both.wait()
        return number * number

    assert each(work, range(6), at_once=2) == [(number, number * number) for number in range(6)]
    assert each(work, [], at_once=2) == []


def test_after_a_fault_no_further_one_is_begun() -> None:
    begun = []

    def work(number: int) -> None:
        begun.append(number)
        raise ValueError(number)

    with pytest.raises(ValueError, match="0"):
        each(work, range(1000), at_once=1)
    assert len(begun) < 1000


HANGING = """
import sys, threading
from ocicaliban.system.threads import each, start
start(threading.Event().wait)
def work(number):
    if number:
        threading.Event().wait()
    raise KeyboardInterrupt
try:
    each(work, range(9), at_once=4)
except KeyboardInterrupt:
    sys.exit(7)
"""


def test_a_program_that_is_interrupted_ends_though_an_answer_never_comes() -> None:
    assert subprocess.run([sys.executable, "-c", HANGING], timeout=30, check=False).returncode == 7
