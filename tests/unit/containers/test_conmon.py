"""What is left of a container that podman was making when it was killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
