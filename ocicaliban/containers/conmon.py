"""What conmon, which watches a container, leaves in files: it works on when podman is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from ocicaliban.containers import runtime_folder
from ocicaliban.system.arrivals import Arrivals


@frozen(kw_only=True)
class WrittenExit:
    """An exit code, and when conmon wrote it, in seconds since 1970."""

    code: int
    time: float


class WrittenExits:
    """Keeps what conmon writes about the ends of this user's containers, from the moment that this is made.

    A podman that is killed between starting a container and saving that takes the container for one that never began.
    Such a container's end is in no other place, and podman 4.3 removes the file tens of milliseconds later (`podman
    container cleanup`, which conmon calls). So a thread waits for these files and does nothing else. conmon writes them
    for that purpose.
    """

    def __init__(self) -> None:
        self._ends: dict[str, WrittenExit] = {}
        self._arrivals = Arrivals(_folder(), self._keep)

    def take(self, container: str) -> WrittenExit | None:
        """Return the end of the container with this full id, and forget it; None if conmon has written none."""
        return self._ends.pop(container, None) or written_exit(container)

    def forget(self, container: str) -> None:
        """Forget the end of a container that is known from podman."""
        self._ends.pop(container, None)

    def close(self) -> None:
        """Keep no more ends."""
        self._arrivals.close()

    def _keep(self, path: Path) -> None:
        if end := _read(path):
            self._ends[path.name] = end


def written_exit(container: str) -> WrittenExit | None:
    """Return the end of the container with this full id as conmon wrote it down; None if there is no such file."""
    return _read(_folder() / container)


def end_waiting(container: str) -> None:
    """End what waits for the start of a container that never began and is removed: its conmon, and the runtime.

    A podman that is killed while it makes a container leaves them behind, and they wait for ever. `container` is the
    full id.
    """
    for _ in range(_LOOKS):
        found = [*_makers(container)]
        if not found:
            return
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_PAUSE)  # one that was just making another one may have done so


def running_process(container: str) -> int:
    """Return the first process of a container that was started, and runs, whatever podman knows; 0 if there is none.

    A podman that is killed between starting a container and saving that takes it for one that was never started.
    `container` is the full id.
    """
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if os.path.basename(words[0]) != b"conmon" or container.encode() not in words:
                continue
            pid = int(Path(os.fsdecode(words[words.index(b"-p") + 1])).read_text())
            process = Path("/proc", str(pid))
            # Until the start, this is still the runtime: crun's command line has the container's id, runc its own name.
            waits = container.encode() in (process / "cmdline").read_bytes()
            if not waits and not (process / "comm").read_text().startswith("runc:["):
                return pid
    return 0


def end_forsaken() -> None:
    """End what watches containers of our jobs that are gone, in all stores of this user.

    It is what `end_waiting` would have ended, had its process not been killed at that moment.
    """
    if not [*_forsaken()]:
        return
    time.sleep(_WINDING_UP)  # a conmon whose container was just removed ends by itself
    for pid, container in _forsaken():
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
        end_waiting(container)


def _forsaken() -> Iterator[tuple[int, str]]:
    """Yield the conmons of our containers whose folders are gone, with the containers' ids."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            words = os.fsdecode((entry / "cmdline").read_bytes()).split("\0")
            if os.path.basename(words[0]) != "conmon" or entry.stat().st_uid != os.geteuid():
                continue
            container, name, bundle = (words[words.index(option) + 1] for option in ("-c", "-n", "-b"))
            # As conmon sees it: podman's store may be mounted for podman alone.
            if name.startswith("ocicaliban-") and _is_gone(f"{entry}/root{bundle}"):
                yield int(entry.name), container


def _is_gone(path: str) -> bool:
    try:
        os.stat(path)
    except FileNotFoundError:
        return True
    return False


_WINDING_UP = 0.5
_LOOKS = 20
_PAUSE = 0.01


def _makers(container: str) -> Iterator[int]:
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if os.path.basename(words[0]) in (b"conmon", b"crun", b"runc") and container.encode() in words:
                yield int(entry.name)


def _read(path: Path) -> WrittenExit | None:
    try:
        with path.open(encoding="ascii") as file:  # once opened, it may be removed
            return WrittenExit(code=int(file.read()), time=os.fstat(file.fileno()).st_mtime)
    except (OSError, ValueError):
        return None


def _folder() -> Path:
    """Return the folder `exits` below libpod's `tmp_dir` (containers.conf(5))."""
    if not os.geteuid():
        return Path("/run/libpod/exits")
    return runtime_folder.find() / "libpod" / "tmp" / "exits"
