"""Submit jobs to Vertex AI and print the seconds: `python -m tests.bench.submitter beside|after IMAGE COUNT`.

"beside" submits them as ocicaliban does, "after" with Google's library, one after the other. Neither counts the import
of that library.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from attrs import evolve

from ocicaliban.history import access
from ocicaliban.jobs import group_names
from ocicaliban.model.job import Job, JobSpec, Submission
from ocicaliban.reporter import SILENT
from ocicaliban.targets.vertex import backend, client, job_spec, machines, options


def main(how: str, image: str, count: int) -> float:
    """Submit `count` jobs of an image and return the seconds that it took."""
    made = Submission(
        target="local",
        group=group_names.new(Path.cwd()),
        user="bench",
        host="",
        project=str(Path.cwd()),
        mode="cloud",
        image=image,
    )
    specs = [JobSpec(args=("--number", str(number)), parameters=(("number", number),)) for number in range(count)]
    chosen = options.Options(machine=machines.Machine(type=machines.DEFAULT_MACHINE))
    service = client.connect("", backend.REGION)
    service.check()  # opens the connection
    if how == "after":
        jobs = [
            Job(id=0, key=f"{number:012}", submission=made, args=spec.args, parameters=spec.parameters)
            for number, spec in enumerate(specs)
        ]
        start = time.perf_counter()
        for job in jobs:
            body, _ = job_spec.custom_job(job, image, chosen)
            service.client.create_custom_job(parent=service.parent, custom_job=body)
        return time.perf_counter() - start
    accepted: list[str] = []
    with access.open() as known:
        start = time.perf_counter()
        held: dict[str, object] = {options.KEY: options.to_record(chosen)}
        made = known.submit(evolve(made, target=backend.TARGET, options=held), specs)
        backend.BACKEND.submit(known, made, lambda job, page: accepted.append(job.key), SILENT, connection=service)
        took = time.perf_counter() - start
    if len({*accepted}) != count:
        raise AssertionError(f"{len(accepted)} of {count} jobs were submitted")
    return took


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
