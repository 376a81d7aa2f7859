"""The file of a single run is taken up once the run is over, and never lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ocicaliban.jobs import run_journal


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_a_run_that_goes_on_is_told_as_such_and_stays() -> None:
    entry = run_journal.begin("aa", {"args": ["--lr"]})
    for _ in range(2):
        [(value, goes_on)] = run_journal.taken()
        assert goes_on and value["args"] == ["--lr"] and "ended" not in value
    entry.ended(3)
    [(value, goes_on)] = run_journal.taken()
    assert not goes_on and value["exit_code"] == 3 and value["ended"] >= value["started"]
    assert list(run_journal.taken()) == []


def test_a_run_that_was_killed_is_told_without_an_end(tmp_path: Path) -> None:
    code = (
        "import os\nfrom ocicaliban.jobs import run_journal\n"
        "entry = run_journal.begin('bb', {})\nos.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "XDG_STATE_HOME": str(tmp_path)}, check=False)
    [(value, goes_on)] = run_journal.taken()
    assert not goes_on and value["key"] == "bb" and "ended" not in value


def test_a_run_has_a_file_until_its_end_is_taken_up() -> None:
    entry = run_journal.begin("ab", {})
    assert run_journal.has("ab") and not run_journal.has("b")
    entry.ended(0)
    assert run_journal.has("ab")
    list(run_journal.taken())
    assert not run_journal.has("ab")


def test_what_was_not_used_to_the_end_comes_again() -> None:
    run_journal.begin("cc", {}).ended(0)
    for _ in run_journal.taken():
        break
    assert [value["key"] for value, _ in run_journal.taken()] == ["cc"]


def test_runs_come_in_the_order_in_which_they_began() -> None:
    for key in ("f2", "f0", "f1"):
        run_journal.begin(key, {}).ended(0)
    assert [value["key"] for value, _ in run_journal.taken()] == ["f2", "f0", "f1"]


def test_a_run_is_seen_whole_while_it_is_written() -> None:
    entry = run_journal.begin("ff", {"args": ["x"] * 1000})
    done = threading.Event()

    def write() -> None:
        for number in range(300):
            entry.write(commit="c" * number)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        [(value, goes_on)] = run_journal.taken()
        assert goes_on and value["key"] == "ff" and len(value["args"]) == 1000
    writer.join()
    entry.ended(0)


def test_half_a_file_is_no_run(tmp_path: Path) -> None:
    folder = tmp_path / "ocicaliban" / "runs"
    folder.mkdir(parents=True)
    (folder / "dd.json").write_text(json.dumps({"key": "dd"})[:5])
    assert list(run_journal.taken()) == []


def test_only_the_user_can_read_the_files(tmp_path: Path) -> None:
    entry = run_journal.begin("ee", {})
    [file] = (tmp_path / "ocicaliban" / "runs").iterdir()
    assert file.stat().st_mode & 0o077 == 0
    entry.ended(0)


def test_a_file_of_a_newer_version_stays_for_a_newer_program(tmp_path: Path) -> None:
    run_journal.begin("gg", {}).ended(0)
    [file] = (tmp_path / "ocicaliban" / "runs").iterdir()
    assert json.loads(file.read_text())["version"] == 1
    file.write_text(json.dumps({"version": 2, "key": "gg"}))
    assert list(run_journal.taken()) == [] and file.exists()
