"""An emulator of Vertex AI on this machine: Google's client library talks to it, podman runs its jobs.

It has JobService and Cloud Logging over gRPC with TLS, Cloud Storage, and access tokens.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from concurrent import futures

import grpc

from ocicaliban.emulator import folder, identity
from ocicaliban.emulator.faults import FaultInjector
from ocicaliban.emulator.identity import CloudProject, ServerCertificate, ServiceAccount
from ocicaliban.emulator.job_journal import JobJournal
from ocicaliban.emulator.job_run import SharedResources
from ocicaliban.emulator.job_runner import JobRunner
from ocicaliban.emulator.job_service import JobService, Region
from ocicaliban.emulator.job_store import JobStore
from ocicaliban.emulator.log_store import LogStore
from ocicaliban.emulator.logging_service import AVAILABLE as LOGGING
from ocicaliban.emulator.logging_service import LoggingService
from ocicaliban.emulator.rpc import RequestGate
from ocicaliban.emulator.settings import EmulatorSettings
from ocicaliban.emulator.storage_service import StorageService
from ocicaliban.emulator.token_service import TokenService
from ocicaliban.errors import OcicalibanError
from ocicaliban.reporter import SILENT, Reporter

_MAX_REQUESTS = 256  # that wait for their latency at the same time
_PATIENCE = 10.0  # seconds for what is being answered when the emulator ends; gRPC itself would wait for ever


class Emulator:
    """A region of Vertex AI on this machine, from `start` to `stop`; also a context manager.

    `faults` says what goes wrong. A process that creates several emulators gives all of them the same `certificate`:
    gRPC reads what it trusts only once. `account` is that of the clients, by default a new one. Raises UsageError if
    another emulator uses the folder, OcicalibanError if the port is taken or podman is missing.
    """

    def __init__(
        self,
        settings: EmulatorSettings,
        *,
        faults: FaultInjector | None = None,
        certificate: ServerCertificate | None = None,
        account: ServiceAccount | None = None,
        reporter: Reporter = SILENT,
    ) -> None:
        self.faults = faults or FaultInjector()
        self._journal = JobJournal(settings.folder / "jobs", reporter)
        self.jobs = JobStore(reporter, self._journal)
        self.log_store = LogStore()
        self._over = threading.Event()
        self._project = CloudProject(id=settings.project)
        self._account = account or ServiceAccount(settings.project)
        with contextlib.ExitStack() as stack:
            emulator_id = stack.enter_context(folder.lock(settings.folder, runs_containers=settings.parallel > 0))
            stack.callback(self._journal.close)
            folder.create(settings.gcs, "--gcs")
            logs = settings.folder / "logs"
            logs.mkdir(exist_ok=True)
            logs.chmod(0o700)
            self.certificate = certificate or identity.create_certificate(settings.folder)
            self._tokens = TokenService(self._account)
            stack.callback(self._tokens.close)
            self.storage = StorageService(settings.gcs, self.faults)
            stack.callback(self.storage.server_close)
            self.key_file = self._account.write_key_file(settings.folder, self._tokens.url)
            stack.callback(self.key_file.unlink, missing_ok=True)
            shared = SharedResources(
                faults=self.faults,
                gcs=settings.gcs,
                logs=logs,
                log_store=self.log_store,
                emulator_id=emulator_id,
                insecure_registries=settings.insecure_registries,
            )
            self._runner = JobRunner(self.jobs, shared, settings.parallel)
            stack.callback(self._runner.stop)
            region = Region(project=self._project, id=settings.region)
            service = JobService(region, self.jobs, self._runner, self.faults, self._over)
            self._server, self._port = self._bind(settings.port, service)
            self._resources = stack.pop_all()

    def _bind(self, port: int, service: JobService) -> tuple[grpc.Server, int]:
        """Return gRPC's server, bound to a port but not answering yet, and the port."""
        hint = "--port takes another port, 0 a free one"
        if problem := _problem_of_port(port):
            raise OcicalibanError(f"cannot listen on port {port}: {problem}", hint)
        gate = RequestGate(self._account, self.faults, self._over)
        handlers = [service.handler(gate)]
        if LOGGING:
            handlers.append(LoggingService(self.log_store, self._project).handler(gate))
        server = grpc.server(
            futures.ThreadPoolExecutor(_MAX_REQUESTS), options=[("grpc.so_reuseport", 0)], handlers=handlers
        )
        pair = (self.certificate.key, self.certificate.certificate)
        try:
            bound = server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials([pair]))
        except RuntimeError:
            bound = 0
        if not bound:
            raise OcicalibanError(f"cannot listen on port {port}", hint)
        return server, bound

    def environment(self) -> dict[str, str]:
        """Return the variables that lead Google's client libraries, and so ocicaliban, to this emulator."""
        address = f"https://localhost:{self._port}/"
        return {
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM": address,
            **({"CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING": address} if LOGGING else {}),
            "GOOGLE_APPLICATION_CREDENTIALS": str(self.key_file),
            "GOOGLE_CLOUD_PROJECT": self._project.id,
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(self.certificate.trusted),
            "STORAGE_EMULATOR_HOST": self.storage.url,
            "no_grpc_proxy": "localhost",
        }

    def start(self) -> None:
        """Answer from now on; take up the jobs of an emulator that was killed."""
        queued = self.jobs.restore(self._journal.read())
        self._journal.begin(record.job for record in self.jobs.records())
        for record in queued:
            self._runner.submit(record)
        self.storage.start()
        self._resources.callback(self.storage.shutdown)
        self._tokens.start()
        self._resources.callback(self._tokens.stop)
        self._server.start()
        self._resources.callback(lambda: self._server.stop(0).wait(_PATIENCE))
        # This comes first at the end: requests that wait hold gRPC's threads, for which Python waits when it exits.
        self._resources.callback(self._over.set)

    def stop(self) -> None:
        """Accept no more requests, end the jobs' containers, and remove the account's key file."""
        self._resources.close()

    def __enter__(self) -> Emulator:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _problem_of_port(port: int) -> str:
    """Return why nothing can listen on a port, in the system's words, since gRPC does not say; "" if it is free."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as exc:
        return exc.strerror or str(exc)
    return ""
