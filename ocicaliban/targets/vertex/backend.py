"""Jobs of the history on Vertex AI: they are submitted once each, what the service says is put on record, cancelled."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from ocicaliban import google_auth
from ocicaliban.errors import OcicalibanError
from ocicaliban.execution import runner
from ocicaliban.model.job import ENDED, UNDER_WAY, Job, Submission, UnderWay
from ocicaliban.reporter import Reporter
from ocicaliban.targets.vertex import job_spec, rate_limit
from ocicaliban.targets.vertex.job_spec import Seen

if TYPE_CHECKING:
    from ocicaliban.history.access import History
    from ocicaliban.targets.vertex.client import Service

TARGET = "vertex"
"""What the history calls this target."""

REGION = "us-central1"
"""Where jobs run unless another region is named, as with Caliban and gcloud."""

_UNSEEN = 600.0
"""Seconds in which a job that was accepted may be missing from the service's lists, which lag behind."""

_FEW = 3
"""So many jobs of a group are asked for by themselves."""

_UNLISTED = "not listed by Vertex AI"

_PATIENCE = 5.0
"""Seconds for an answer to somebody who only wants to see what is going on."""


def service(submission: Submission) -> Service:
    """A connection to where a submission went. Raises OcicalibanError where none can be had."""
    from ocicaliban.targets.vertex import client

    project, region, key_file = _place(submission)
    return client.connect(project, region, key_file=key_file)


def submit(
    known: History,
    made: Submission,
    options: job_spec.Options,
    at: Service,
    accepted: Callable[[Job, str], None],
    reporter: Reporter,
    *,
    settle: bool = False,
) -> None:
    """Submit the queued jobs of a submission, whose image is named by its digest; each that the service has is recorded
    at once, and handed to `accepted` with its resource name.

    What an earlier try that was killed has submitted is found by its labels, and not sent again; `settle` tells that
    there may be one. A job that somebody stops meanwhile is not sent; where the service has it already, it is put on
    record as pending, so that it is seen and its next attempt is another one, and cancelled. One that somebody who
    looked has put on record meanwhile counts as accepted. Raises UsageError where another process is at it, and
    OcicalibanError where the service refuses: the others stay queued.
    """
    from ocicaliban.targets.vertex.client import Request

    with runner.owned(made):
        waiting = {job.key: job for job in known.queued(made.id)}
        left_out: set[str] = set()
        requests = []
        for job in waiting.values():
            attempt = len(job.attempts) + 1
            body, without = job_spec.custom_job(job, made.image, options, attempt)
            left_out.update(without)
            requests.append(Request(key=job.key, attempt=attempt, body=body))
        if left_out:
            reporter.note(
                f"no room among the labels for {', '.join(sorted(left_out))}; the jobs have them all the same"
            )

        news: list[tuple[Job, str]] = []
        late: dict[str, Job] = {}

        @contextlib.contextmanager
        def recorded() -> Iterator[None]:
            """Whatever is told meanwhile is on record when it ends; else it stays among the news, for the next time."""
            yield
            with known.together():
                for job, name in news:
                    out = job_spec.output_folder(options.output, made.group, job.key)
                    if known.begin(job.id, out=out, started=time.time(), named=name, status="pending"):
                        continue
                    # Somebody stopped it when it was on its way, or has seen it at the service and put it on record.
                    if known.begin(job.id, out=out, started=time.time(), named=name, status="pending", late=True):
                        late[name] = job
            told = [each for each in news if each[1] not in late]
            news.clear()
            for job, name in told:
                accepted(job, name)

        def stopped() -> frozenset[str]:
            return frozenset(job.key for job in known.jobs(submission=made.id, statuses=("stopped",)))

        try:
            at.submit(
                requests,
                made.group,
                lambda request, name: news.append((waiting[request.key], name)),
                settle=settle,
                withdrawn=stopped,
                together=recorded,
                reporter=reporter,
            )
        finally:
            for name, words in at.cancel(tuple(late)).items():
                job = late[name]
                reporter.say(
                    f"job {job.id} was stopped when it was on its way, and goes on: {words}; ocicaliban stop {job.id}"
                )


def catch_up(known: History, jobs: Iterable[Job], reporter: Reporter) -> None:
    """Put on record what the service says of these jobs, in few lists: by their groups, or by themselves if few.

    A job that is queued, and that the service has, was submitted by a process that was killed before it could tell.
    Where the service gives no answer that is said, and what is on record stays.
    """
    places: dict[tuple[str, str, str], list[Job]] = {}
    for job in jobs:
        places.setdefault(_place(job.submission), []).append(job)
    for (_, region, _), here in places.items():
        try:
            found = _seen(evolve(service(here[0].submission), timeout=_PATIENCE), here)
        except OcicalibanError as fault:
            names = ", ".join(dict.fromkeys(job.submission.group for job in here))
            hint = f" ({fault.hint})" if fault.hint else ""
            reporter.note(f"no news of {names} from {region}: {fault.message}{hint}; this is the last that is known")
            continue
        for job in here:
            _record(known, job, found)


def _seen(at: Service, jobs: Iterable[Job]) -> dict[tuple[str, int], Seen]:
    """What the service tells of these jobs, and perhaps of others, by key and attempt."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.submission.group, []).append(job)
    # A group may have a thousand jobs, in pages of a hundred, of which one is asked for.
    few = [job.key for some in groups.values() if len(some) <= _FEW for job in some]
    many = [group for group, some in groups.items() if len(some) > _FEW]
    return {(each.key, each.attempt): each for each in (*at.look_for(*few), *at.look(*many))}


def _place(submission: Submission) -> tuple[str, str, str]:
    options = submission.options
    return (
        str(options.get("project_id") or ""),
        str(options.get("region") or REGION),
        google_auth.recorded(options.get("cloud_key")),
    )


def _record(known: History, job: Job, found: Mapping[tuple[str, int], Seen]) -> None:
    attempt = job.last
    if job.status not in UNDER_WAY:
        if (seen := found.get((job.key, len(job.attempts) + 1))) is None:
            return
        own = job.submission.options.get("vertex")
        output = str(own.get("output") or "") if isinstance(own, dict) else ""
        out = job_spec.output_folder(output, job.submission.group, job.key)
        late = job.status == "stopped"
        attempt = known.begin(job.id, out=out, started=seen.created, named=seen.name, status="pending", late=late)
    if attempt is None:
        return
    seen = found.get((job.key, attempt.number))
    if seen is None:
        if time.time() - attempt.started > _UNSEEN:
            reason = "Vertex AI does not know it any more"
            known.end(job.id, attempt.number, "lost", reason=reason, ended=time.time())
        elif attempt.backend_state != _UNLISTED:
            known.observed(job.id, attempt.number, status="pending", backend_state=_UNLISTED)
    elif seen.status in ENDED:
        reason = seen.reason or ("" if seen.status == "succeeded" else seen.state.lower())
        ended = seen.ended or time.time()
        known.end(job.id, attempt.number, seen.status, reason=reason, ended=ended, started=seen.started)
    else:
        status: UnderWay = "running" if seen.status == "running" else "pending"
        word = "" if seen.state == "RUNNING" else seen.state.lower()
        if (status, word) != (attempt.status, attempt.backend_state):
            known.observed(job.id, attempt.number, status=status, backend_state=word, started=seen.started)


def cancel(known: History, jobs: Sequence[Job], reporter: Reporter) -> tuple[Job, ...]:
    """Ask the service to end these jobs, which have been accepted; those that it agreed to end.

    `reporter` gets a line for each other one. What the service does not know is on record as lost then.
    """
    places: dict[tuple[str, str, str], list[Job]] = {}
    for job in jobs:
        places.setdefault(_place(job.submission), []).append(job)
    ended: list[Job] = []
    for some in places.values():
        names = {job.last.handle: job for job in some if job.last}
        try:
            faults = service(some[0].submission).cancel(tuple(names))
        except OcicalibanError as fault:
            numbers = ", ".join(str(job.id) for job in names.values())
            reporter.say(f"cannot be stopped: {numbers}: {fault.message}{f' ({fault.hint})' if fault.hint else ''}")
            continue
        lost = [names[name] for name, words in faults.items() if words == job_spec.UNKNOWN]
        for job in lost:
            if job.last:
                known.end(job.id, job.last.number, "lost", reason=job_spec.UNKNOWN, ended=time.time())
        if lost:
            reporter.say(
                f"nothing is there to be stopped: {', '.join(str(job.id) for job in lost)}: {job_spec.UNKNOWN}"
            )
        for name, words in faults.items():
            if words != job_spec.UNKNOWN:
                reporter.say(f"job {names[name].id} cannot be stopped: {words}")
        ended += [job for name, job in names.items() if name not in faults]
    return tuple(ended)


def cancel_late(known: History, jobs: Sequence[Job], reporter: Reporter, *, wait: bool = True) -> tuple[Job, ...]:
    """Put on record, and end, what the service has of jobs that were stopped before anybody knew that it has them.

    Returns those that it agreed to end; `reporter` gets a line for each other one. A request that was on its way
    when they
    were stopped may still take effect, for which it can `wait`. What is submitted again meanwhile goes on.
    """
    if wait:
        time.sleep(rate_limit.LOOK_AFTER[-1])
    stopped_of = {job.id: job.submission.id for job in jobs}
    places: dict[tuple[str, str, str], list[Job]] = {}
    for job in jobs:
        places.setdefault(_place(job.submission), []).append(job)
    late: list[Job] = []
    for some in places.values():
        ids = tuple(job.id for job in some)
        try:
            at = service(some[0].submission)
            found = _seen(at, some)
        except OcicalibanError as fault:
            reporter.say(f"whether some were submitted before cannot be asked: {fault.message}")
            continue
        for job in known.jobs(ids=ids, statuses=("stopped",)):
            _record(known, job, found)
        under_way = known.jobs(ids=ids, statuses=UNDER_WAY)
        late += [job for job in under_way if job.last and job.submission.id == stopped_of[job.id]]
    return cancel(known, late, reporter)
