"""The one method of LoggingServiceV2 that the emulator has: ListLogEntries."""

from __future__ import annotations

from typing import Any

import grpc

from ocicaliban.emulator import filters
from ocicaliban.emulator.faults import Faults
from ocicaliban.emulator.identity import CloudProject
from ocicaliban.emulator.log_store import LogStore
from ocicaliban.emulator.rpc import RequestGate, deny, refuse

try:
    from google.cloud.logging_v2.types import logging
except ImportError:  # an extra of its own; without it no client asks for logs
    logging = None

_SERVICE = "google.logging.v2.LoggingServiceV2"
_PERMISSION = "logging.logEntries.list"

AVAILABLE = logging is not None
"""Whether the client library of Cloud Logging is installed."""


class LoggingService:
    """Lists the lines of a log store as entries of Cloud Logging."""

    def __init__(self, log_store: LogStore, project: CloudProject) -> None:
        self._log_store = log_store
        self._project = project

    def handler(self, gate: RequestGate) -> grpc.GenericRpcHandler:
        """Return the service for gRPC's server."""
        method = gate.handler(self._list, logging.ListLogEntriesRequest, _PERMISSION)
        return grpc.method_handlers_generic_handler(_SERVICE, {"ListLogEntries": method})

    def _list(self, request: Any, context: grpc.ServicerContext, faults: Faults) -> bytes:
        names = [*request.resource_names]
        if len(names) != 1 or not names[0].startswith("projects/"):
            refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "resource_names: the emulator accepts one project")
        if not self._project.is_called(names[0].removeprefix("projects/")):
            deny(context, _PERMISSION)
        if request.order_by not in ("", "timestamp asc"):
            refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "order_by: the emulator accepts only 'timestamp asc'")
        try:
            predicate = filters.parse(request.filter, filters.LOG_ENTRIES)
            lines, token = self._log_store.page(predicate, request.page_size, request.page_token, faults.logs_late)
        except (filters.FilterError, ValueError) as exc:
            refuse(context, grpc.StatusCode.INVALID_ARGUMENT, f"Invalid filter or page token: {exc}")
        raw = logging.ListLogEntriesResponse.pb(logging.ListLogEntriesResponse(next_page_token=token))
        for line in lines:
            entry = raw.entries.add(log_name=f"{names[0]}/logs/{line.task}", insert_id=f"{line.time:016x}")
            entry.resource.type = "ml_job"
            entry.resource.labels.update({"job_id": line.job, "task_name": line.task})
            entry.timestamp.FromNanoseconds(line.time)
            entry.json_payload.update({"message": line.text})
        return bytes(raw.SerializeToString())
