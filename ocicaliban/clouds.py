"""Jobs of the history on Vertex AI: they are submitted once each, what the service says is put on record, cancelled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ocicaliban import sweep, vertex
from ocicaliban.errors import OcicalibanError
from ocicaliban.model import ENDED, Attempt, Job, Submission
from ocicaliban.vertex import Seen

if TYPE_CHECKING:
    from ocicaliban.history import History
    from ocicaliban.targets.vertex import Service

TARGET = "vertex"
"""What the history calls this target."""

REGION = "us-central1"
"""Where jobs run unless another region is named, as with Caliban and gcloud."""

_UNSEEN = 600.0
"""Seconds in which a job that was accepted may be missing from the service's lists, which lag behind."""


def service(submission: Submission) -> Service:
    """A connection to where a submission went. Raises OcicalibanError where none can be had."""
    from ocicaliban.targets import vertex

    options = submission.options
    return vertex.connect(
        str(options["project_id"]), str(options["region"]), key_file=str(options.get("cloud_key") or "")
    )


def submit(
    known: History,
    made: Submission,
    options: vertex.Options,
    at: Service,
    accepted: Callable[[Job, str], None],
    say: Callable[[str], None],
) -> None:
    """Submit the queued jobs of a submission, whose image is named by its digest; each that the service has is recorded
    at once, and handed to `accepted` with its resource name.

    What an earlier try that was killed has submitted is found by its labels, and not sent again. Raises UsageError
    where another process is at it, and OcicalibanError where the service refuses: the others stay queued.
    """
    from ocicaliban.targets.vertex import Request

    with sweep.owned(made):
        waiting = {job.key: job for job in known.queued(made.id)}
        left_out: set[str] = set()
        requests = []
        for job in waiting.values():
            attempt = len(job.attempts) + 1
            body, without = vertex.custom_job(job, made.image, options, attempt)
            left_out.update(without)
            requests.append(Request(key=job.key, attempt=attempt, body=body))
        if left_out:
            say(f"note: no room among the labels for {', '.join(sorted(left_out))}; the jobs have them all the same")

        def taken(request: Request, name: str) -> None:
            job = waiting[request.key]
            out = vertex.output_folder(options, made.group, job.key)
            known.begin(job.id, out=out, started=time.time(), named=name)
            accepted(job, name)

        at.submit(requests, made.group, taken, say=say)


def catch_up(known: History, jobs: Iterable[Job], say: Callable[[str], None]) -> None:
    """Put on record what the service says of these jobs, those of a group by one look.

    Where it gives no answer that is said, and what is on record stays.
    """
    groups: dict[tuple[str, object, object], list[Job]] = {}
    for job in jobs:
        options = job.submission.options
        groups.setdefault((job.submission.group, options.get("project_id"), options.get("region")), []).append(job)
    for (group, _, region), some in groups.items():
        try:
            seen = service(some[0].submission).look(group)
        except OcicalibanError as fault:
            say(f"note: no news of {group} in {region}: {fault.message}")
            continue
        found = {(each.key, each.attempt): each for each in seen}
        for job in some:
            if job.last:
                _record(known, job, job.last, found)


def _record(known: History, job: Job, attempt: Attempt, found: Mapping[tuple[str, int], Seen]) -> None:
    seen = found.get((job.key, attempt.number))
    if seen is None:
        if time.time() - attempt.started > _UNSEEN:
            reason = "Vertex AI does not know it any more"
            known.end(job.id, attempt.number, "lost", reason=reason, ended=time.time())
    elif seen.status in ENDED:
        reason = seen.reason or ("" if seen.status == "succeeded" else seen.state.lower())
        ended = seen.ended or time.time()
        known.end(job.id, attempt.number, seen.status, reason=reason, ended=ended)
    else:
        known.note(job.id, attempt.number, "" if seen.state == "RUNNING" else seen.state.lower())


def cancel(jobs: Sequence[Job], say: Callable[[str], None]) -> tuple[Job, ...]:
    """Ask the service to end these jobs, which have been accepted; those that it agreed to end."""
    places: dict[tuple[object, object], list[Job]] = {}
    for job in jobs:
        places.setdefault((job.submission.options.get("project_id"), job.submission.options.get("region")), []).append(
            job
        )
    ended: list[Job] = []
    for some in places.values():
        names = {job.last.handle: job for job in some if job.last}
        faults = service(some[0].submission).cancel(tuple(names))
        for name, words in faults.items():
            say(f"job {names[name].id} cannot be stopped: {words}")
        ended += [job for name, job in names.items() if name not in faults]
    return tuple(ended)
