"""Stop jobs, wherever they run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from ocicaliban.model.job import Job
from ocicaliban.reporter import SILENT, Reporter
from ocicaliban.targets import registry

if TYPE_CHECKING:
    from ocicaliban.history.access import History


def stop(history: History, jobs: Sequence[Job], reporter: Reporter, waits: Reporter = SILENT) -> Iterator[Job]:
    """Stop those of the jobs that have not ended, and yield each one that was stopped.

    `reporter` gets a line for each job that cannot be stopped. `waits` gets a line before this waits for requests that
    are on their way.
    """
    queued = frozenset(job.id for job in jobs if job.status == "queued")
    withdrawn = frozenset(history.stop_queued(job.id for job in jobs))
    yield from (job for job in jobs if job.id in withdrawn)
    rest = [job.id for job in jobs if job.id not in withdrawn]
    for backend, some in registry.by_backend(history.jobs(ids=rest) if rest else ()):
        yield from backend.cancel(history, some, reporter)
    for backend, some in registry.by_backend(job for job in jobs if job.id in withdrawn & queued):
        if backend.capabilities.schedules_itself:
            # The process that submits them does the same, unless it is killed meanwhile.
            backend.cancel_ended(history, some, reporter, wait=waits)


def stop_rest(history: History, jobs: Iterable[Job], reporter: Reporter, *, dry_run: bool = False) -> tuple[Job, ...]:
    """Stop what still runs of jobs that have ended by the record, and return those jobs.

    This happens if an earlier `stop` was killed. `reporter` gets a line for each job that cannot be stopped. A dry run
    stops nothing, and asks no service.
    """
    stopped: list[Job] = []
    for backend, some in registry.by_backend(jobs):
        stopped += backend.cancel_ended(history, some, reporter, dry_run=dry_run)
    return tuple(stopped)
