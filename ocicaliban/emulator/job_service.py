"""The methods of Vertex AI's JobService that the emulator has; gRPC answers UNIMPLEMENTED to others."""

from __future__ import annotations

import re
import threading
import time
from typing import Any

import grpc
from attrs import frozen
from google.cloud.aiplatform_v1 import types
from google.cloud.aiplatform_v1.types import CustomJob
from google.protobuf import empty_pb2, field_mask_pb2

from ocicaliban.emulator import filters, validation
from ocicaliban.emulator.faults import FaultInjector, Faults
from ocicaliban.emulator.identity import CloudProject
from ocicaliban.emulator.job_runner import JobRunner
from ocicaliban.emulator.job_store import JobQuery, JobRecord, JobStore
from ocicaliban.emulator.rpc import Method, RequestGate, deny, refuse

_SERVICE = "google.cloud.aiplatform.v1.JobService"
_NAME = re.compile(r"projects/([^/]+)/locations/([^/]+)(?:/customJobs/([^/]+))?")


@frozen(kw_only=True)
class Region:
    """A region of a project: its ID, as in us-central1, and the project."""

    project: CloudProject
    id: str


class JobService:
    """Creates, gets, lists and cancels the jobs of a region; `over` is set when the emulator ends."""

    def __init__(
        self, region: Region, jobs: JobStore, runner: JobRunner, faults: FaultInjector, over: threading.Event
    ) -> None:
        self._region = region
        self._jobs = jobs
        self._runner = runner
        self._faults = faults
        self._over = over

    def handler(self, gate: RequestGate) -> grpc.GenericRpcHandler:
        """Return the service for gRPC's server."""
        methods: dict[str, tuple[Method, type[Any], str]] = {
            "CreateCustomJob": (self._create, types.CreateCustomJobRequest, "create"),
            "GetCustomJob": (self._get, types.GetCustomJobRequest, "get"),
            "ListCustomJobs": (self._list, types.ListCustomJobsRequest, "list"),
            "CancelCustomJob": (self._cancel, types.CancelCustomJobRequest, "cancel"),
        }
        return grpc.method_handlers_generic_handler(
            _SERVICE,
            {
                name: gate.handler(method, request_type, _permission(verb))
                for name, (method, request_type, verb) in methods.items()
            },
        )

    def _create(self, request: types.CreateCustomJobRequest, context: grpc.ServicerContext, faults: Faults) -> bytes:
        parent = self._resource(request.parent, "create", context)
        job: CustomJob = request.custom_job
        if problem := validation.problem(job, faults):
            refuse(context, grpc.StatusCode.INVALID_ARGUMENT, problem)
        for metric in validation.exceeded_quotas(job, faults):
            message = f"The following quota metrics exceed quota limits: aiplatform.googleapis.com/{metric}"
            refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, message)
        if not self._faults.is_within_rate(faults.per_minute, time.monotonic()):
            message = (
                "Quota exceeded for quota metric 'Job or LRO submission requests' and limit 'Job or LRO submission "
                "requests per minute per region' of service 'aiplatform.googleapis.com'."
            )
            refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, message)
        if not self._faults.is_nth("create", faults.lost_every):
            return self._jobs.serialize(self._add(parent, job))
        # The answer is lost.
        if faults.lost_late:
            threading.Thread(target=self._add_late, args=(parent, job, faults.lost_late), daemon=True).start()
        else:
            self._add(parent, job)
        while faults.lost_as == "deadline" and context.is_active() and not self._over.wait(0.02):
            pass
        refuse(context, grpc.StatusCode.UNAVAILABLE, "Socket closed")

    def _add(self, parent: str, job: CustomJob) -> JobRecord:
        record = self._jobs.add(parent, job)
        self._runner.submit(record)
        return record

    def _add_late(self, parent: str, job: CustomJob, seconds: float) -> None:
        if not self._over.wait(seconds):
            self._add(parent, job)

    def _get(self, request: types.GetCustomJobRequest, context: grpc.ServicerContext, _: Faults) -> bytes:
        return self._jobs.serialize(self._find(request.name, "get", context))

    def _list(self, request: types.ListCustomJobsRequest, context: grpc.ServicerContext, faults: Faults) -> bytes:
        parent = self._resource(request.parent, "list", context)
        if faults.lists_denied:
            deny(context, _permission("list"))
        mask = field_mask_pb2.FieldMask(paths=types.ListCustomJobsRequest.pb(request).read_mask.paths)
        for path in mask.paths:
            if not field_mask_pb2.FieldMask(paths=[path]).IsValidForDescriptor(CustomJob.pb(CustomJob()).DESCRIPTOR):
                refuse(context, grpc.StatusCode.INVALID_ARGUMENT, f"Invalid read_mask: there is no field '{path}'.")
        try:
            query = JobQuery(
                parent=parent,
                predicate=filters.parse(request.filter),
                size=request.page_size,
                token=request.page_token,
                mask=mask,
                delay=faults.lists_late,
            )
            page, token = self._jobs.page(query)
        except (filters.FilterError, ValueError) as exc:
            refuse(context, grpc.StatusCode.INVALID_ARGUMENT, f"Invalid filter or page token: {exc}")
        raw = types.ListCustomJobsResponse.pb(types.ListCustomJobsResponse(next_page_token=token))
        for serialized in page:
            raw.custom_jobs.add().ParseFromString(serialized)
        return bytes(raw.SerializeToString())

    def _cancel(self, request: types.CancelCustomJobRequest, context: grpc.ServicerContext, faults: Faults) -> bytes:
        record = self._find(request.name, "cancel", context)
        if faults.ended_refuses and self._jobs.has_ended(record):
            state = self._jobs.state(record).name
            message = f"CustomJob {request.name} is in the state {state} and cannot be cancelled."
            refuse(context, grpc.StatusCode.FAILED_PRECONDITION, message)
        self._runner.cancel(record)
        return bytes(empty_pb2.Empty().SerializeToString())

    def _find(self, name: str, verb: str, context: grpc.ServicerContext) -> JobRecord:
        """Return the job with this name, or end the request."""
        record = self._jobs.find(self._resource(name, verb, context))
        if record is None:
            refuse(context, grpc.StatusCode.NOT_FOUND, f"CustomJob {name} is not found.")
        return record

    def _resource(self, name: str, verb: str, context: grpc.ServicerContext) -> str:
        """Return the name of a resource with the project's number; end the request if it is not of this region."""
        match = _NAME.fullmatch(name)
        if match is None or (match[3] is None) is not (verb in ("create", "list")):
            refuse(context, grpc.StatusCode.INVALID_ARGUMENT, f"Invalid resource name '{name}'.")
        if not self._region.project.is_called(match[1]):
            deny(context, _permission(verb))
        if match[2] != self._region.id:
            message = f"The endpoint of {self._region.id} does not serve the location '{match[2]}'."
            refuse(context, grpc.StatusCode.INVALID_ARGUMENT, message)
        return f"projects/{self._region.project.number}{name[match.end(1) :]}"


def _permission(verb: str) -> str:
    return f"aiplatform.customJobs.{verb}"
