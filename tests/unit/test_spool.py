"""What a single run leaves is taken up once it is over, and never lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ocicaliban import spool


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_a_run_that_goes_on_is_told_as_such_and_stays() -> None:
    entry = spool.begin("aa", {"args": ["--lr"]})
    for _ in range(2):
        [(value, goes_on)] = spool.taken()
        assert goes_on and value["args"] == ["--lr"] and "ended" not in value
    entry.ended(3)
    [(value, goes_on)] = spool.taken()
    assert not goes_on and value["exit_code"] == 3 and value["ended"] >= value["started"]
    assert list(spool.taken()) == []


def test_a_run_that_was_killed_is_told_without_an_end(tmp_path: Path) -> None:
    code = "import os\nfrom ocicaliban import spool\nentry = spool.begin('bb', {})\nos.kill(os.getpid(), 9)\n"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "XDG_STATE_HOME": str(tmp_path)}, check=False)
    [(value, goes_on)] = spool.taken()
    assert not goes_on and value["key"] == "bb" and "ended" not in value


def test_a_run_has_a_file_until_its_end_is_taken_up() -> None:
    entry = spool.begin("ab", {})
    assert spool.kept("ab") and not spool.kept("b")
    entry.ended(0)
    assert spool.kept("ab")
    list(spool.taken())
    assert not spool.kept("ab")


def test_what_was_not_used_to_the_end_comes_again() -> None:
    spool.begin("cc", {}).ended(0)
    for _ in spool.taken():
        break
    assert [value["key"] for value, _ in spool.taken()] == ["cc"]


def test_runs_come_in_the_order_in_which_they_began() -> None:
    for key in ("f2", "f0", "f1"):
        spool.begin(key, {}).ended(0)
    assert [value["key"] for value, _ in spool.taken()] == ["f2", "f0", "f1"]


def test_a_run_is_seen_whole_while_it_is_written() -> None:
    entry = spool.begin("ff", {"args": ["x"] * 1000})
    done = threading.Event()

    def write() -> None:
        for number in range(300):
            entry.write(commit="c" * number)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        [(value, goes_on)] = spool.taken()
        assert goes_on and value["key"] == "ff" and len(value["args"]) == 1000
    writer.join()
    entry.ended(0)


def test_half_a_file_is_no_run(tmp_path: Path) -> None:
    folder = tmp_path / "ocicaliban" / "runs"
    folder.mkdir(parents=True)
    (folder / "dd.json").write_text(json.dumps({"key": "dd"})[:5])
    assert list(spool.taken()) == []


def test_the_files_are_nobody_elses_to_read(tmp_path: Path) -> None:
    entry = spool.begin("ee", {})
    [file] = (tmp_path / "ocicaliban" / "runs").iterdir()
    assert file.stat().st_mode & 0o077 == 0
    entry.ended(0)
