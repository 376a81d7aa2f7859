"""The stand-in for Vertex AI by itself: Google's own client talks to it, podman runs its jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from google.cloud.aiplatform_v1.types import CustomJob, JobState

from ocicaliban.emulator.server import Emulator
from tests.integration.test_vertex import NOWHERE, Make, emulator, image, registry, service

__all__ = ["emulator", "image", "registry"]

PARENT = "projects/rehearsal/locations/us-central1"


def pool(image: str = NOWHERE, script: str = "true", **more: object) -> dict[str, object]:
    """A worker pool whose only replica runs a script of the shell."""
    container = {"image_uri": image, "command": ["sh", "-c"], "args": [script]}
    return {"machine_spec": {"machine_type": "n1-standard-4"}, "replica_count": 1, "container_spec": container, **more}


def job(*pools: Mapping[str, object], **more: object) -> dict[str, object]:
    """A CustomJob; what `more` it has goes into its spec."""
    return {"display_name": "a job", "job_spec": {"worker_pool_specs": list(pools), **more}}


def created(*pools: Mapping[str, object], **more: object) -> CustomJob:
    return service().client.create_custom_job(parent=PARENT, custom_job=job(*pools, **more))


def until(holds: Callable[[], object]) -> None:
    for _ in range(1200):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("it never came to hold")


def state(name: str) -> str:
    """A job's state by the client, without what all of them begin with."""
    return str(service().client.get_custom_job(name=name).state.name).removeprefix("JOB_STATE_")


def kept(by: Emulator, name: str) -> CustomJob:
    """A job as the emulator has it, which may have ended itself."""
    entry = by.ledger.find(name)
    assert entry is not None
    return CustomJob.deserialize(by.ledger.answer(entry))


def said(by: Emulator) -> list[str]:
    """All lines that replicas have written."""
    return [entry.text for entry in by.book.page(lambda _: True, 1000, "")[0]]


# --- its end ---


def test_what_its_end_kills_has_not_succeeded(emulator: Make, image: str) -> None:
    by = emulator(parallel=2)
    deaf, gentle = "echo ready; sleep 1000", "trap 'exit 0' TERM; echo ready; while sleep 0.1; do :; done"
    ran = [created(pool(image, script)).name for script in (deaf, gentle)]
    waits = created(pool(image)).name
    until(lambda: said(by) == ["ready", "ready"])
    by.stop()
    for name in ran:
        ended = kept(by, name)
        assert ended.state == JobState.JOB_STATE_CANCELLED
        assert ended.error.code == 1 and "emulator has ended" in ended.error.message
    assert kept(by, waits).state == JobState.JOB_STATE_QUEUED


def test_who_heeds_a_cancel_has_not_succeeded(emulator: Make, image: str) -> None:
    by = emulator(parallel=1)
    made = created(pool(image, "trap 'exit 0' TERM; echo ready; while sleep 0.1; do :; done"))
    until(lambda: said(by) == ["ready"])
    service().client.cancel_custom_job(name=made.name)
    until(lambda: state(made.name) == "CANCELLED")
    assert service().client.get_custom_job(name=made.name).error.code == 1
