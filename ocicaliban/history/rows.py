"""How submissions, jobs and attempts stand in the tables: the columns, and values as both databases take them."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ocicaliban.errors import OcicalibanError, UsageError, first_line
from ocicaliban.jobs import origin as origins
from ocicaliban.jobs import records
from ocicaliban.jobs.origin import Origin
from ocicaliban.model.job import Attempt, Job, JobSpec, Parameters, Submission

SUBMISSION = (
    *("group_name", "user_name", "host", "target", "project", "mode", "module", "image", "plan_key"),
    *("git_commit", "git_dirty", "launch", "options", "created"),
)
"""The columns of a submission, but for its id."""

JOB = ("job_key", "submission", "parameters", "args", "status", "out")
"""The columns of a job, but for its id."""

ATTEMPT = ("number", "handle", "status", "started", "ended", "exit_code", "reason", "log", "backend_state")
"""The columns of an attempt, but for its job."""


def text(value: str) -> str:
    """Return a text as both databases take it: without NUL, and without bytes of a path that are not UTF-8."""
    return value.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def of_submission(made: Submission) -> tuple[object, ...]:
    """Return the values of a submission, in the order of SUBMISSION."""
    return (
        *(text(made.group), text(made.user), text(made.host), text(made.target), text(made.project)),
        *(text(made.mode), text(made.module), text(made.image), made.plan_key, made.commit, made.dirty),
        *(json.dumps(records.launch_to_record(made.launch)), json.dumps(made.options), made.created),
    )


def of_spec(submission: int, spec: JobSpec) -> tuple[object, ...]:
    """Return the values of a new job, in the order of JOB. Raises UsageError for a parameter that is given twice."""
    parameters = dict(spec.parameters)
    if len(parameters) < len(spec.parameters):
        names = [name for name, _ in spec.parameters]
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"the parameter '{twice}' is given twice", "give each parameter once")
    return secrets.token_hex(6), submission, json.dumps(parameters), json.dumps(spec.args), "queued", ""


def of_origin(submission: int, origin: Origin) -> dict[str, object]:
    """Return the row of what a submission was made from."""
    return {"submission": submission, "record": text(json.dumps(origins.to_record(origin)))}


def to_origin(record: str) -> Origin | None:
    """Return what a submission was made from; None if another version wrote it."""
    try:
        return origins.from_record(json.loads(record))
    except (ValueError, TypeError, LookupError, AttributeError):
        return None


def of_recorded(submission: int, job: Job, attempt: Attempt) -> tuple[object, ...]:
    """Return the values of a job that ran without the history, in the order of JOB."""
    parameters, args = json.dumps(dict(job.parameters)), json.dumps(job.args)
    return job.key, submission, parameters, args, attempt.status, text(job.out)


def of_attempt(attempt: Attempt) -> tuple[object, ...]:
    """Return the values of an attempt, in the order of ATTEMPT."""
    return (
        *(attempt.number, text(attempt.handle), attempt.status, attempt.started, attempt.ended, attempt.exit_code),
        *(text(attempt.reason), text(attempt.log), text(attempt.backend_state)),
    )


@contextlib.contextmanager
def _readable(what: str) -> Iterator[None]:
    """Raise OcicalibanError for a row with JSON of another form: another program has written it, or a bad disk."""
    try:
        yield
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as fault:
        why = f"what the history holds of {what} cannot be read: {first_line(fault)}"
        raise OcicalibanError(why, "restore a backup of the history, or remove this row from it") from fault


def to_submission(row: Sequence[Any]) -> Submission:
    """Return the submission of a row: its id, and the columns of SUBMISSION. Raises OcicalibanError."""
    with _readable(f"submission {row[0]} of the group {row[1]}"):
        return _submission(row)


def _submission(row: Sequence[Any]) -> Submission:
    number, group, user, host, target, project, mode, module, image, plan_key, commit, dirty, launch, options, at = row
    return Submission(
        id=number,
        group=group,
        user=user,
        host=host,
        target=target,
        project=project,
        mode=mode,
        module=module,
        image=image,
        plan_key=plan_key,
        commit=commit,
        dirty=bool(dirty),
        launch=records.launch_from_record(json.loads(launch)),
        options=records.with_version(json.loads(options)),
        created=at,
    )


def to_job(row: Sequence[Any], submissions: Mapping[int, Submission], attempts: tuple[Attempt, ...]) -> Job:
    """Return the job of a row: its id, and the columns of JOB. Raises OcicalibanError."""
    number, key, submission, parameters, args, status, out = row
    with _readable(f"job {number}"):
        values: Parameters = tuple(json.loads(parameters).items())
        words = tuple(map(str, json.loads(args)))
    return Job(
        id=number,
        key=key,
        submission=submissions[submission],
        parameters=values,
        args=words,
        status=status,
        out=out,
        attempts=attempts,
    )


def to_attempt(row: Sequence[Any]) -> Attempt:
    """Return the attempt of a row: the columns of ATTEMPT."""
    number, handle, status, started, ended, exit_code, reason, log, backend_state = row
    return Attempt(
        number=number,
        handle=handle,
        status=status,
        started=started,
        ended=ended,
        exit_code=exit_code,
        reason=reason,
        log=log,
        backend_state=backend_state,
    )
