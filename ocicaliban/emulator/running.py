"""The emulator's containers: podman runs those of a job as Vertex AI would run them."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen
from google.cloud.aiplatform_v1.types import AcceleratorType, CustomJob, CustomJobSpec, JobState, WorkerPoolSpec
from google.protobuf import json_format
from google.rpc import code_pb2

from ocicaliban.containers import cgroups, command_line, podman
from ocicaliban.emulator import place
from ocicaliban.emulator.faults import Order
from ocicaliban.emulator.jobs import Entry, Ledger
from ocicaliban.emulator.logs import Book
from ocicaliban.errors import OcicalibanError
from ocicaliban.gpu import cdi, podman_options, selection
from ocicaliban.system import process

# --- what a replica sees ---


@frozen(kw_only=True)
class Replica:
    """One container of a job: its worker pool, its index there, and where it can be reached."""

    pool: int
    index: int
    address: str

    @property
    def name(self) -> str:
        """As the service's logs and errors call it."""
        return f"workerpool{self.pool}-{self.index}"


def replicas(sizes: Sequence[int], free_ports: Callable[[int], Sequence[int]]) -> tuple[Replica, ...]:
    """The replicas of worker pools of these sizes; they share this machine, so each has a port of its own."""
    places = [(pool, index) for pool, size in enumerate(sizes) for index in range(size)]
    return tuple(
        Replica(pool=pool, index=index, address=f"127.0.0.1:{port}")
        for (pool, index), port in zip(places, free_ports(len(places)), strict=True)
    )


_ROLES = ("chief", "worker", "ps", "evaluator")


def environment(job: CustomJob, one: Replica, all_: Sequence[Replica]) -> dict[str, str]:
    """The variables that the service sets in a replica, and those of its worker pool's own, which come last."""
    spec = job.job_spec
    _, project, _, _, _, number = job.name.split("/")
    described = json_format.MessageToDict(CustomJobSpec.pb(spec), preserving_proto_field_name=True)
    common = {"environment": "cloud", "job": described}
    pools: dict[str, list[str]] = {}
    roles: dict[str, list[str]] = {}
    for each in all_:
        pools.setdefault(f"workerpool{each.pool}", []).append(each.address)
        if each.pool < 3:
            roles.setdefault(_ROLES[each.pool], []).append(each.address)
    task = {"type": f"workerpool{one.pool}", "index": one.index}
    env = {
        "CLOUD_ML_PROJECT_ID": project,
        "CLOUD_ML_JOB_ID": number,
        "CLUSTER_SPEC": json.dumps({"cluster": pools, "task": task, **common}),
    }
    if len(all_) > 1:
        role = {"type": _ROLES[one.pool], "index": one.index}
        env["TF_CONFIG"] = json.dumps({"cluster": roles, "task": role, **common})
    if base := spec.base_output_directory.output_uri_prefix.rstrip("/"):
        env["AIP_MODEL_DIR"] = f"{base}/model/"
        env["AIP_CHECKPOINT_DIR"] = f"{base}/checkpoints/"
        env["AIP_TENSORBOARD_LOG_DIR"] = f"{base}/logs/"
    return env | {each.name: each.value for each in spec.worker_pool_specs[one.pool].container_spec.env}


def run_argv(
    name: str, mark: str, pool: WorkerPoolSpec, env: Mapping[str, str], gcs: Path, devices: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """podman's command for a replica, which has its emulator's mark.

    Nothing of this machine is in it but the buckets' folder at /gcs.
    """
    container = pool.container_spec
    options = [*command_line.label_options({place.LABEL: mark})]
    options += ["--network", "host", "--http-proxy=false", *command_line.mount_option(f"{gcs}:/gcs"), *devices]
    for key, value in env.items():
        options += ["--env", f"{key}={value}"]
    if container.command:
        options += ["--entrypoint", json.dumps(list(container.command))]
    return command_line.bare_run_argv(name, container.image_uri, tuple(options), tuple(container.args))


# --- running them ---

_PODMANS_OWN = 125  # the exit code of `podman run` where it has failed itself


class _Gpus:
    """GPUs, handed out to whole jobs: two jobs that have a part of theirs each would wait for ever."""

    def __init__(self, devices: tuple[cdi.Device, ...]) -> None:
        self._free = list(devices)
        self._all = len(devices)
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def held(self, wanted: int, given_up: Callable[[], object]) -> Iterator[tuple[cdi.Device, ...]]:
        """Hold so many, or all where there are fewer; none where the job is given up before they are free."""
        count = min(wanted, self._all)
        with self._changed:
            while len(self._free) < count and not given_up():
                self._changed.wait(0.1)
            taken = tuple(self._free[:count]) if len(self._free) >= count else ()
            del self._free[: len(taken)]
        try:
            yield taken
        finally:
            with self._changed:
                self._free += taken
                self._changed.notify_all()


def shares(devices: tuple[cdi.Device, ...], wants: Sequence[int]) -> list[tuple[cdi.Device, ...]]:
    """Which of a job's devices each replica has: another one each, and round again where there are too few."""
    turn = itertools.cycle(devices)
    return [tuple(itertools.islice(turn, min(want, len(devices)))) for want in wants]


def _gpus_here() -> tuple[cdi.Device, ...]:
    """The GPUs that CDI offers; a spec that is of no use offers none, as for a job without."""
    try:
        return selection.choose_gpus(None, None)
    except OcicalibanError:
        return ()


@frozen(kw_only=True)
class End:
    """What became of a job: its state, and the google.rpc code and words of its error where it has one."""

    state: JobState
    code: int = code_pb2.OK
    message: str = ""


def _failed(code: int, message: str) -> End:
    return End(state=JobState.JOB_STATE_FAILED, code=code, message=message)


_SUCCEEDED = End(state=JobState.JOB_STATE_SUCCEEDED)
# By the reference of CancelCustomJob such a job has an error.
_CANCELLED = End(state=JobState.JOB_STATE_CANCELLED, code=code_pb2.CANCELLED)
_STOPPED = End(state=JobState.JOB_STATE_CANCELLED, code=code_pb2.CANCELLED, message="The emulator has ended.")


@frozen(kw_only=True)
class Ground:
    """What all jobs stand on: the faults, the buckets' folder and that of the logs, the entries of Cloud Logging.

    The images of `registries`, and of those on loopback, are pulled without TLS. `mark` is that of the containers.
    """

    order: Order
    gcs: Path
    logs: Path
    book: Book
    mark: str
    registries: tuple[str, ...] = ()


class Runner:
    """Runs the jobs of a ledger, so many at once."""

    def __init__(self, ledger: Ledger, ground: Ground, parallel: int) -> None:
        if parallel:
            process.tool("podman")
        self._ledger = ledger
        self._ground = ground
        self._waiting: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._gpus = _Gpus(_gpus_here() if parallel else ())
        self._pulled: dict[str, threading.Lock] = {}
        self._there: set[str] = set()
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(parallel)]
        for thread in self._threads:
            thread.start()

    def submit(self, entry: Entry) -> None:
        """Put a job at the end of the queue."""
        self._waiting.put(entry)

    def cancel(self, entry: Entry) -> None:
        """End a job; one that waits ends at once, one that runs when its containers have."""
        entry.cancelled.set()
        if self._ledger.state(entry) == JobState.JOB_STATE_QUEUED:
            self._ledger.move(entry, JobState.JOB_STATE_CANCELLED, code_pb2.CANCELLED)
        else:
            self._ledger.move(entry, JobState.JOB_STATE_CANCELLING)

    def stop(self) -> None:
        """End all containers and wait for them."""
        self._stopping.set()
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (entry := self._waiting.get()) is not None and not self._stopping.is_set():
            if not self._ledger.move(entry, JobState.JOB_STATE_PENDING):
                continue
            end = self._run(entry)
            if end.state == JobState.JOB_STATE_FAILED:
                self._ground.book.write(entry.id, "service", end.message)
            self._ledger.move(entry, end.state, end.code, end.message)

    def _run(self, entry: Entry) -> End:
        pools = entry.job.job_spec.worker_pool_specs
        for image in {pool.container_spec.image_uri for pool in pools if pool.replica_count}:
            if failure := self._pull(image):
                return failure
        until = time.monotonic() + self._ground.order.now().waits
        while time.monotonic() < until and not self._ended(entry):
            time.sleep(0.05)
        wants = [_gpus_of(pool) for pool in pools for _ in range(pool.replica_count)]
        with self._gpus.held(sum(wants), lambda: self._ended(entry)) as devices:
            began = time.monotonic()
            while not (end := self._ended(entry)):
                run = _Run(entry, self._ground, shares(devices, wants), began, self._ended)
                self._ledger.move(entry, JobState.JOB_STATE_RUNNING)
                run.go()
                # All replicas again when one was restarted: only where the job asks for it.
                if not run.start_over:
                    return run.end
        return end

    def _ended(self, entry: Entry) -> End | None:
        """How a job ends that is cancelled, or that the emulator's own end takes with it."""
        if entry.cancelled.is_set():
            return _CANCELLED
        return _STOPPED if self._stopping.is_set() else None

    def _pull(self, image: str) -> End | None:
        """Have an image; with a digest it cannot be another one later, but somebody may remove it."""
        with self._pulled.setdefault(image, threading.Lock()):
            if image in self._there and podman.image_exists(image):
                return None
            host = image.partition("/")[0]
            bare = host.partition(":")[0] in ("localhost", "127.0.0.1") or host in self._ground.registries
            log = self._ground.logs / f"pull-{hashlib.sha256(image.encode()).hexdigest()[:12]}.log"
            if podman.pull(image, log, tls_verify=not bare):
                why = log.read_text(errors="replace").rstrip().rpartition("\n")[2]
                return _failed(code_pb2.NOT_FOUND, f"Failed to pull the image {image}: {why}")
            self._there.add(image)
        return None


class _Run:
    """One run of all replicas of a job that `began` to run then (by the monotonic clock); each has its GPUs."""

    def __init__(
        self,
        entry: Entry,
        ground: Ground,
        gpus: Sequence[tuple[cdi.Device, ...]],
        began: float,
        ended: Callable[[Entry], End | None],
    ) -> None:
        self.end = _SUCCEEDED
        self.start_over = False
        self._entry = entry
        self._spec = entry.job.job_spec
        self._ground = ground
        self._gpus = gpus
        self._began = began
        self._ended = ended
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._completed = 0
        self._all = replicas([pool.replica_count for pool in self._spec.worker_pool_specs], _free_ports)

    def go(self) -> None:
        """Start them all and return when all have ended; the first that fails, a timeout or a cancel ends the rest."""
        threads = [
            threading.Thread(target=self._replica, args=pair, daemon=True)
            for pair in zip(self._all, self._gpus, strict=True)
        ]
        for thread in threads:
            thread.start()
        limit = CustomJobSpec.pb(self._spec).scheduling.timeout.seconds
        deadline = self._began + limit if limit else None
        for thread in threads:
            while thread.is_alive():
                thread.join(0.1)
                if end := self._ended(self._entry):
                    self._finish(end)
                elif deadline is not None and time.monotonic() > deadline:
                    message = f"The job was stopped because it ran longer than its timeout of {limit} seconds."
                    self._finish(_failed(code_pb2.DEADLINE_EXCEEDED, message))
        if self._completed < len(self._all):
            self._finish(_failed(code_pb2.INTERNAL, "The emulator could not run all replicas."))

    def _finish(self, end: End) -> None:
        """End the replicas, unless something else has done so; what comes after they have all completed is too late."""
        with self._lock:
            if not self._over.is_set() and self._completed < len(self._all):
                self.end = end
                self._over.set()

    def _replica(self, one: Replica, devices: tuple[cdi.Device, ...]) -> None:
        pool = self._spec.worker_pool_specs[one.pool]
        name = f"vertex-{self._entry.id}-{one.name}"
        try:
            before, options = _gpu_options(devices)
            env = environment(self._entry.job, one, self._all)
            argv = run_argv(name, self._ground.mark, pool, env, self._ground.gcs, options)
            argv = cgroups.in_cgroup2((argv[0], *before, *argv[1:]))
            while not self._over.is_set():
                taken_away = self._once(name, argv, one)
                if not taken_away:
                    return
                if self._spec.scheduling.restart_job_on_worker_restart and not self._spec.scheduling.disable_retries:
                    self.start_over = True
                    self._over.set()
        except OcicalibanError as fault:
            self._finish(_failed(code_pb2.INTERNAL, fault.message))

    def _once(self, name: str, argv: tuple[str, ...], one: Replica) -> bool:
        """Run the container once; whether it was taken away, as a spot machine is."""
        faults = self._ground.order.now()
        takes = faults.preempted and self._ground.order.first("replica", faults.preempted)
        ended = threading.Event()
        codes: list[int] = []
        log = self._ground.logs / f"{self._entry.id}-{one.name}.log"

        def run() -> None:
            try:
                with self._ground.book.follows(self._entry.id, one.name, log):
                    codes.append(process.run_logged(argv, log))
            finally:
                ended.set()

        threading.Thread(target=run, daemon=True).start()
        if takes and not ended.wait(faults.preempted_after):
            self._end(name, ended, "KILL")
            return True
        while not ended.wait(0.1):
            if self._over.is_set():
                self._end(name, ended, "TERM")
                return False  # whatever it made of it, it has not completed
        code = codes[0] if codes else _PODMANS_OWN
        if code == _PODMANS_OWN:
            self._finish(_failed(code_pb2.INTERNAL, f"The replica {one.name} could not be started. Its log: {log}"))
        elif code:
            words = f"The replica {one.name} exited with a non-zero status of {code}. Its log: {log}"
            self._finish(_failed(code_pb2.INVALID_ARGUMENT, words))
        else:
            with self._lock:
                self._completed += 1
        return False

    @staticmethod
    def _end(name: str, ended: threading.Event, signal: str) -> None:
        """End a container, which may not be there yet; who does not heed SIGTERM is killed."""
        patience = time.monotonic() + 5
        while not ended.is_set():
            podman.kill(name, signal if time.monotonic() < patience else "KILL")
            ended.wait(0.3)


def _gpus_of(pool: WorkerPoolSpec) -> int:
    """How many GPUs each replica of a pool wants; TPUs are none."""
    is_gpu = AcceleratorType(pool.machine_spec.accelerator_type).name.startswith("NVIDIA")
    return int(pool.machine_spec.accelerator_count) if is_gpu else 0


def _gpu_options(devices: tuple[cdi.Device, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """podman's own options and those of `run` that give a container these devices."""
    if not devices:
        return (), ()
    return podman_options.container_options(devices, podman.version())


def _free_ports(count: int) -> tuple[int, ...]:
    """So many ports that nobody listens on; they are held until all are found, so that none comes twice."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return tuple(int(each.getsockname()[1]) for each in sockets)
