"""Show what `run --target slurm` would submit, without building or submitting anything."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from attrs import evolve

from ocicaliban.app import cloud_options, plan
from ocicaliban.build import plan_view
from ocicaliban.containers import image_file, image_store
from ocicaliban.jobs import group_names, provenance
from ocicaliban.model.image import Image
from ocicaliban.model.job import Job
from ocicaliban.targets.slurm import arrays, backend, client, jobs, shared

if TYPE_CHECKING:
    from ocicaliban.app.slurm_jobs import SlurmRun
    from ocicaliban.containers.image_file import ImageFile


def lines(ready: SlurmRun) -> Iterator[str]:
    """Yield the lines of the script for the jobs, which `sbatch` takes; of several if they do not fit into one array.

    What is not known yet is made up: the jobs' keys. If the image or its file is missing, a comment says so.
    """
    group = ready.request.jobs.group or group_names.new(ready.launch.planned.project.root)
    image = ready.image_there()
    made = ready.submission(image or Image(id="IMAGE", digest="", key=""), group)
    made = evolve(provenance.with_git(made), created=1.0)
    specs = cloud_options.specs(ready.sweep, ready.request.args)
    tasks = [
        jobs.task(made, Job(id=number, key=f"{number:012x}", submission=made, args=spec.args))
        for number, spec in enumerate(specs, start=1)
    ]
    for number, some in enumerate(arrays.split(tasks, client.cluster().largest_array)):
        array = evolve(jobs.array(made, _file(ready, image), ""), log="slurm-%A_%a.log")
        # The script may be shown to anybody, and a value that the command line does not have may be secret.
        array = evolve(array, given=tuple(ready.given.env.items()), passed=ready.given.passed)
        text = arrays.script(array, some).splitlines()
        comments = plan_view.stack_lines(ready.launch.planned.plan, plan.stock(ready.launch.planned, here=False))
        heads = itertools.takewhile(lambda line: line.startswith("#"), text)
        count = len([*heads])
        yield from text[:count]
        if number and ready.options.jobs:
            yield "# Submit it with --dependency=afterany:NUMBER of the array before: --jobs limits each of them."
        yield from (f"# {line}" for line in comments)
        if not image or not image_file.stored(shared.images(made), image.id, backend.file_form(made)):
            yield "# The image file is not there yet: the command without --dry-run makes it."
        yield from text[count:]


def _file(ready: SlurmRun, image: Image | None) -> ImageFile:
    made = ready.submission(image or Image(id="IMAGE", digest="", key=""), "group")
    path = image_file.path_of(shared.images(made), made.image, backend.file_form(made))
    config = image_store.image_config(image) if image else {}
    return image_file.described(path, made.image, config)
