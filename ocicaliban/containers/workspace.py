"""Private folders for work under way, which say what to clean up should their process be killed."""

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
from typing import IO

from ocicaliban.errors import ToolError
from ocicaliban.system import files, process

_PATIENCE = 60.0
"""Seconds to wait for the last tool of a killed build; a commit of some gigabytes takes that long."""


@contextlib.contextmanager
def open_one() -> Iterator[Path]:
    """A private folder, removed at the end; what killed processes left is removed first.

    Two locks tell later commands of it: `owner` is held by this process alone, `tools` by the tools that it starts as
    well, so that nobody clears up while a killed build's last tool is still at work.
    """
    sweep()
    files.work().mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        with _alone():
            # A sweep between making the folder and locking it would take it for a dead one.
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
def only_one(key: str) -> Iterator[None]:
    """Hold the lock of a layer's or a base's key: of two builds that want it, one makes it and the other finds it.

    What is not built but may be done by one of us at a time has a word in place of the key.
    """
    folder = files.cache() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / key[:32]).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def working_container(folder: Path, name: str) -> Iterator[None]:
    """Note in `folder` that the working container `name` is about to be made; removes it at the end."""
    note = folder / f"container-{name}"
    note.touch()
    try:
        yield
    finally:
        _remove(name)
        note.unlink(missing_ok=True)


def scratch(folder: Path) -> Path:
    """A folder for temporary files that a tool's user namespace can reach, which a home mostly is not; goes with
    `folder`, whoever of the user's sub-ids its files belong to.
    """
    made = Path(tempfile.mkdtemp(prefix="ocicaliban-"))
    (folder / "scratch").symlink_to(made)
    made.chmod(0o711)
    return made


def sweep() -> None:
    """Remove what killed processes left behind: their folders and working containers."""
    if not any(files.work().glob("build-*")):
        return
    with contextlib.ExitStack() as stack:
        dead: list[Path] = []
        with _alone():
            for folder in files.work().glob("build-*"):
                with contextlib.suppress(FileNotFoundError):
                    owner = stack.enter_context((folder / "owner").open("a"))
                    if _locked(owner):
                        dead.append(folder)
        for folder in dead:
            _kill_users_of(folder)
            with (folder / "tools").open("a") as tools:
                if _within(_PATIENCE, functools.partial(_locked, tools)):
                    _clear(folder)


def _locked(file: IO[str]) -> bool:
    """Take the lock of a file, if nobody holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


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
    with contextlib.suppress(ToolError):  # there is none, when the kill came before it was made
        process.run(("buildah", "rm", container), whole=True)


def _kill_users_of(folder: Path) -> None:
    """Kill what works for a dead process: mmdebstrap, asked to end while it makes a root, waits for ever."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if os.fsencode(f"{folder}/") in path.read_bytes():
                os.kill(int(path.parent.name), signal.SIGKILL)
