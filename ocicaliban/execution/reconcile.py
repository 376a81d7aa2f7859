"""Brings the history up to what really is, for whoever looks at it: jobs whose starter is gone, logs, stopping."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import evolve

from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.execution import runner as sweep
from ocicaliban.jobs import group_names, log_file, provenance, run_journal
from ocicaliban.model.job import ENDED, UNDER_WAY, Attempt, Job, Status, Submission
from ocicaliban.reporter import SILENT, Reporter
from ocicaliban.system import process
from ocicaliban.targets.container_runner import Found
from ocicaliban.targets.local import runner
from ocicaliban.targets.vertex import rate_limit

if TYPE_CHECKING:
    from ocicaliban.history.access import History

T = TypeVar("T")

_EVERY = 1.0  # seconds
_GRACE = 10  # seconds, as `podman stop` gives


def catch_up(known: History, reporter: Reporter = SILENT, *, group: str = "", ids: Sequence[int] = ()) -> None:
    """Put on record what has happened to our jobs on this machine, and in the cloud, while nobody looked.

    Jobs whose container is gone are queued again, for `resume` to take up, or lost where that cannot be. `reporter`
    gets a
    line where the cloud gives no answer, which is asked only of the jobs of the `group`, or with the `ids`, if given.
    """
    under_way = set()
    for value, goes_on in run_journal.taken():
        job = _of_spool(value, goes_on)
        if job is None:
            continue
        if goes_on:
            under_way.add(job.key)
        known.record(job)
    far = known.jobs(target="vertex", statuses=UNDER_WAY | {"queued"}, user=provenance.user(), group=group, ids=ids)
    # What is queued is a matter of whoever submits it; where that was killed, the service may have it all the same.
    if far := tuple(job for job in far if job.status in UNDER_WAY or _left(job.submission)):
        from ocicaliban.targets.vertex import backend  # what it needs takes seconds to load

        backend.catch_up(known, far, reporter)
    near = known.jobs(target="local", statuses=UNDER_WAY, user=provenance.user())
    near = tuple(job for job in near if _here(job.submission))
    # Another look at the history may have put a run on record that had not begun when we read the files.
    alone = {job.key for job in near if provenance.alone(job.submission) and run_journal.kept(job.key)}
    left = [job for job in near if job.key not in under_way | alone and not sweep.is_run(job.submission)]
    if not left:
        return
    for submission in {job.submission.id: job.submission for job in left}.values():
        try:
            with sweep.owned(submission):
                # Only now that nobody else can be at it.
                labels = {"job": ""} if provenance.alone(submission) else {"submission": str(submission.id)}
                found = runner.find(**labels)
                for job in known.jobs(submission=submission.id, statuses=UNDER_WAY):
                    _settle(known, job, found)
        except UsageError:
            continue  # somebody took it up meanwhile


def _here(submission: Submission) -> bool:
    return submission.target == "local" and submission.host == provenance.host()


def _left(submission: Submission) -> bool:
    """Whether a submission was begun on this machine, and nobody is at it any more."""
    return submission.host == provenance.host() and not sweep.is_run(submission)


def _settle(known: History, job: Job, found: Mapping[str, Found]) -> None:
    """Put on record the end of a running job's attempt, if it has ended."""
    attempt = job.last
    if attempt is None:
        return
    there = found.get(attempt.handle)
    if there and there.state == "running":
        return
    if there is None or there.exit_code is None:
        # Without force: if it runs after all, or is just being started, nothing is lost.
        if there and not process.ok(("podman", "rm", attempt.handle)):
            return
        reason = sweep.why(None) if there is None or there.state != "created" else "it was never started"
        again = not provenance.alone(job.submission)
        known.end(job.id, attempt.number, "lost", reason=reason, ended=time.time(), again=again)
    else:
        if attempt.log:
            log_file.plain(attempt.log)
        reason = sweep.why(there.exit_code)
        status: Status = "failed" if reason else "succeeded"
        ended = there.ended or time.time()
        known.end(job.id, attempt.number, status, exit_code=there.exit_code, reason=reason, ended=ended)
        process.ok(("podman", "rm", "--force", "--time", "0", attempt.handle))


def _of_spool(value: dict[str, Any], goes_on: bool) -> Job | None:
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


def told(made: Submission, cls: type[T], part: str = "") -> T:
    """What a submission was told, from its options or a `part` of them, as an attrs class; others' fields are left out.

    Raises UsageError where that is none any more: another version has written it.
    """
    held = made.options.get(part) if part else made.options
    try:
        if not isinstance(held, Mapping):
            raise ValueError(f"there is no {part}")
        return structured({name: value for name, value in held.items() if name in cls.__annotations__}, cls)
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
    """What the job wrote in that attempt, and as long as it `goes_on` what it writes.

    `reporter` hears of a cloud that gives no answer yet. Raises UsageError where that is not kept here, and
    OcicalibanError
    where the cloud does not give it.
    """
    if job.submission.target == "vertex":
        from ocicaliban.targets.vertex import logs

        return logs.read(job, attempt, goes_on, reporter)
    if not _here(job.submission):
        raise UsageError(f"job {job.id} was run on {job.submission.host}", "its log is there")
    if not attempt.log:
        raise UsageError(
            f"what job {job.id} wrote went to the terminal that it was started from", "jobs of a sweep have a log each"
        )
    asked, answer = 0.0, goes_on is not None

    def ended() -> bool:
        nonlocal asked, answer
        if goes_on and answer and time.monotonic() - asked > _EVERY:
            asked, answer = time.monotonic(), goes_on()
        return not answer

    return log_file.follow(attempt.log, ended)


def stop(
    known: History,
    jobs: Sequence[Job],
    reporter: Reporter,
    waits: Reporter = SILENT,
) -> Iterator[Job]:
    """Stop those of the jobs that run or are queued, and tell each; `reporter` gets a line for each that cannot be.

    `waits` is told what it waits for, before it does.
    """
    unsent = {job.id for job in jobs if job.status == "queued" and job.submission.target == "vertex"}
    withdrawn = set(known.stop_queued(job.id for job in jobs))
    yield from (job for job in jobs if job.id in withdrawn)
    handles: list[str] = []
    stopped: list[Job] = []
    far: list[Job] = []
    rest = [job.id for job in jobs if job.id not in withdrawn]
    for job in known.jobs(ids=rest) if rest else ():
        if job.status not in UNDER_WAY or job.last is None:
            continue
        if job.submission.target == "vertex":
            far.append(job)
            continue
        if not _here(job.submission):
            reporter.say(f"job {job.id} runs on {job.submission.host}: stop it there")
            continue
        # On record first: by that whoever runs it tells it from a failure.
        if known.end(job.id, job.last.number, "stopped", reason=f"stopped by {provenance.user()}", ended=time.time()):
            handles.append(job.last.handle)
            stopped.append(job)
    if handles:
        _stop(handles)
    for job in stopped:
        _tidy(job)
        yield job
    if far:
        from ocicaliban.targets.vertex import backend

        yield from backend.cancel(known, far, reporter)
    if late := [job for job in jobs if job.id in withdrawn & unsent]:
        from ocicaliban.targets.vertex import backend

        # Whoever submits them does the same, if he is not killed meanwhile.
        waits.say(rate_limit.LOOKING)
        backend.cancel_late(known, late, reporter)


def stopped_unsent(job: Job) -> bool:
    """Whether a job was stopped before it was known to run: of one that ran there is an attempt that says so."""
    return job.status == "stopped" and not (job.last and job.last.status == "stopped")


def stop_rest(known: History, jobs: Iterable[Job], reporter: Reporter, *, dry_run: bool = False) -> tuple[Job, ...]:
    """Stop those of the jobs that are stopped by the record while they run, and return them.

    Whoever stopped them was killed before he could. `reporter` gets a line for each that cannot be stopped. In a dry
    run the
    cloud is not asked.
    """
    jobs = tuple(jobs)
    far = [job for job in jobs if job.submission.target == "vertex" and stopped_unsent(job)]
    late: tuple[Job, ...] = ()
    if far and not dry_run:
        from ocicaliban.targets.vertex import backend

        late = backend.cancel_late(known, far, reporter, wait=False)
    ended = {job.last.handle: job for job in jobs if job.status in ENDED and job.last and _here(job.submission)}
    found = runner.find(job="") if ended else {}
    rest = {handle: job for handle, job in ended.items() if handle in found and found[handle].state == "running"}
    if rest and not dry_run:
        _stop([*rest])
        for job in rest.values():
            _tidy(job)
    return *rest.values(), *late


def _tidy(job: Job) -> None:
    """What is left to do of a job that was stopped, where nobody runs it who will."""
    if job.last and job.last.log and not sweep.is_run(job.submission):
        log_file.plain(job.last.log)
        process.ok(("podman", "rm", "--force", "--time", "0", job.last.handle))


def _stop(handles: Sequence[str]) -> None:
    """SIGTERM, and after a while SIGKILL, all at once."""
    try:
        # It is let finish: they are on record as stopped, and one that does not end by itself would go on for ever.
        argv = ("podman", "stop", "--ignore", "--time", str(_GRACE), *handles)
        process.run(argv, whole=True, doing="podman cannot stop them all")
    except OcicalibanError:
        left = set(runner.find(job="")) & set(handles)  # whoever was removed meanwhile has ended
        if any(runner.find(job="")[handle].state == "running" for handle in left):
            raise
