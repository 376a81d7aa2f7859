"""Run all replicas of a job once, each in a container, until all have ended."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import frozen
from google.cloud.aiplatform_v1.types import CustomJobSpec, JobState
from google.rpc import code_pb2

from ocicaliban.containers import cgroups, podman
from ocicaliban.emulator import replica
from ocicaliban.emulator.faults import FaultInjector
from ocicaliban.emulator.job_store import JobRecord
from ocicaliban.emulator.log_store import LogStore
from ocicaliban.emulator.replica import Replica
from ocicaliban.errors import OcicalibanError
from ocicaliban.gpu import cdi, podman_options
from ocicaliban.system import process

_PODMAN_FAILED = 125  # the exit code of `podman run` if podman itself failed
_GRACE = 5.0  # seconds between SIGTERM and SIGKILL


@frozen(kw_only=True)
class JobEnd:
    """How a job ended: its state, and the google.rpc code and message of its error, if it has one."""

    state: JobState
    code: int = code_pb2.OK
    message: str = ""

    @classmethod
    def failed(cls, code: int, message: str) -> JobEnd:
        """Return the end of a job that failed."""
        return cls(state=JobState.JOB_STATE_FAILED, code=code, message=message)


SUCCEEDED = JobEnd(state=JobState.JOB_STATE_SUCCEEDED)
CANCELLED = JobEnd(state=JobState.JOB_STATE_CANCELLED, code=code_pb2.CANCELLED)
"""By the reference of CancelCustomJob a cancelled job has an error."""
EMULATOR_ENDED = JobEnd(state=JobState.JOB_STATE_CANCELLED, code=code_pb2.CANCELLED, message="The emulator has ended.")


@frozen(kw_only=True)
class SharedResources:
    """What all jobs of an emulator share.

    `gcs` is the folder of the buckets, `logs` that of the containers' logs, `log_store` Cloud Logging. `emulator_id` is
    in the label of each container. Images from `insecure_registries` are pulled without TLS.
    """

    faults: FaultInjector
    gcs: Path
    logs: Path
    log_store: LogStore
    emulator_id: str
    insecure_registries: tuple[str, ...] = ()


class JobRun:
    """One run of all replicas of a job, each with its `gpus`.

    `started` is when the job began to run, by the monotonic clock. `interrupted` returns how the job ends if it was
    cancelled or the emulator ends, else None. After `run`, `end` says how the job ended, and `restart` whether all
    replicas are to run again.
    """

    def __init__(
        self,
        record: JobRecord,
        shared: SharedResources,
        gpus: Sequence[tuple[cdi.Device, ...]],
        started: float,
        interrupted: Callable[[], JobEnd | None],
    ) -> None:
        self.end = SUCCEEDED
        self.restart = False
        self._record = record
        self._spec = record.job.job_spec
        self._shared = shared
        self._gpus = gpus
        self._started = started
        self._interrupted = interrupted
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._completed = 0
        sizes = [pool.replica_count for pool in self._spec.worker_pool_specs]
        self._replicas = replica.create_replicas(sizes, _free_ports(sum(sizes)))

    def run(self) -> None:
        """Start all replicas and return when all have ended; the first failure, a timeout or a cancel ends the rest."""
        threads = [
            threading.Thread(target=self._run_replica, args=pair, daemon=True)
            for pair in zip(self._replicas, self._gpus, strict=True)
        ]
        for thread in threads:
            thread.start()
        limit = CustomJobSpec.pb(self._spec).scheduling.timeout.seconds
        deadline = self._started + limit if limit else None
        for thread in threads:
            while thread.is_alive():
                thread.join(0.1)
                if end := self._interrupted():
                    self._finish(end)
                elif deadline is not None and time.monotonic() > deadline:
                    message = f"The job was stopped because it ran longer than its timeout of {limit} seconds."
                    self._finish(JobEnd.failed(code_pb2.DEADLINE_EXCEEDED, message))
        if self._completed < len(self._replicas):
            self._finish(JobEnd.failed(code_pb2.INTERNAL, "The emulator could not run all replicas."))

    def _finish(self, end: JobEnd) -> None:
        """End the replicas, unless another end came first, or all replicas have completed."""
        with self._lock:
            if not self._over.is_set() and self._completed < len(self._replicas):
                self.end = end
                self._over.set()

    def _run_replica(self, one: Replica, devices: tuple[cdi.Device, ...]) -> None:
        pool = self._spec.worker_pool_specs[one.pool]
        name = f"vertex-{self._record.id}-{one.name}"
        try:
            global_options, options = _gpu_options(devices)
            env = replica.environment(self._record.job, one, self._replicas)
            argv = replica.podman_command(name, self._shared.emulator_id, pool, env, self._shared.gcs, options)
            argv = cgroups.in_cgroup2((argv[0], *global_options, *argv[1:]))
            while not self._over.is_set():
                if not self._run_once(name, argv, one):
                    return
                if self._spec.scheduling.restart_job_on_worker_restart and not self._spec.scheduling.disable_retries:
                    self.restart = True
                    self._over.set()
        except OcicalibanError as fault:
            self._finish(JobEnd.failed(code_pb2.INTERNAL, fault.message))

    def _run_once(self, name: str, argv: tuple[str, ...], one: Replica) -> bool:
        """Run the container once; return whether it was preempted, as a spot machine may be."""
        faults = self._shared.faults.current()
        preempt = faults.preempted and self._shared.faults.is_among_first("replica", faults.preempted)
        ended = threading.Event()
        codes: list[int] = []
        log = self._shared.logs / f"{self._record.id}-{one.name}.log"

        def run() -> None:
            try:
                with self._shared.log_store.follow(self._record.id, one.name, log):
                    codes.append(process.run_logged(argv, log))
            finally:
                ended.set()

        threading.Thread(target=run, daemon=True).start()
        if preempt and not ended.wait(faults.preempted_after):
            _kill(name, ended, "KILL")
            return True
        while not ended.wait(0.1):
            if self._over.is_set():
                _kill(name, ended, "TERM")
                return False  # whatever its exit code, it has not completed
        self._note_exit(codes[0] if codes else _PODMAN_FAILED, one, log)
        return False

    def _note_exit(self, code: int, one: Replica, log: Path) -> None:
        """Count a replica that completed, or end the job if it failed."""
        if code == _PODMAN_FAILED:
            message = f"The replica {one.name} could not be started. Its log: {log}"
            self._finish(JobEnd.failed(code_pb2.INTERNAL, message))
        elif code:
            message = f"The replica {one.name} exited with a non-zero status of {code}. Its log: {log}"
            self._finish(JobEnd.failed(code_pb2.INVALID_ARGUMENT, message))
        else:
            with self._lock:
                self._completed += 1


def _kill(name: str, ended: threading.Event, signal: str) -> None:
    """Signal a container, which may not exist yet, until it has ended; kill it if it ignores the signal."""
    deadline = time.monotonic() + _GRACE
    while not ended.is_set():
        podman.kill(name, signal if time.monotonic() < deadline else "KILL")
        ended.wait(0.3)


def _gpu_options(devices: tuple[cdi.Device, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return podman's global options, and those of `podman run`, that give a container these devices."""
    return podman_options.container_options(devices, podman.version()) if devices else ((), ())


def _free_ports(count: int) -> tuple[int, ...]:
    """Return so many free ports; hold each until all are found, so that none comes twice."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return tuple(int(each.getsockname()[1]) for each in sockets)
