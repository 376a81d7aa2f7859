"""The backends by name. A new backend is a folder beside this file and a line here."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import cast

from ocicaliban.errors import UsageError, nearest
from ocicaliban.model.job import Job
from ocicaliban.targets.backend import Backend, BatchBackend

_MODULES = {
    "local": "ocicaliban.targets.local.backend",
    "vertex": "ocicaliban.targets.vertex.backend",
    "slurm": "ocicaliban.targets.slurm.backend",
}
"""The module of each backend, which is imported on use. Its `BACKEND` is the backend."""


THIS_MACHINE = "local"
"""The name of the backend that runs jobs on this machine."""


def names() -> tuple[str, ...]:
    """Return the names of all backends."""
    return tuple(_MODULES)


def backend(name: str) -> Backend:
    """Return the backend with this name. Raises UsageError if there is none."""
    if name not in _MODULES:
        raise UsageError(f"there is no target '{name}'", nearest(name, _MODULES))
    return cast(Backend, importlib.import_module(_MODULES[name]).BACKEND)


def batch_backend(name: str) -> BatchBackend | None:
    """Return the backend with this name if it schedules jobs itself, else None. Raises UsageError if there is none."""
    found = backend(name)
    return cast(BatchBackend, found) if found.capabilities.schedules_itself else None


def by_backend(jobs: Iterable[Job]) -> list[tuple[Backend, list[Job]]]:
    """Return the jobs of each backend that has some, in the order of the registry.

    Raises UsageError for a job of a backend that does not exist.
    """
    by_name: dict[str, list[Job]] = {name: [] for name in _MODULES}
    for job in jobs:
        by_name.setdefault(job.submission.target, []).append(job)
    return [(backend(name), some) for name, some in by_name.items() if some]


def with_images_in_store() -> tuple[str, ...]:
    """Return the names of the backends whose jobs need their image in podman's store."""
    return tuple(name for name in _MODULES if backend(name).capabilities.image_form == "store")
