"""Reports when containers end, by the processes in them: the kernel says when one ends.

podman's own ways take longer, and more of the processor: events in a file are polled every 250 ms, and `wait` waits for
a process of podman's that cleans up.
"""

from __future__ import annotations

import contextlib
import os
import queue
import selectors
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from ocicaliban.containers import conmon
from ocicaliban.containers.podman_api import PodmanApi, PodmanApiError
from ocicaliban.errors import OcicalibanError
from ocicaliban.targets.container_runner import ContainerExit
from ocicaliban.targets.local import listing

_NEVER_BEGAN = ("created", "initialized")
"""podman's words for a container that has not started, as far as podman knows."""
_PATIENCE = 10.0
"""Seconds from the end of a container's process until its exit code must be known."""


class ExitWatcher:
    """Hands the end of each container to `on_exit`, from a thread of its own. `on_exit` must not raise."""

    def __init__(self, service: PodmanApi, on_exit: Callable[[ContainerExit], None]) -> None:
        self._service = service
        self._on_exit = on_exit
        self._new: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._written = conmon.WrittenExits()
        self._selector = selectors.DefaultSelector()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, handle: str) -> None:
        """Report the end of a container that runs, or has run."""
        self._new.put(handle)
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Report no more ends."""
        self._new.put(None)
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        self._written.close()
        for key in [*self._selector.get_map().values()]:
            os.close(key.fd)
        self._selector.close()

    def _run(self) -> None:
        asked: dict[str, _Asked] = {}
        while True:
            for key, _ in self._selector.select(_pause(asked)):
                if key.fd == self._wake:
                    os.eventfd_read(self._wake)
                    continue
                self._selector.unregister(key.fd)
                os.close(key.fd)
                asked[key.data] = _Asked(since=time.monotonic(), over=True)
            while not self._new.empty():
                handle = self._new.get()
                if handle is None:
                    return
                asked[handle] = _Asked(since=time.monotonic())
            for handle, about in [*asked.items()]:
                answer = self._ask(handle, about)
                if answer is None:
                    continue
                del asked[handle]
                if isinstance(answer, ContainerExit):
                    self._on_exit(answer)

    def _ask(self, handle: str, about: _Asked) -> ContainerExit | int | None:
        """Return the container's end, or the file descriptor by which the kernel will report it; None: ask again."""
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        try:
            inspected = self._service.call("get", f"/containers/{handle}/json")
        except PodmanApiError as fault:
            return ContainerExit(handle=handle, ended=time.time()) if fault.status == 404 else None
        except OcicalibanError:
            return None
        state = inspected["State"]
        ended = listing.exit_of(handle, state)
        if ended is not None:
            self._written.forget(inspected.get("Id", ""))
            return ended
        fd = None
        if not about.over:
            with contextlib.suppress(OSError):  # too many open files: then podman is asked again and again
                fd = process_descriptor(state["Pid"], now)
        if fd is not None:
            self._selector.register(fd, selectors.EVENT_READ, handle)
            return fd
        if state["Status"] in _NEVER_BEGAN and (written := self._written.take(inspected["Id"])):
            return ContainerExit(handle=handle, exit_code=written.code, ended=written.time)
        if time.monotonic() - about.since > _PATIENCE and not _conmon_lives(inspected):
            return ContainerExit(handle=handle, ended=time.time())  # conmon was killed, and the exit code with it
        return None


@frozen
class _Asked:
    """A container that has ended or never ran: since when that is so, and whether the kernel said so."""

    since: float
    over: bool = False


def _pause(asked: Mapping[str, _Asked]) -> float | None:
    """Return the seconds until the next question: few at first, since conmon takes a few milliseconds."""
    if not asked:
        return None
    since = max(about.since for about in asked.values())
    return min(max((time.monotonic() - since) / 4, 0.002), 0.25)


def process_descriptor(pid: int, now: float) -> int | None:
    """Return a file descriptor that is readable once this process has ended.

    Return None if it has ended, or if a process that began after `now` (seconds since boot) has its number.
    """
    if not pid:
        return None
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # Fields 3 and on come after the name, which may contain spaces; the 22nd is the start (proc(5)).
            born = int(file.read().rpartition(b")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return fd  # it has just ended
    if born <= now:
        return fd
    os.close(fd)  # another process has got the number
    return None


def _conmon_lives(inspected: Mapping[str, Any]) -> bool:
    try:
        with open(inspected["ConmonPidFile"], encoding="ascii") as file:
            pid = int(file.read())
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            return str(inspected["Id"]) in file.read()
    except (OSError, ValueError, KeyError):
        return False
