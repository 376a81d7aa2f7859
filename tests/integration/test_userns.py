"""What holds after all processes of a user were killed, as at the end of a job of Slurm's or of a login session."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocicaliban.containers import cgroups
from tests.integration.program import call, command, environment, until

NOTE = "note: podman's processes were killed while containers ran"
LIST = ("notebook", "--list")  # the shortest command that needs podman


class Podman:
    """A user's podman with a store and a runtime folder of its own, in which a container runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.runtime = folder / "run"
        self.runtime.mkdir(mode=0o700)
        # A container without an image: its root is a folder with a program that needs no library, and waits.
        root = folder / "root"
        root.mkdir()
        shutil.copy("/usr/libexec/podman/catatonit", root / "wait")
        places = {"XDG_RUNTIME_DIR": str(self.runtime), "XDG_DATA_HOME": str(folder / "data")}
        self.env = {**places, "STORAGE_DRIVER": "vfs"}
        self.pids: list[int] = []

    def says(self, *args: str) -> subprocess.CompletedProcess[str]:
        argv = cgroups.in_cgroup2(("podman", *args)) if args[0] == "run" else ("podman", *args)
        return subprocess.run(argv, env=environment(self.env), capture_output=True, text=True, check=False, timeout=60)

    def begin(self) -> None:
        options = ("--detach", "--network=none", "--name=lost")
        done = self.says("run", *options, "--rootfs", str(self._folder / "root"), "/wait", "-P")
        assert done.returncode == 0, done.stderr
        pids = self.says("inspect", "--format", "{{.State.ConmonPid}} {{.State.Pid}}", "lost").stdout.split()
        self.pids = [int(self.pause.read_text()), *map(int, pids)]

    @property
    def pause(self) -> Path:
        return self.runtime / "libpod" / "tmp" / "pause.pid"

    def kill(self) -> None:
        """Kill all that keeps podman's user namespace, and what runs in it."""
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: all(_ended(pid) for pid in self.pids))

    def end(self) -> None:
        self.says("rm", "--force", "--all", "--time", "0")
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(self.pause.read_text()), signal.SIGKILL)


def _ended(pid: int) -> bool:
    """Return whether a process is gone, or waits only for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[Podman]:
    podman = Podman(tmp_path)
    podman.begin()
    yield podman
    podman.kill()
    podman.end()


def test_containers_that_were_killed_with_all_else_do_not_stop_us(podman: Podman, tmp_path: Path) -> None:
    podman.kill()
    refused = podman.says("ps")
    if refused.returncode == 0:  # podman 5.7 and newer repair it themselves
        assert NOTE not in call(tmp_path, *LIST, env=podman.env).stderr
        return
    assert "system migrate" in refused.stderr
    first, second = (call(tmp_path, *LIST, env=podman.env) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert first.stderr.count(NOTE) == 1
    assert NOTE not in second.stderr
    assert podman.says("ps", "--quiet").stdout == ""
    assert "lost" in podman.says("ps", "--all").stdout


def test_what_one_of_us_has_put_right_another_leaves_alone(podman: Podman, tmp_path: Path) -> None:
    podman.kill()
    children = [
        subprocess.Popen(command(*LIST), cwd=tmp_path, env=environment(podman.env), stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    told = [child.communicate(timeout=60)[1] for child in children]
    assert [child.returncode for child in children] == [0, 0, 0], told
    assert sum(NOTE in one for one in told) <= 1, told


def test_a_process_that_has_the_number_of_the_killed_one_by_now_lives_on(podman: Podman, tmp_path: Path) -> None:
    podman.kill()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        podman.pause.write_text(str(other.pid))
        done = call(tmp_path, *LIST, env=podman.env)
        assert done.returncode == 0, done.stderr
        assert other.poll() is None
        other.communicate(b"\n")


def test_containers_that_run_are_not_touched_where_only_the_keeper_was_killed(podman: Podman, tmp_path: Path) -> None:
    os.kill(podman.pids[0], signal.SIGKILL)
    done = call(tmp_path, *LIST, env=podman.env)
    assert done.returncode == 0, done.stderr
    assert NOTE not in done.stderr
    assert podman.says("ps", "--format", "{{.Names}}").stdout.split() == ["lost"]


def test_the_doctor_tells_the_remedy_and_changes_nothing(podman: Podman, tmp_path: Path) -> None:
    podman.kill()
    if podman.says("ps").returncode == 0:
        return
    done = call(tmp_path, "doctor", env=podman.env)
    assert "run `podman system migrate`" in done.stdout
    assert podman.says("ps").returncode
