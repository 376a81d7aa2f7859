"""Collect what a report says beside the results: the failed jobs with their logs, and how the jobs were made."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ocicaliban.app import search
from ocicaliban.containers import image_store
from ocicaliban.errors import OcicalibanError
from ocicaliban.formats.text import amount
from ocicaliban.jobs import arguments, lifecycle, log_file
from ocicaliban.model.job import ENDED, Job, Submission
from ocicaliban.reports.details import Failure, Source
from ocicaliban.targets import registry

if TYPE_CHECKING:
    from ocicaliban.history.access import History
    from ocicaliban.jobs.origin import Origin

_LOGS = 100
"""How many logs of failed jobs are read."""
_LINES = 20
"""How many lines of each are kept."""
_FLAGS = {
    "extras": "--extras", "with_groups": "--with-group", "dirs": "--dir", "allow_secrets": "--allow-secret",
    "mount": "--mount", "gpus": "--gpus", "image_id": "--image-id", "podman_args": "--podman-args",
    "share_gpus": "--share-gpus", "group": "--group", "jobs": "--jobs", "gpus_per_job": "--gpus-per-job",
    "cpus": "--cpus", "memory": "--memory", "fail_fast": "--fail-fast", "retries": "--retries", "out": "--out",
}  # fmt: skip
"""The options of `run` by the keys under which the history has them."""


def failures(jobs: Iterable[Job]) -> tuple[Failure, ...]:
    """Return the jobs that ended without success, by number, with the end of their logs where those are here."""
    ended = [job for job in jobs if job.status in ENDED and job.status != "succeeded"]
    return tuple(_failure(job, read=number < _LOGS) for number, job in enumerate(ended))


def _failure(job: Job, *, read: bool) -> Failure:
    last = job.last
    if last is None:
        return Failure(job=job.id, status=job.status)
    lines: list[str] = []
    if read and last.log:
        with contextlib.suppress(OSError, OcicalibanError):
            lines = [line.rstrip() for line in log_file.last_text(last.log).splitlines() if line.strip()]
    reason = last.reason or lifecycle.why_failed(last.exit_code) if job.status == "failed" else last.reason
    return Failure(job=job.id, status=job.status, reason=reason, lines=tuple(lines[-_LINES:]), log=last.log)


def sources(history: History, jobs: Sequence[Job]) -> tuple[Source, ...]:
    """Return how the jobs were made, for each command that made some, the oldest first."""
    by_submission: dict[int, list[Job]] = {}
    for job in jobs:
        by_submission.setdefault(job.submission.id, []).append(job)
    digests = _digests()
    return tuple(_source(some, history.origin(number), digests) for number, some in sorted(by_submission.items()))


def _digests() -> Mapping[str, str]:
    """Return the manifests' digests of the images in the store, by the images' ids."""
    try:
        return {image.id: image.digest for image in image_store.images()}
    except (OSError, OcicalibanError):
        return {}


def _source(jobs: Sequence[Job], origin: Origin | None, digests: Mapping[str, str]) -> Source:
    made = jobs[0].submission
    began = [attempt.started for job in jobs for attempt in job.attempts if attempt.started]
    ended = [attempt.ended for job in jobs for attempt in job.attempts if attempt.ended]
    machine = ""
    if origin is not None:
        told = origin.machine
        parts = [
            told.processor,
            f"{told.cores} cores" if told.cores else "",
            amount(told.memory) if told.memory else "",
        ]
        machine = ", ".join(filter(None, [*parts, *told.gpus]))
    return Source(
        command=_command(made, jobs, origin.sweep_name if origin else ""),
        count=len(jobs),
        project=made.project,
        commit=made.commit,
        dirty=made.dirty,
        image=made.image,
        digest=digests.get(made.image, ""),
        target=made.target,
        host=made.host,
        user=made.user,
        machine=machine,
        created=made.created,
        started=min(began, default=0.0),
        ended=max(ended, default=0.0),
    )


def _command(made: Submission, jobs: Sequence[Job], sweep: str) -> str:
    """Return a command line that would make such jobs, from what the history has of it."""
    options = made.options
    words = ["ocicaliban", *_verb(made.target)]
    if (mode := options.get("mode", "run")) != "run":
        words += ["--mode", str(mode)]
    if sweep or any(job.parameters for job in jobs):
        words += ["--experiment-config", sweep or "SWEEP"]
    words += _search_options(options.get(search.KEY), len(jobs))
    for key, option in _FLAGS.items():
        value = options.get(key)
        if value is True:
            words.append(option)
        elif isinstance(value, list | tuple):
            words += [word for each in value for word in (option, str(each))]
        elif value not in (None, "", False, 0):
            words += [option, str(value)]
    if options.get("gpu_wanted") is False:
        words.append("--nogpu")
    words += [made.module] if made.module else []
    job = jobs[0]
    own = job.args[: len(job.args) - arguments.count_of_own(job)]
    return shlex.join([*words, *(("--", *own) if own else ())])


def _search_options(record: object, count: int) -> list[str]:
    """Return the options of a search, from what the history has of it."""
    if not isinstance(record, dict):
        return []
    goal = ["--goal", str(record["goal"])] if record.get("goal") else []
    prune = ["--prune"] if record.get("prune") else []
    return ["--search", str(record.get("way")), "--trials", str(count), *goal, *prune]


def _verb(target: str) -> tuple[str, ...]:
    """Return the command that submits to a target."""
    from ocicaliban.app import submissions

    if target == registry.THIS_MACHINE:
        return ("run",)
    try:
        submissions.jobs_of_run(target)
    except OcicalibanError:
        return ("cloud",)
    return ("run", "--target", target)
