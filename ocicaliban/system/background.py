"""Run tools in the background: one that waits for something, or a service."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ocicaliban.system import process


@contextlib.contextmanager
def waiting(argv: Sequence[str]) -> Iterator[Callable[[float | None], bool]]:
    """Start a tool that waits for something, and end it when the context ends.

    The yielded function waits so many seconds (None: forever) and returns whether the tool has ended. A Ctrl-C at the
    terminal does not reach the tool.
    """
    process.tool(argv[0])
    end_with_parent = process.ends_with_us()
    # An exception of a signal handler is lost while Python forks: signals must wait until the fork is done.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))

    def begin() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        end_with_parent()

    try:
        child = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=begin,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def ended(limit: float | None) -> bool:
        try:
            child.wait(limit)
        except subprocess.TimeoutExpired:
            return False
        return True

    try:
        yield ended
    finally:
        child.terminate()
        child.wait()


def left_running(argv: Sequence[str]) -> None:
    """Start a program that goes on after us, and return when it has printed a line, or has ended."""
    child = subprocess.Popen(
        list(argv),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert child.stdout
    with child.stdout as said:
        said.readline()
    child.returncode = 0  # Python must not take it for one that was forgotten


class BackgroundProcess:
    """A tool that works for us until it is stopped; its stderr goes to the file `log`, and `env` to its environment.

    It has its own session, so that a Ctrl-C at the terminal does not reach it, and it does not end with the thread that
    started it. If we are killed, it must end by itself.
    """

    def __init__(self, argv: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
        process.tool(argv[0])
        with open(log, "wb") as file:
            self._child = subprocess.Popen(
                list(argv),
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file,
                start_new_session=True,
            )

    def ended(self, limit: float) -> bool:
        """Wait `limit` seconds; return whether the process has ended."""
        try:
            self._child.wait(limit)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """End the process and its process group, and wait for it."""
        for number, limit in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
            if self._child.poll() is None:
                # `podman unshare` forwards no signal (see `cgroups.in_cgroup2`).
                os.killpg(self._child.pid, number)
                self.ended(limit)
