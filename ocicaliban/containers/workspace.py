"""Private folders for work in progress; they record what to clean up if their process is killed."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ocicaliban.containers import buildah
from ocicaliban.errors import ToolError
from ocicaliban.system import files, locks, process

_TIMEOUT = 60.0
"""Seconds to wait for the last tool of a killed build; a commit of a few gigabytes takes that long."""


@contextlib.contextmanager
def open_workspace() -> Iterator[Path]:
    """Make a private folder, removed at the end; leftovers of killed processes are removed first.

    Two locks protect it: `owner` is held by this process alone, `tools` also by the tools that it starts. So nobody
    cleans up while the last tool of a killed build is still working.
    """
    remove_leftovers()
    files.work().mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        with _alone():
            # Another process that cleaned up between mkdtemp and flock would take the folder for an abandoned one.
            folder = Path(tempfile.mkdtemp(prefix="build-", dir=files.work()))
            for name in ("owner", "tools"):
                lock = stack.enter_context((folder / name).open("w"))
                fcntl.flock(lock, fcntl.LOCK_EX)
            os.set_inheritable(lock.fileno(), True)
        try:
            yield folder
        finally:
            _clear(folder)


@contextlib.contextmanager
def exclusive(key: str) -> Iterator[None]:
    """Hold the lock of a layer's or base's key: of two builds that need it, one makes it and the other finds it.

    For other work that only one process may do at a time, `key` is a word.
    """
    folder = files.cache() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with locks.held(folder / key[:32]):
        yield


@contextlib.contextmanager
def working_container(folder: Path, name: str) -> Iterator[None]:
    """Note in `folder` that the working container `name` is about to be made; remove it at the end."""
    note = folder / f"container-{name}"
    note.touch()
    try:
        yield
    finally:
        _remove(name)
        note.unlink(missing_ok=True)


def scratch_folder(folder: Path) -> Path:
    """Make a folder for temporary files that a tool's user namespace can reach, which a home usually is not.

    It is removed together with `folder`, whichever of the user's subordinate ids own its files.
    """
    made = Path(tempfile.mkdtemp(prefix="ocicaliban-"))
    (folder / "scratch").symlink_to(made)
    made.chmod(0o711)
    return made


def remove_leftovers() -> None:
    """Remove the folders and working containers that killed processes left behind."""
    if not any(files.work().glob("build-*")):
        return
    with contextlib.ExitStack() as stack:
        dead: list[Path] = []
        with _alone():
            for folder in files.work().glob("build-*"):
                with contextlib.suppress(FileNotFoundError):
                    owner = stack.enter_context((folder / "owner").open("a"))
                    if locks.taken(owner):
                        dead.append(folder)
        for folder in dead:
            _kill_users_of(folder)
            with (folder / "tools").open("a") as tools:
                if _within(_TIMEOUT, functools.partial(locks.taken, tools)):
                    _clear(folder)


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    with (files.work() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _clear(folder: Path) -> None:
    for note in folder.glob("container-*"):
        _remove(note.name.removeprefix("container-"))
    made = folder / "scratch"
    if made.is_symlink():
        process.ok(("podman", "unshare", "rm", "-rf", "--one-file-system", os.readlink(made)))
    shutil.rmtree(folder, ignore_errors=True)


def _remove(container: str) -> None:
    with contextlib.suppress(ToolError):  # there is none if the kill came before it was made
        buildah.remove_container(container)


def _kill_users_of(folder: Path) -> None:
    """Kill the tools of a dead process: mmdebstrap, if asked to end while it makes a root folder, waits forever."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if os.fsencode(f"{folder}/") in path.read_bytes():
                os.kill(int(path.parent.name), signal.SIGKILL)
