"""Jobs and requests to test with."""

from __future__ import annotations

from typing import Any, NoReturn

import grpc
from attrs import frozen
from google.cloud.aiplatform_v1.types import CustomJob

PARENT = "projects/rehearsal/locations/us-central1"


def pool(**more: object) -> dict[str, object]:
    """Return a worker pool with a replica."""
    container = {"image_uri": "localhost/image", "command": ["sh", "-c"], "args": ["true"]}
    return {"machine_spec": {"machine_type": "n1-standard-4"}, "replica_count": 1, "container_spec": container, **more}


def custom_job(*pools: dict[str, object], labels: dict[str, str] | None = None, **spec: object) -> CustomJob:
    """Return a job with these worker pools, or one."""
    return CustomJob(
        display_name="a job",
        labels=labels or {},
        job_spec={"worker_pool_specs": list(pools) or [pool()], **spec},
    )


class Refused(Exception):
    """A request ended with an error."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(f"{code.name}: {message}")


class Context:
    """What gRPC tells a method of its request."""

    def __init__(self, authorization: str = "") -> None:
        self.authorization = authorization

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", self.authorization),) if self.authorization else ()

    def abort(self, code: grpc.StatusCode, message: str) -> NoReturn:
        raise Refused(code, message)

    def is_active(self) -> bool:
        return True


@frozen(kw_only=True)
class Call:
    """What gRPC tells a handler before it chooses a method."""

    method: str
    invocation_metadata: tuple[Any, ...] = ()
