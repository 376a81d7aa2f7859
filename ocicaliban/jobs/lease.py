"""The lease of a submission: at most one process at a time works on its jobs.

A lease is a lock on a file in the user's state folder. The system releases it with the process, so a killed process
leaves a file that nobody has locked.
"""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

from ocicaliban.errors import UsageError
from ocicaliban.model.job import Submission
from ocicaliban.system import files, locks

ENDING = 3.0
"""Seconds to wait for a process that is about to release its lease, or that only looks at the jobs."""

_PATIENCE = 1.0
_PAUSE = 0.05


def _lock_file(submission: Submission) -> Path:
    # The time distinguishes submissions of two histories, which may have the same number.
    return files.state() / "submissions" / f"{submission.id}-{int(submission.created * 1000)}.lock"


@contextlib.contextmanager
def held(submission: Submission) -> Iterator[None]:
    """Hold the lease of a submission. Raises UsageError when another process holds it."""
    path = _lock_file(submission)
    files.make_folder(path.parent)
    until = time.monotonic() + _PATIENCE
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locks.held(path, wait=False))
                break
            except BlockingIOError as fault:
                if time.monotonic() > until:  # `is_held` locks the file for a moment
                    hint = f"`ocicaliban status --group {submission.group} --watch` shows it"
                    raise UsageError(f"another ocicaliban runs these jobs of '{submission.group}'", hint) from fault
            time.sleep(_PAUSE)
        yield


def is_held(submission: Submission, patience: float = 0.0) -> bool:
    """Return whether a process on this machine holds the lease, and still does after `patience` seconds."""
    until = time.monotonic() + patience
    while True:
        try:
            with _lock_file(submission).open("rb") as file:
                if locks.taken(file, fcntl.LOCK_SH):
                    return False
        except FileNotFoundError:
            return False
        if time.monotonic() >= until:
            return True
        time.sleep(_PAUSE)


def was_abandoned(submission: Submission) -> bool:
    """Return whether the last process that held the lease was killed before it could release it."""
    return _lock_file(submission).exists() and not is_held(submission)
