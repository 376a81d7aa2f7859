"""What is left of a container that podman was making when it was killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ocicaliban.containers import conmon

ID = "5eed" * 16


def test_what_waits_for_a_start_that_never_comes_is_ended(tmp_path: Path) -> None:
    for name in ("conmon", "crun", "podman"):
        (tmp_path / name).symlink_to(sys.executable)

    def started(name: str, container: str) -> subprocess.Popen[bytes]:
        argv = [str(tmp_path / name), "-c", "print(1, flush=True); input()", container]
        child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.stdout and child.stdout.read(1) == b"1"
        return child

    ended = [started("conmon", ID), started("crun", ID)]
    # podman itself may be cleaning up, and the others have other containers.
    live = [started("podman", ID), started("conmon", "f" * 64)]
    try:
        conmon.end_waiting(ID)
        assert [child.wait(30) for child in ended] == [-9, -9]
        assert [child.poll() for child in live] == [None, None]
    finally:
        for child in (*ended, *live):
            child.kill()
            child.communicate()


def test_what_watches_a_container_that_is_gone_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conmon, "_WINDING_UP", 0)
    for name in ("conmon", "other"):
        (tmp_path / name).symlink_to(sys.executable)
    (tmp_path / "there").mkdir()
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed").chmod(0)

    def started(name: str, job: str, bundle: str) -> subprocess.Popen[bytes]:
        argv = [str(tmp_path / name), str(tmp_path / "code.py"), "-c", ID, "-n", job, "-b", str(tmp_path / bundle)]
        (tmp_path / "code.py").write_text("print(1, flush=True); input()")
        child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.stdout and child.stdout.read(1) == b"1"
        return child

    ended = started("conmon", "ocicaliban-1234-1", "gone")
    live = [
        started("conmon", "ocicaliban-1234-1", "there"),
        started("conmon", "ocicaliban-1234-1", "closed/unknown"),
        started("conmon", "mine", "gone"),
        started("other", "ocicaliban-1234-1", "gone"),
    ]
    try:
        assert [pid for pid, _ in conmon._forsaken()] == [ended.pid]
        monkeypatch.setattr(conmon, "_LOOKS", 0)  # all of these have one id
        conmon.end_forsaken()
        assert ended.wait(30) == -9
        assert [child.poll() for child in live] == [None] * 4
    finally:
        for child in (ended, *live):
            child.kill()
            child.communicate()


def test_a_container_of_which_podman_does_not_know_that_it_runs(tmp_path: Path) -> None:
    (tmp_path / "conmon").symlink_to(sys.executable)
    (tmp_path / "code.py").write_text("print(1, flush=True); input()")

    def started(*words: str) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            [str(tmp_path / "conmon"), str(tmp_path / "code.py"), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert child.stdout and child.stdout.read(1) == b"1"
        return child

    pidfile = tmp_path / "pidfile"
    watching = started("-c", ID, "-p", str(pidfile))
    waiting, runs = started("init", ID), started("train.py")
    try:
        assert conmon.running_process(ID) == 0  # conmon has written no number yet
        for pid, found in ((waiting.pid, 0), (runs.pid, runs.pid), (2**22 + 1, 0)):
            pidfile.write_text(str(pid))
            assert conmon.running_process(ID) == found
        assert conmon.running_process("f" * 64) == 0
    finally:
        for child in (watching, waiting, runs):
            child.kill()
            child.communicate()
