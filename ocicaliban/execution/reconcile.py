"""Record what has become of jobs while no process of ours waited for them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve

from ocicaliban.containers import disk_use
from ocicaliban.errors import OcicalibanError, is_about_room, of_system
from ocicaliban.jobs import group_names, lease, lifecycle, log_file, provenance, records, run_journal
from ocicaliban.model.job import UNDER_WAY, Attempt, Job, Status, Submission
from ocicaliban.reporter import SILENT, TERMINAL, Reporter
from ocicaliban.targets import registry

if TYPE_CHECKING:
    from ocicaliban.history.access import History

_UNFINISHED: frozenset[Status] = UNDER_WAY | {"queued"}


def catch_up(history: History, reporter: Reporter = SILENT, *, group: str = "", ids: Sequence[int] = ()) -> None:
    """Record what has become of our jobs since somebody last looked.

    Services are asked only about the jobs of the `group`, or with these `ids`, if given. `reporter` gets a line if a
    service does not answer.
    """
    still_running = take_journal(history)
    for name in registry.names():
        if not history.jobs(target=name, statuses=_UNFINISHED, user=provenance.user(), newest=1):
            continue  # the common case; the backend need not be imported
        if registry.batch_backend(name):
            # Queued jobs are submitted by another process. If that was killed, the service may have them all the same.
            jobs = history.jobs(target=name, statuses=_UNFINISHED, user=provenance.user(), group=group, ids=ids)
            jobs = tuple(job for job in jobs if job.status != "queued" or _unattended(job.submission))
        else:
            jobs = history.jobs(target=name, statuses=UNDER_WAY, user=provenance.user())
            jobs = tuple(job for job in jobs if job.key not in still_running)
        if jobs:
            registry.backend(name).observe(history, jobs, reporter)


def catch_up_if_room(history: History, *, group: str = "", ids: Sequence[int] = ()) -> None:
    """Catch up as far as the disk allows: what is on record can be shown all the same, with a warning."""
    with _as_far_as_room():
        catch_up(history, TERMINAL, group=group, ids=ids)


def take_journal_if_room(history: History) -> None:
    """Record the single runs that the history does not have yet, as far as the disk allows."""
    with _as_far_as_room():
        take_journal(history)


@contextlib.contextmanager
def _as_far_as_room() -> Iterator[None]:
    try:
        yield
    except (OcicalibanError, OSError) as fault:
        ours = of_system(fault) if isinstance(fault, OSError) else fault
        if not is_about_room(ours):
            raise
        told = disk_use.explained(ours)
        TERMINAL.warning(f"{told.message}, so this may be out of date; {told.hint}")


def take_journal(history: History) -> frozenset[str]:
    """Record the single runs that the history does not have yet, and return the keys of those that still run."""
    still_running = set()
    for value, goes_on in run_journal.taken():
        job = from_journal(value, goes_on)
        if job is None:
            continue
        if goes_on:
            still_running.add(job.key)
        history.record(job)
        if not goes_on and job.last and job.last.log:
            with contextlib.suppress(OSError):  # what shows logs can read conmon's form too
                log_file.plain(job.last.log)
    return frozenset(still_running)


def from_journal(value: dict[str, Any], goes_on: bool) -> Job | None:
    """Return a single run from its record in the journal; None for a record of another form."""
    try:
        submission = records.submission_from_record(value["submission"])
        began, exit_code = float(value["started"]), value.get("exit_code")
        ended = None if goes_on else float(value.get("ended") or 0) or None
        args, key, handle = tuple(map(str, value["args"])), str(value["key"]), str(value["handle"])
    except (KeyError, TypeError, ValueError):
        return None
    reason = lifecycle.why_failed(exit_code) if ended else ""
    status: Status = "running" if not ended else "failed" if reason else "succeeded"
    attempt = Attempt(
        number=1,
        handle=handle,
        status=status,
        started=began,
        ended=ended,
        exit_code=exit_code,
        reason=reason,
        log=str(value.get("log", "")),
    )
    group = submission.group or group_names.of_single_runs(Path(submission.project))
    whole = evolve(
        submission, group=group, created=began, commit=value.get("commit", ""), dirty=bool(value.get("dirty"))
    )
    out = str(value.get("out", ""))
    return Job(id=0, key=key, submission=whole, args=args, status=status, out=out, attempts=(attempt,))


def unattended(jobs: Iterable[Job]) -> frozenset[int]:
    """Return the submissions with jobs that are queued on this machine, and that no process works on."""
    waiting = {job.submission.id: job.submission for job in jobs if job.status == "queued"}
    return frozenset(one.id for one in waiting.values() if _unattended(one))


def _unattended(submission: Submission) -> bool:
    return submission.host == provenance.host() and not lease.is_held(submission)


def log(
    job: Job,
    attempt: Attempt,
    goes_on: Callable[[], bool] | None = None,
    reporter: Reporter = SILENT,
) -> Iterator[bytes]:
    """Yield what the job wrote in that attempt, and what it writes as long as `goes_on` returns True.

    `reporter` gets a note if a service does not answer yet. Raises UsageError if the log is not within reach, and
    OcicalibanError if the service refuses.
    """
    return registry.backend(job.submission.target).logs(job, attempt, goes_on, reporter)
