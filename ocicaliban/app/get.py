"""Copy what jobs have written to /out into a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ocicaliban.app import selection
from ocicaliban.errors import UsageError
from ocicaliban.execution import reconcile
from ocicaliban.reporter import TERMINAL
from ocicaliban.targets import registry


def get(word: str, folder: str) -> Iterator[Path]:
    """Copy the results of a job or of a group, and yield the folder of each job.

    A job's results go to `folder`, those of a group's jobs into folders in it; by default to ./GROUP/NUMBER. Raises
    UsageError if there is no such job or group, OcicalibanError if results are out of reach.
    """
    from ocicaliban.history import access

    with access.open(reporter=TERMINAL) as history:
        reconcile.catch_up(history, TERMINAL)
        jobs = selection.named(history, word)
    alone = len(jobs) == 1 and (word.isdecimal() or word in ("", selection.LAST))
    copied = 0
    for job in jobs:
        above = Path(os.path.expanduser(folder)) if folder else Path(job.submission.group)
        to = above if alone and folder else above / str(job.id)
        if not job.out and not alone:
            continue  # it was never started
        registry.backend(job.submission.target).copy_results(job, to)
        copied += 1
        yield to
    if not copied:
        raise UsageError("these jobs have no results yet", f"ocicaliban status {jobs[0].submission.group}")
