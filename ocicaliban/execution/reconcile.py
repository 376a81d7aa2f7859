"""Record what has become of jobs while no process of ours waited for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import evolve, fields

from ocicaliban.errors import UsageError
from ocicaliban.execution import runner as sweep
from ocicaliban.jobs import group_names, provenance, run_journal
from ocicaliban.model.job import UNDER_WAY, Attempt, Job, Status, Submission
from ocicaliban.reporter import SILENT, Reporter
from ocicaliban.targets import registry

if TYPE_CHECKING:
    from ocicaliban.history.access import History

T = TypeVar("T")

_UNFINISHED: frozenset[Status] = UNDER_WAY | {"queued"}


def catch_up(history: History, reporter: Reporter = SILENT, *, group: str = "", ids: Sequence[int] = ()) -> None:
    """Record what has become of our jobs since somebody last looked.

    Services are asked only about the jobs of the `group`, or with these `ids`, if given. `reporter` gets a line if a
    service gives no answer.
    """
    under_way = _take_journal(history)
    for name in registry.names():
        if not history.jobs(target=name, statuses=_UNFINISHED, user=provenance.user(), newest=1):
            continue  # the common case; the backend need not be imported
        if registry.batch_backend(name):
            # Queued jobs are submitted by another process. If that was killed, the service may have them all the same.
            jobs = history.jobs(target=name, statuses=_UNFINISHED, user=provenance.user(), group=group, ids=ids)
            jobs = tuple(job for job in jobs if job.status != "queued" or _left(job.submission))
        else:
            jobs = history.jobs(target=name, statuses=UNDER_WAY, user=provenance.user())
            jobs = tuple(job for job in jobs if job.key not in under_way)
        if jobs:
            registry.backend(name).observe(history, jobs, reporter)


def _take_journal(history: History) -> frozenset[str]:
    """Record the single runs of the journal, and return the keys of those that still run."""
    under_way = set()
    for value, goes_on in run_journal.taken():
        job = from_journal(value, goes_on)
        if job is None:
            continue
        if goes_on:
            under_way.add(job.key)
        history.record(job)
    return frozenset(under_way)


def _left(submission: Submission) -> bool:
    """Return whether a submission was begun on this machine, and no process works on it any more."""
    return submission.host == provenance.host() and not sweep.is_run(submission)


def from_journal(value: dict[str, Any], goes_on: bool) -> Job | None:
    """A single run as its file tells it; None for a file of another form."""
    try:
        submission = structured(value["submission"], Submission)
        began, exit_code = float(value["started"]), value.get("exit_code")
        ended = None if goes_on else float(value.get("ended") or 0) or None
        args, key, handle = tuple(map(str, value["args"])), str(value["key"]), str(value["handle"])
    except (KeyError, TypeError, ValueError):
        return None
    reason = sweep.why(exit_code) if ended else ""
    status: Status = "running" if not ended else "failed" if reason else "succeeded"
    attempt = Attempt(
        number=1, handle=handle, status=status, started=began, ended=ended, exit_code=exit_code, reason=reason
    )
    group = submission.group or group_names.new(Path(submission.project))
    whole = evolve(
        submission, group=group, created=began, commit=value.get("commit", ""), dirty=bool(value.get("dirty"))
    )
    return Job(id=0, key=key, submission=whole, args=args, status=status, attempts=(attempt,))


def structured(raw: object, cls: type[T]) -> T:
    """What was written as JSON by us, as the type that it was. Raises ValueError for what is none."""
    import cattrs

    converter = cattrs.Converter()
    converter.register_structure_hook_func(lambda kind: kind is object, lambda value, _: value)
    try:
        return converter.structure(raw, cls)
    except (cattrs.BaseValidationError, TypeError, KeyError) as exc:
        raise ValueError(str(exc)) from exc


def _field_names(cls: type) -> frozenset[str]:
    return frozenset(field.name for field in fields(cls))


def told(made: Submission, cls: type[T], part: str = "") -> T:
    """What a submission was told, from its options or a `part` of them, as an attrs class; others' fields are left out.

    Raises UsageError where that is none any more: another version has written it.
    """
    held = made.options.get(part) if part else made.options
    try:
        if not isinstance(held, Mapping):
            raise ValueError(f"there is no {part}")
        return structured({name: value for name, value in held.items() if name in _field_names(cls)}, cls)
    except ValueError as exc:
        raise UsageError(
            f"{made.group} was begun by another version of ocicaliban, which wrote down other options",
            "go on with that version, or begin it anew",
        ) from exc


def unattended(jobs: Iterable[Job]) -> frozenset[int]:
    """The submissions of which jobs are queued here, and nobody is there to start them."""
    waiting = {job.submission.id: job.submission for job in jobs if job.status == "queued"}
    return frozenset(one.id for one in waiting.values() if _left(one))


def log(
    job: Job,
    attempt: Attempt,
    goes_on: Callable[[], bool] | None = None,
    reporter: Reporter = SILENT,
) -> Iterator[bytes]:
    """Yield what the job wrote in that attempt, and what it writes as long as `goes_on` returns True.

    `reporter` gets a note if a service gives no answer yet. Raises UsageError if the log is not within reach, and
    OcicalibanError if the service refuses.
    """
    return registry.backend(job.submission.target).logs(job, attempt, goes_on, reporter)
