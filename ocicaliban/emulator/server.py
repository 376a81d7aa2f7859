"""The emulator's server: JobService and Cloud Logging over gRPC with TLS, Cloud Storage, and access tokens."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import re
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from concurrent import futures
from pathlib import Path
from typing import Any, NoReturn

import grpc
from google.cloud.aiplatform_v1 import types
from google.cloud.aiplatform_v1.types import CustomJob
from google.protobuf import empty_pb2, field_mask_pb2

from ocicaliban.emulator import filters, identity, place, refusals
from ocicaliban.emulator.faults import Faults, Order
from ocicaliban.emulator.jobs import Entry, Ledger
from ocicaliban.emulator.logs import Book
from ocicaliban.emulator.running import Ground, Runner
from ocicaliban.emulator.storage import Storage
from ocicaliban.errors import OcicalibanError
from ocicaliban.reporter import SILENT, Reporter

try:
    from google.cloud.logging_v2.types import logging
except ImportError:  # an extra of its own: without it nobody asks for logs
    logging = None

_JOBS = "google.cloud.aiplatform.v1.JobService"
_LOGS = "google.logging.v2.LoggingServiceV2"
_LIST_LOGS = "logging.logEntries.list"
_NAME = re.compile(r"projects/([^/]+)/locations/([^/]+)(?:/customJobs/([^/]+))?")
_LONGEST = 1 << 16  # bytes of a request for a token
_AT_ONCE = 256  # requests that wait out their latency at the same time


class Emulator:
    """A region of Vertex AI on this machine, from `start` to `stop`; a context too.

    `folder` gets what a client needs (certificate and key) and the jobs' logs, `gcs` stands for the buckets.
    `parallel` jobs run at once; with 0 all stay queued. `order` are the faults that it shows. A `certificate` is for a
    process that starts several: gRPC reads what it trusts only once.
    """

    def __init__(
        self,
        *,
        folder: Path,
        gcs: Path,
        port: int = 0,
        region: str = "us-central1",
        project: str = "rehearsal",
        parallel: int = 1,
        registries: tuple[str, ...] = (),
        order: Order | None = None,
        certificate: identity.Identity | None = None,
        reporter: Reporter = SILENT,
    ) -> None:
        self.order = order or Order()
        self._over = threading.Event()
        self.ledger = Ledger(reporter)
        self.book = Book()
        self._project = identity.Project(id=project)
        self._account = identity.Account(project)
        with contextlib.ExitStack() as stack:
            mark = stack.enter_context(place.held(folder, runs=parallel > 0))
            place.made(gcs, "--gcs")
            logs = folder / "logs"
            logs.mkdir(exist_ok=True)
            logs.chmod(0o700)
            self._identity = certificate or identity.certificate(folder)
            self._tokens = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Tokens, self._account))
            stack.callback(self._tokens.server_close)
            self._storage = Storage(gcs, self.order)
            stack.callback(self._storage.server_close)
            self._key_file = self._account.key_file(folder, f"http://127.0.0.1:{self._tokens.server_port}/token")
            stack.callback(self._key_file.unlink, missing_ok=True)
            ground = Ground(order=self.order, gcs=gcs, logs=logs, book=self.book, mark=mark, registries=registries)
            runner = Runner(self.ledger, ground, parallel)
            stack.callback(runner.stop)
            service = _Service(self.ledger, runner, self.order, self._project, region, self._over)
            self._server = self._bound(port, service)
            self._held = stack.pop_all()

    def _bound(self, port: int, service: _Service) -> grpc.Server:
        """The server, which has its port, and answers nobody yet."""
        if fault := _fault_of_port(port):
            raise OcicalibanError(f"nothing can listen on port {port}: {fault}", "--port takes another, 0 a free one")
        door = _Door(self._account, self.order, self._over)
        server = grpc.server(
            futures.ThreadPoolExecutor(_AT_ONCE),
            options=[("grpc.so_reuseport", 0)],
            handlers=[service.handler(door), *([_Logs(self.book, self._project).handler(door)] if logging else [])],
        )
        pair = (self._identity.key, self._identity.certificate)
        try:
            self._port = server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials([pair]))
        except RuntimeError:
            self._port = 0
        if not self._port:
            raise OcicalibanError(f"nothing can listen on port {port}", "--port takes another, 0 a free one")
        return server

    def environment(self) -> dict[str, str]:
        """The variables with which Google's client libraries, and so ocicaliban, talk to this emulator."""
        address = f"https://localhost:{self._port}/"
        return {
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM": address,
            **({"CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING": address} if logging else {}),
            "GOOGLE_APPLICATION_CREDENTIALS": str(self._key_file),
            "GOOGLE_CLOUD_PROJECT": self._project.id,
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(self._identity.trusted),
            "STORAGE_EMULATOR_HOST": self._storage.url,
            "no_grpc_proxy": "localhost",
        }

    def start(self) -> None:
        """Answer from now on."""
        self._storage.start()
        self._held.callback(self._storage.shutdown)
        threading.Thread(target=self._tokens.serve_forever, daemon=True).start()
        self._held.callback(self._tokens.shutdown)
        self._server.start()
        self._held.callback(lambda: self._server.stop(0).wait())
        # First of all: requests that wait keep gRPC's threads, for which Python waits when it ends.
        self._held.callback(self._over.set)

    def stop(self) -> None:
        """Take no more requests, end the jobs' containers, and forget the account."""
        self._held.close()

    def __enter__(self) -> Emulator:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _fault_of_port(port: int) -> str:
    """Why nobody can listen there, in the system's words: gRPC does not tell. Empty where it can be."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as exc:
        return exc.strerror or str(exc)
    return ""


_Method = Callable[[Any, grpc.ServicerContext, Faults], bytes]


class _Door:
    """What each request passes: the faults that are ordered, and whether it comes from the emulator's account."""

    def __init__(self, account: identity.Account, order: Order, over: threading.Event) -> None:
        self._account = account
        self._order = order
        self._over = over

    def leads_to(self, method: _Method, kind: type[Any], permission: str) -> grpc.RpcMethodHandler:
        """A method for grpc's server, for requests of that kind; it returns bytes."""

        def answer(request: Any, context: grpc.ServicerContext) -> bytes:
            faults = self._order.now()
            if self._over.wait(faults.latency):
                _refuse(context, grpc.StatusCode.UNAVAILABLE, "The emulator has ended.")
            authorization = str(dict(context.invocation_metadata()).get("authorization", ""))
            if faults.expired or not self._account.knows(authorization):
                message = "Request had invalid authentication credentials. Expected OAuth 2 access token."
                _refuse(context, grpc.StatusCode.UNAUTHENTICATED, message)
            if faults.denied:
                _deny(context, permission)
            if self._order.nth("request", faults.unavailable_every):
                _refuse(context, grpc.StatusCode.UNAVAILABLE, "The service is currently unavailable.")
            return method(request, context, faults)

        return grpc.unary_unary_rpc_method_handler(
            answer, request_deserializer=kind.deserialize, response_serializer=bytes
        )


class _Logs:
    """The one method of LoggingServiceV2 that is there."""

    def __init__(self, book: Book, project: identity.Project) -> None:
        self._book = book
        self._project = project

    def handler(self, door: _Door) -> grpc.GenericRpcHandler:
        """The service for grpc's server."""
        method = door.leads_to(self._list, logging.ListLogEntriesRequest, _LIST_LOGS)
        return grpc.method_handlers_generic_handler(_LOGS, {"ListLogEntries": method})

    def _list(self, request: Any, context: grpc.ServicerContext, faults: Faults) -> bytes:
        names = [*request.resource_names]
        if len(names) != 1 or not names[0].startswith("projects/"):
            _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "resource_names: the emulator takes one project")
        if not self._project.called(names[0].removeprefix("projects/")):
            _deny(context, _LIST_LOGS)
        if request.order_by not in ("", "timestamp asc"):
            _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "order_by: the emulator takes 'timestamp asc' alone")
        try:
            test = filters.parse(request.filter, filters.ENTRIES)
            found, token = self._book.page(test, request.page_size, request.page_token, faults.logs_late)
        except (filters.FilterError, ValueError) as exc:
            _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, f"Invalid filter or page token: {exc}")
        raw = logging.ListLogEntriesResponse.pb(logging.ListLogEntriesResponse(next_page_token=token))
        for each in found:
            entry = raw.entries.add(log_name=f"{names[0]}/logs/{each.task}", insert_id=f"{each.time:016x}")
            entry.resource.type = "ml_job"
            entry.resource.labels.update({"job_id": each.job, "task_name": each.task})
            entry.timestamp.FromNanoseconds(each.time)
            entry.json_payload.update({"message": each.text})
        return bytes(raw.SerializeToString())


class _Service:
    """The methods of JobService that are there; others are UNIMPLEMENTED by themselves."""

    def __init__(
        self,
        ledger: Ledger,
        runner: Runner,
        order: Order,
        project: identity.Project,
        region: str,
        over: threading.Event,
    ) -> None:
        self._ledger = ledger
        self._runner = runner
        self._order = order
        self._project = project
        self._region = region
        self._over = over

    def handler(self, door: _Door) -> grpc.GenericRpcHandler:
        """The service for grpc's server; answers are serialized by whoever makes them, under the ledger's lock."""
        methods: dict[str, tuple[_Method, type[Any], str]] = {
            "CreateCustomJob": (self._create, types.CreateCustomJobRequest, "create"),
            "GetCustomJob": (self._get, types.GetCustomJobRequest, "get"),
            "ListCustomJobs": (self._list, types.ListCustomJobsRequest, "list"),
            "CancelCustomJob": (self._cancel, types.CancelCustomJobRequest, "cancel"),
        }
        return grpc.method_handlers_generic_handler(
            _JOBS,
            {name: door.leads_to(method, kind, _permission(verb)) for name, (method, kind, verb) in methods.items()},
        )

    def _create(self, request: types.CreateCustomJobRequest, context: grpc.ServicerContext, faults: Faults) -> bytes:
        parent = self._own(request.parent, "create", context)
        job: CustomJob = request.custom_job
        if fault := refusals.fault_of(job, faults):
            _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, fault)
        for metric in refusals.exceeded(job, faults):
            message = f"The following quota metrics exceed quota limits: aiplatform.googleapis.com/{metric}"
            _refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, message)
        if not self._order.within_quota(faults.per_minute, time.monotonic()):
            message = (
                "Quota exceeded for quota metric 'Job or LRO submission requests' and limit 'Job or LRO submission "
                "requests per minute per region' of service 'aiplatform.googleapis.com'."
            )
            _refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, message)
        if not self._order.nth("create", faults.lost_every):
            entry = self._ledger.add(parent, job)
            self._runner.submit(entry)
            return self._ledger.answer(entry)
        if faults.lost_late:
            threading.Thread(target=self._carry_out_late, args=(parent, job, faults.lost_late), daemon=True).start()
        else:
            self._carry_out(parent, job)
        while faults.lost_as == "deadline" and context.is_active() and not self._over.wait(0.02):
            pass
        _refuse(context, grpc.StatusCode.UNAVAILABLE, "Socket closed")

    def _carry_out(self, parent: str, job: CustomJob) -> None:
        self._runner.submit(self._ledger.add(parent, job))

    def _carry_out_late(self, parent: str, job: CustomJob, seconds: float) -> None:
        if not self._over.wait(seconds):
            self._carry_out(parent, job)

    def _get(self, request: types.GetCustomJobRequest, context: grpc.ServicerContext, _: Faults) -> bytes:
        entry = self._found(request.name, "get", context)
        return self._ledger.answer(entry)

    def _list(self, request: types.ListCustomJobsRequest, context: grpc.ServicerContext, faults: Faults) -> bytes:
        parent = self._own(request.parent, "list", context)
        if faults.lists_denied:
            _deny(context, _permission("list"))
        mask = field_mask_pb2.FieldMask(paths=types.ListCustomJobsRequest.pb(request).read_mask.paths)
        for path in mask.paths:
            if not field_mask_pb2.FieldMask(paths=[path]).IsValidForDescriptor(CustomJob.pb(CustomJob()).DESCRIPTOR):
                _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, f"Invalid read_mask: there is no field '{path}'.")
        try:
            test = filters.parse(request.filter)
            found, token = self._ledger.page(
                parent,
                test,
                request.page_size,
                request.page_token,
                mask,
                faults.lists_late,
            )
        except (filters.FilterError, ValueError) as exc:
            _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, f"Invalid filter or page token: {exc}")
        raw = types.ListCustomJobsResponse.pb(types.ListCustomJobsResponse(next_page_token=token))
        for each in found:
            raw.custom_jobs.add().ParseFromString(each)
        return bytes(raw.SerializeToString())

    def _cancel(self, request: types.CancelCustomJobRequest, context: grpc.ServicerContext, faults: Faults) -> bytes:
        entry = self._found(request.name, "cancel", context)
        if faults.ended_refuses and self._ledger.over(entry):
            state = self._ledger.state(entry).name
            message = f"CustomJob {request.name} is in the state {state} and cannot be cancelled."
            _refuse(context, grpc.StatusCode.FAILED_PRECONDITION, message)
        self._runner.cancel(entry)
        return bytes(empty_pb2.Empty().SerializeToString())

    def _found(self, name: str, verb: str, context: grpc.ServicerContext) -> Entry:
        """The job of that name."""
        entry = self._ledger.find(self._own(name, verb, context))
        if entry is None:
            _refuse(context, grpc.StatusCode.NOT_FOUND, f"CustomJob {name} is not found.")
        return entry

    def _own(self, name: str, verb: str, context: grpc.ServicerContext) -> str:
        """The name of a resource with the project's number, by which it is known; others than its own are refused."""
        match = _NAME.fullmatch(name)
        if match is None or (match[3] is None) is not (verb in ("create", "list")):
            _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, f"Invalid resource name '{name}'.")
        if not self._project.called(match[1]):
            _deny(context, _permission(verb))
        if match[2] != self._region:
            message = f"The endpoint of {self._region} does not serve the location '{match[2]}'."
            _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, message)
        return f"projects/{self._project.number}{name[match.end(1) :]}"


def _permission(verb: str) -> str:
    return f"aiplatform.customJobs.{verb}"


def _deny(context: grpc.ServicerContext, permission: str) -> NoReturn:
    message = f"Permission '{permission}' denied on resource (or it may not exist)."
    _refuse(context, grpc.StatusCode.PERMISSION_DENIED, message)


def _refuse(context: grpc.ServicerContext, code: grpc.StatusCode, message: str) -> NoReturn:
    context.abort(code, message)
    raise AssertionError  # abort() raises; its stub does not say so


class _Tokens(http.server.BaseHTTPRequestHandler):
    """Gives the access token to whoever has the account's key."""

    timeout = 10

    def __init__(self, account: identity.Account, *request: Any) -> None:
        self._account = account
        super().__init__(*request)

    def do_POST(self) -> None:
        """Answer as Google's token endpoint does (RFC 6749, 5.1 and 5.2; RFC 7523)."""
        length = self.headers.get("Content-Length", "")
        body = self.rfile.read(min(int(length), _LONGEST) if length.isdecimal() else 0)
        asked = dict(urllib.parse.parse_qsl(body.decode("utf-8", "replace")))
        if token := self._account.token(asked.get("assertion", "")):
            self._answer(200, {"access_token": token, "expires_in": 3600, "token_type": "Bearer"})
        else:
            self._answer(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})

    def _answer(self, status: int, answer: Mapping[str, object]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
