"""The backends by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import ocicaliban
from ocicaliban.errors import UsageError
from ocicaliban.model.job import Job, Submission
from ocicaliban.targets import registry

ROOT = Path(ocicaliban.__file__).parent


def test_every_backend_can_be_loaded_and_says_what_it_can_do() -> None:
    assert registry.names() == ("local", "vertex", "slurm")
    local, vertex, slurm = (registry.backend(name) for name in registry.names())
    assert local.capabilities.can_mount and not local.capabilities.schedules_itself
    assert vertex.capabilities.schedules_itself and vertex.capabilities.needs_registry
    assert slurm.capabilities.schedules_itself and slurm.capabilities.arrays and not slurm.capabilities.needs_registry
    assert registry.batch_backend("local") is None and registry.batch_backend("vertex") is vertex
    assert registry.with_images_in_store() == ("local",)


def test_a_name_that_no_backend_has_is_told_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="no target 'vortex'") as caught:
        registry.backend("vortex")
    assert caught.value.hint == "did you mean 'vertex'?"


def test_jobs_come_by_their_backend() -> None:
    def job(number: int, target: str) -> Job:
        made = Submission(group="g", user="ada", host="h", target=target, project="p", mode="run")
        return Job(id=number, key=str(number), submission=made)

    found = registry.by_backend([job(1, "vertex"), job(2, "local"), job(3, "vertex")])
    assert [(backend.title, [job.id for job in some]) for backend, some in found] == [
        ("this machine", [2]), ("Vertex AI", [1, 3]),
    ]  # fmt: skip


def test_no_library_of_a_service_is_imported_before_it_is_used() -> None:
    code = (
        "import sys\nfrom ocicaliban.targets import registry\n"
        "assert not [name for name in sys.modules if name.startswith('ocicaliban.targets.vertex')]\n"
        "for name in registry.names(): registry.backend(name)\n"
        "print({'google.auth', 'grpc', 'podman', 'peewee'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT.parent, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr
