"""The variables by which a job knows what it is, wherever it runs. Pure."""

from __future__ import annotations

import json

from ocicaliban.model.job import Job

FILES = "/run/ocicaliban"
"""The folder in which a container finds files of ours."""

PARAMETERS = f"{FILES}/parameters.json"
"""Where a job finds parameters that are too long for a variable."""

LONGEST = 100_000
"""Bytes of parameters in a variable; Linux takes 128 KiB, with the name."""


def parameters_text(job: Job) -> str:
    """Return the parameters of a job's sweep as JSON."""
    return json.dumps(dict(job.parameters))


def has_parameters_file(job: Job) -> bool:
    """Return whether the parameters of a job are too long for a variable."""
    return len(parameters_text(job)) > LONGEST


def of_job(job: Job, *, in_file: bool) -> tuple[tuple[str, str], ...]:
    """Return the variables that describe a job; `in_file` says that its parameters are in the file PARAMETERS."""
    parameters = ("OCICALIBAN_PARAMETERS_FILE", PARAMETERS)
    if not in_file:
        parameters = ("OCICALIBAN_PARAMETERS", parameters_text(job))
    return (
        ("OCICALIBAN_JOB", str(job.id) if job.id else job.key),
        ("OCICALIBAN_GROUP", job.submission.group),
        parameters,
        ("OCICALIBAN_COMMIT", job.submission.commit),
        ("OCICALIBAN_DIRTY", "true" if job.submission.dirty else "false"),
        ("OCICALIBAN_IMAGE", job.submission.image),
    )
