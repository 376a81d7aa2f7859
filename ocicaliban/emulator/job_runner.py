"""Run the emulator's jobs, some at a time: pull their images, wait for GPUs, run their replicas with podman."""

from __future__ import annotations

import functools
import hashlib
import queue
import threading
import time

from google.cloud.aiplatform_v1.types import JobState
from google.rpc import code_pb2

from ocicaliban.containers import podman
from ocicaliban.emulator import gpu_pool
from ocicaliban.emulator.gpu_pool import GpuPool
from ocicaliban.emulator.job_run import CANCELLED, EMULATOR_ENDED, JobEnd, JobRun, SharedResources
from ocicaliban.emulator.job_store import JobRecord, JobStore
from ocicaliban.system import process


class JobRunner:
    """Runs the jobs of a store, `parallel` at once; with 0 all stay queued."""

    def __init__(self, jobs: JobStore, shared: SharedResources, parallel: int) -> None:
        if parallel:
            process.tool("podman")
        self._jobs = jobs
        self._shared = shared
        self._queue: queue.SimpleQueue[JobRecord | None] = queue.SimpleQueue()
        self._gpus = GpuPool(gpu_pool.find_gpus() if parallel else ())
        self._pulling: dict[str, threading.Lock] = {}
        self._pulled: set[str] = set()
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(parallel)]
        for thread in self._threads:
            thread.start()

    def submit(self, record: JobRecord) -> None:
        """Put a job at the end of the queue."""
        self._queue.put(record)

    def cancel(self, record: JobRecord) -> None:
        """Cancel a job: a queued one ends at once, a running one when its containers have ended."""
        record.cancelled.set()
        if self._jobs.state(record) == JobState.JOB_STATE_QUEUED:
            self._jobs.set_state(record, JobState.JOB_STATE_CANCELLED, code_pb2.CANCELLED)
        else:
            self._jobs.set_state(record, JobState.JOB_STATE_CANCELLING)

    def stop(self) -> None:
        """End all containers, and wait for them."""
        self._stopping.set()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (record := self._queue.get()) is not None and not self._stopping.is_set():
            if not self._jobs.set_state(record, JobState.JOB_STATE_PENDING):
                continue
            end = self._run(record)
            if end.state == JobState.JOB_STATE_FAILED:
                self._shared.log_store.write(record.id, "service", end.message)
            self._jobs.set_state(record, end.state, end.code, end.message)

    def _run(self, record: JobRecord) -> JobEnd:
        pools = record.job.job_spec.worker_pool_specs
        for image in {pool.container_spec.image_uri for pool in pools if pool.replica_count}:
            if failure := self._pull(image):
                return failure
        interrupted = functools.partial(self._interrupted, record)
        until = time.monotonic() + self._shared.faults.current().waits
        while time.monotonic() < until and not interrupted():
            time.sleep(0.05)
        wanted = [gpu_pool.wanted_by(pool) for pool in pools for _ in range(pool.replica_count)]
        with self._gpus.hold(sum(wanted), interrupted) as devices:
            started = time.monotonic()
            while not (end := interrupted()):
                run = JobRun(record, self._shared, gpu_pool.divide(devices, wanted), started, interrupted)
                self._jobs.set_state(record, JobState.JOB_STATE_RUNNING)
                run.run()
                # A preempted replica restarts all of them only if the job asks for that.
                if not run.restart:
                    return run.end
        return end

    def _interrupted(self, record: JobRecord) -> JobEnd | None:
        """Return how a job ends that is cancelled, or that the end of the emulator ends; None if it may run."""
        if record.cancelled.is_set():
            return CANCELLED
        return EMULATOR_ENDED if self._stopping.is_set() else None

    def _pull(self, image: str) -> JobEnd | None:
        """Pull an image unless it is there; return how the job ends if that fails.

        An image named by digest cannot change, but someone may remove it.
        """
        with self._pulling.setdefault(image, threading.Lock()):
            if image in self._pulled and podman.image_exists(image):
                return None
            host = image.partition("/")[0]
            insecure = host.partition(":")[0] in ("localhost", "127.0.0.1") or host in self._shared.insecure_registries
            log = self._shared.logs / f"pull-{hashlib.sha256(image.encode()).hexdigest()[:12]}.log"
            if podman.pull(image, log, tls_verify=not insecure):
                why = log.read_text(errors="replace").rstrip().rpartition("\n")[2]
                return JobEnd.failed(code_pb2.NOT_FOUND, f"Failed to pull the image {image}: {why}")
            self._pulled.add(image)
        return None
