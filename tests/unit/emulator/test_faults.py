"""Faults: how they are read, and which requests they meet."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.emulator import faults
from ocicaliban.errors import UsageError
from ocicaliban.reporter import Reporter


def test_faults_are_read_from_toml() -> None:
    text = 'latency = 1\nlost_every = 3\nlost_as = "deadline"\nno_quota = ["NVIDIA_L4"]\ndenied = true\n'
    assert faults.parse(text, "f") == faults.Faults(
        latency=1.0, lost_every=3, lost_as="deadline", no_quota=("NVIDIA_L4",), denied=True
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("latncy = 1", "no fault 'latncy'"),
        ('latency = "1"', "not a number"),
        ("lost_every = 0.5", "not an integer"),
        ("denied = 1", "not true or false"),
        ('lost_as = "x"', "lost_as"),
        ("no_quota = [1]", "not a list of strings"),
        ('no_quota = ["FOO"]', "no accelerator 'FOO'"),
        ("latency = -1", "not between 0"),
        ("latency = nan", "not between 0"),
        ("preempted_after = inf", "not between 0"),
        ("waits = true", "not a number"),
        ("unavailable_every = -2", "not between 0"),
        (f"lost_every = {10**30}", "not between 0"),
        ("x", "f: "),
    ],
)
def test_faults_that_do_not_exist_are_told(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        faults.parse(text, "f")


def test_the_file_of_faults_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "faults.toml"
    order = faults.FaultInjector(file=file)
    assert order.current() == faults.Faults()
    file.write_text("latency = 0.5\n")
    assert order.current().latency == 0.5
    file.write_text("latency = 0.25\nper_minute = 3\n")
    assert (order.current().latency, order.current().per_minute) == (0.25, 3)


def test_a_file_of_faults_that_becomes_wrong_is_told_and_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "faults.toml"
    file.write_text("latency = 0.5\n")
    told: list[str] = []
    order = faults.FaultInjector(file=file, reporter=Reporter(told.append))
    file.write_text("latency = 'long'\n")
    assert order.current() == order.current() == faults.Faults(latency=0.5)
    assert len(told) == 1 and "not a number" in told[0]
    with pytest.raises(UsageError):
        faults.FaultInjector(file=file)


def test_accelerators_may_have_their_short_names() -> None:
    known = faults.parse('no_quota = ["V100", "NVIDIA_L4", "CPU"]', "f")
    assert known.no_quota == ("NVIDIA_TESLA_V100", "NVIDIA_L4", "CPU")


def not_utf_8(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")


def folder(file: Path) -> None:
    file.unlink(missing_ok=True)
    file.mkdir()


def pipe(file: Path) -> None:
    file.unlink(missing_ok=True)
    os.mkfifo(file)


def to_itself(file: Path) -> None:
    file.unlink(missing_ok=True)
    file.symlink_to(file)


@pytest.mark.parametrize(
    ("become", "words"),
    [
        (not_utf_8, "not UTF-8"),
        (folder, "not a regular file"),
        (pipe, "not a regular file"),
        (to_itself, "symbolic links"),
    ],
)
def test_a_file_of_faults_that_cannot_be_read_is_told_once(
    tmp_path: Path, become: Callable[[Path], None], words: str
) -> None:
    file = tmp_path / "faults.toml"
    file.write_text("latency = 0.5\n")
    told: list[str] = []
    order = faults.FaultInjector(file=file, reporter=Reporter(told.append))
    become(file)
    assert order.current() == order.current() == faults.Faults(latency=0.5)
    assert len(told) == 1 and words in told[0]
    with pytest.raises(UsageError, match=words):
        faults.FaultInjector(file=file)


def test_every_nth_is_counted_by_its_kind() -> None:
    order = faults.FaultInjector()
    assert [order.is_nth("create", 3) for _ in range(6)] == [False, False, True, False, False, True]
    assert not order.is_nth("list", 3) and not order.is_nth("create", 0)


@given(st.lists(st.floats(0, 30), max_size=100), st.integers(1, 10))
def test_the_quota_holds_in_any_minute(steps: list[float], per_minute: int) -> None:
    order, now, let = faults.FaultInjector(), 0.0, list[float]()
    for step in steps:
        now += step
        if order.is_within_rate(per_minute, now):
            let.append(now)
    assert all(len([at for at in let if start <= at < start + 60]) <= per_minute for start in let)
