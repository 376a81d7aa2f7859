"""Show what `cloud` would do, without building, pushing or submitting anything."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

from attrs import evolve

from ocicaliban.app import cloud_image, place, plan
from ocicaliban.app.cloud_jobs import CloudJobs
from ocicaliban.app.push import repository_of
from ocicaliban.build import plan_view
from ocicaliban.errors import UsageError
from ocicaliban.targets.vertex import backend, job_spec


def dry_run_lines(jobs: CloudJobs) -> Iterator[str]:
    """Yield the layers of the image as comments, and each job in JSON as the service would get it.

    What is not known yet is made up: the jobs' numbers and keys, and the image's digest if it is not in a registry.
    """
    request = jobs.request
    command: tuple[str, ...] = ()
    if request.image_tag:
        image = cloud_image.look_up(request, jobs.first)
        reference, entrypoint, command = image.reference, image.entrypoint, image.command
    else:
        planned = cloud_image.plan(request, jobs.first, resolve=False)
        reference, entrypoint = backend.NO_DIGEST, planned.plan.entrypoint
        with contextlib.suppress(UsageError):  # nothing is pushed yet, so it needs no name
            digest = backend.NO_DIGEST.partition("@")[2]
            reference = f"{repository_of(place.project_root(), request.repository)}@{digest}"
        for line in plan_view.stack_lines(planned.plan, plan.stock(planned, here=False)):
            yield f"# {line}"
    options = evolve(jobs.options, entrypoint=entrypoint, command=command)
    for number, spec in enumerate(jobs.specs(), start=1):
        # The real key is made when the job is submitted. This one shows that each job has its own.
        job = evolve(jobs.first, id=number, key=f"{number:012}", parameters=spec.parameters, args=spec.args)
        yield json.dumps(job_spec.custom_job(job, reference, options)[0])
