"""Private folders for work under way, which say what to clean up should their process be killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ocicaliban import paths, proc


@contextlib.contextmanager
def open_one() -> Iterator[Path]:
    """A private folder, removed at the end; what killed processes left is removed first.

    The folder's lock tells later commands whether its process still lives.
    """
    sweep()
    paths.work().mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        with _alone():
            # A sweep between making the folder and locking it would take it for a dead one.
            folder = Path(tempfile.mkdtemp(prefix="build-", dir=paths.work()))
            lock = stack.enter_context((folder / "lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            _clear(folder)


@contextlib.contextmanager
def only_one(key: str) -> Iterator[None]:
    """Hold the lock of a layer's or a base's key: of two builds that want it, one makes it and the other finds it."""
    folder = paths.cache() / "locks"
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
        proc.ok(("buildah", "rm", name))
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
    if not paths.work().is_dir():
        return
    with _alone():
        for folder in paths.work().glob("build-*"):
            with contextlib.suppress(FileNotFoundError), (folder / "lock").open("a") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                _kill_users_of(folder)
                _clear(folder)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    with (paths.work() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _clear(folder: Path) -> None:
    for note in folder.glob("container-*"):
        proc.ok(("buildah", "rm", note.name.removeprefix("container-")))
    made = folder / "scratch"
    if made.is_symlink():
        proc.ok(("podman", "unshare", "rm", "-rf", "--one-file-system", os.readlink(made)))
    shutil.rmtree(folder, ignore_errors=True)


def _kill_users_of(folder: Path) -> None:
    """Kill what works for a dead process: mmdebstrap, asked to end while it makes a root, waits for ever."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if os.fsencode(f"{folder}/") in path.read_bytes():
                os.kill(int(path.parent.name), signal.SIGKILL)
