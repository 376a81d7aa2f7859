"""Folders for work in progress, and what a killed process leaves of them."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

import pytest

from ocicaliban.containers import buildah, workspace
from ocicaliban.errors import ToolError
from ocicaliban.system import files, process


@pytest.fixture
def removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A cache of our own; the working containers that buildah is told to remove."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names: list[str] = []

    def remove(name: str) -> None:
        names.append(name)
        raise ToolError("there is none")

    monkeypatch.setattr(buildah, "remove_container", remove)
    return names


def test_a_workspace_is_removed_at_its_end(removed: list[str]) -> None:
    with workspace.open_workspace() as folder, workspace.working_container(folder, "one"):
        assert [path.name for path in folder.glob("container-*")] == ["container-one"]
        assert os.get_inheritable(_descriptor(folder / "tools"))
        assert not os.get_inheritable(_descriptor(folder / "owner"))
    assert not folder.exists() and removed == ["one"]


def _descriptor(path: Path) -> int:
    """Our own file descriptor of a path."""
    descriptors = {os.path.realpath(each): int(each.name) for each in Path("/proc/self/fd").iterdir()}
    return descriptors[str(path)]


def test_what_a_killed_process_left_is_removed_and_what_is_in_use_stays(removed: list[str]) -> None:
    with workspace.open_workspace() as mine:
        dead = files.work() / "build-dead"
        dead.mkdir()
        (dead / "container-two").touch()
        workspace.remove_leftovers()
        assert mine.exists() and not dead.exists() and removed == ["two"]


def test_a_folder_stays_while_a_tool_of_a_killed_process_works(
    removed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "_TIMEOUT", 0.1)
    dead = files.work() / "build-dead"
    dead.mkdir(parents=True)
    with (dead / "tools").open("w") as tools:
        fcntl.flock(tools, fcntl.LOCK_EX)
        workspace.remove_leftovers()
        assert dead.exists()
    workspace.remove_leftovers()
    assert not dead.exists()


def test_the_scratch_folder_goes_with_its_workspace(
    removed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def ok(argv: tuple[str, ...]) -> bool:
        asked.append(argv)
        return True

    monkeypatch.setattr(process, "ok", ok)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with workspace.open_workspace() as folder:
        made = workspace.scratch_folder(folder)
        assert made.stat().st_mode & 0o777 == 0o711
    # Its files may belong to sub-ids, so podman removes them.
    assert [argv[:4] for argv in asked] == [("podman", "unshare", "rm", "-rf")] and asked[0][-1] == str(made)


def test_the_second_of_two_waits(removed: list[str]) -> None:
    lock = files.cache() / "locks" / ("k" * 32)
    with workspace.exclusive("k" * 64), lock.open("w") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with lock.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_file_of_a_lock_is_removed_by_its_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with workspace.exclusive("k" * 64):
        assert [path.name for path in (files.cache() / "locks").iterdir()] == ["k" * 32]
    assert not [*(files.cache() / "locks").iterdir()]


def test_who_waited_for_a_removed_lock_takes_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = files.cache() / "locks" / "k"
    taken: list[int] = []

    def flock(file: IO[str], _: int) -> None:
        if not taken:
            path.unlink()  # as its holder does, between our open and our lock
            path.touch()
        taken.append(os.fstat(file.fileno()).st_ino)

    monkeypatch.setattr(fcntl, "flock", flock)
    with workspace.exclusive("k"):
        assert path.stat().st_ino == taken[-1]
    assert len(taken) == 2 and not path.exists()
