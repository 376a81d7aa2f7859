"""Copy what jobs have written to /out into a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ocicaliban.app import selection
from ocicaliban.errors import OcicalibanError, UsageError, is_about_room, of_system
from ocicaliban.execution import reconcile
from ocicaliban.model.job import Job
from ocicaliban.reporter import TERMINAL
from ocicaliban.targets import registry


def get(word: str, folder: str) -> Iterator[Path]:
    """Copy the results of a job or of a group, and yield the folder of each job.

    A job's results go to `folder`, those of a group's jobs into folders in it; by default to ./GROUP/NUMBER. In a group
    a job whose results are out of reach hinders no other, and what was copied before stays as it is: a note tells of
    each. Raises UsageError if there is no such job or group, OcicalibanError if results are out of reach, of a group
    when all others are copied.
    """
    from ocicaliban.history import access

    with access.open(reporter=TERMINAL) as history:
        reconcile.catch_up(history, TERMINAL)
        jobs = selection.named(history, word)
    if len(jobs) == 1 and (word.isdecimal() or word in ("", selection.LAST)):
        [job] = jobs
        yield _copied(job, Path(os.path.expanduser(folder)) if folder else _usual(job))
        return
    jobs = tuple(job for job in jobs if job.out)  # the others were never started
    if not jobs:
        raise UsageError("these jobs have no results yet", f"ocicaliban status {word}")
    missing = []
    for job in jobs:
        to = Path(os.path.expanduser(folder)) / str(job.id) if folder else _usual(job)
        try:
            if to.is_dir() and not to.is_symlink() and any(to.iterdir()):
                TERMINAL.note(f"{to} exists already, and stays as it is")
                continue
            _copied(job, to)
        except (OcicalibanError, OSError) as fault:
            ours = of_system(fault) if isinstance(fault, OSError) else fault
            if is_about_room(ours):
                raise
            TERMINAL.note(ours.message)
            missing.append(str(job.id))
        else:
            yield to
    if missing:
        many = f"jobs {', '.join(missing)}" if len(missing) > 1 else f"job {missing[0]}"
        raise OcicalibanError(f"the results of {many} were not copied", "the notes above say why")


def _usual(job: Job) -> Path:
    return Path(job.submission.group) / str(job.id)


def _copied(job: Job, to: Path) -> Path:
    registry.backend(job.submission.target).copy_results(job, to)
    return to
