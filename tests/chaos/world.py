"""Where the chaos happens: a project with a history, a cache, a registry and a stand-in for Vertex AI of its own."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from attrs import define, field

from ocicaliban.history import access
from ocicaliban.model.job import Job
from tests.chaos.vertex import VertexProcess
from tests.folders import write
from tests.integration import postgres
from tests.integration.program import CONFIG, REPOSITORY, Done, command, environment
from tests.integration.registries import Registry

MARK = "OCICALIBAN_CHAOS"
"""A variable that everything of ours has, so that nothing of others is killed."""
PATIENCE = 900
"""Seconds after which a command counts as hanging, on a machine with very much else to do too."""
SMALL = 256 * 2**20
"""Bytes that a disk may have which is filled up: in a container, /dev/shm has 64 MiB."""
JOB = """\
import os, sys, time
while True:
    try:
        file = os.open("/out/started", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, b"x")
        break
    except OSError:  # the disk is full
        time.sleep(0.05)
time.sleep(float(sys.argv[4]))
sys.exit(int(sys.argv[2]))
"""


@define(kw_only=True, eq=False)
class World:
    """A folder `top` with all of it; `dice` decides everything that is random.

    `child` is the command that runs, `scene` what its environment has besides `env` in this round. `excused` counts
    the jobs whose exit codes were lost with conmon, `unseen` those that ended after kills of podman's service and of
    ours, and ran again: neither is promised otherwise.
    """

    top: Path
    dice: random.Random
    key: str = field(factory=lambda: os.urandom(3).hex())
    env: Mapping[str, str] = field(factory=dict)
    scene: Mapping[str, str] = field(factory=dict)
    excused: int = 0
    unseen: int = 0
    child: subprocess.Popen[bytes] | None = None
    _registry: Registry | None = None
    vertex: VertexProcess | None = None
    _postgres: postgres.Server | None = None
    _small: Path | None = None

    @property
    def project(self) -> Path:
        """The project's folder."""
        return self.top / "project"

    @property
    def registry(self) -> Registry:
        """docker-registry, from the first time that it is wanted."""
        if self._registry is None:
            (self.top / "registry").mkdir()
            self._registry = Registry(self.top / "registry")
        return self._registry

    @property
    def emulator(self) -> VertexProcess:
        """The stand-in for Vertex AI, from the first time that it is wanted."""
        if self.vertex is None:
            self.vertex = VertexProcess(self.top / "emulator")
            self.env = {**self.env, **self.vertex.environment}
        return self.vertex

    @property
    def postgres(self) -> postgres.Server:
        """PostgreSQL, from the first time that it is wanted, with the database `chaos`."""
        if self._postgres is None:
            (self.top / "postgres").mkdir()
            server = postgres.Server(self.top / "postgres")
            server.start()
            server.database("chaos")
            self._postgres = server
        return self._postgres

    @property
    def small(self) -> Path | None:
        """A folder on a small disk that may be filled up; None where the machine has none."""
        if self._small is None and shutil.disk_usage("/dev/shm").total <= SMALL:
            self._small = Path(tempfile.mkdtemp(prefix="oc-chaos-", dir="/dev/shm"))
        return self._small

    @property
    def state(self) -> Path:
        """The folder that the commands of this round take for XDG_STATE_HOME."""
        return Path({**self.env, **self.scene}["XDG_STATE_HOME"])

    @property
    def url(self) -> str:
        """The history of this round."""
        return {**self.env, **self.scene}["OCICALIBAN_DB_URL"]

    def group(self, n: int) -> str:
        """Return the name of the group of a round, which no other world has."""
        return f"chaos-{self.key}-{n}"

    def prepare(self) -> None:
        """Write the project, and build its base."""
        write(self.project, {"ocicaliban.toml": CONFIG, "job.py": JOB, "t.py": "print(0)\n"})
        (self.top / "auth.json").write_text("{}")
        self.env = {
            MARK: str(self.top),
            "XDG_STATE_HOME": str(self.top / "state"),
            "XDG_CACHE_HOME": str(self.top / "cache"),
            "OCICALIBAN_DB_URL": f"sqlite:///{self.top}/history.db",
            "REGISTRY_AUTH_FILE": str(self.top / "auth.json"),
            "PYTHONPATH": f"{Path(__file__).with_name('clock')}:{REPOSITORY}",
            "OCICALIBAN_CHAOS_CLOCK": str(self.top / "clock"),
        }
        done = self.call("build", "--mode", "run", "job.py")
        if done.returncode:
            raise SystemExit(f"the project cannot be built: {done.stderr}")

    def begin(self, *args: str) -> None:
        """Start a command; what it says is appended to the file `words`."""
        with (self.top / "words").open("ab") as words:
            words.write(f"$ {' '.join(args)}\n".encode())
            words.flush()
            self.child = subprocess.Popen(
                command(*args),
                cwd=self.project,
                env=environment({**self.env, **self.scene}),
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                start_new_session=True,
            )

    def running(self) -> bool:
        """Return whether the command runs."""
        return self.child is not None and self.child.poll() is None

    def call(self, *args: str) -> Done:
        """Run a command to its end."""
        return subprocess.run(
            command(*args),
            cwd=self.project,
            env=environment({**self.env, **self.scene}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def jobs(self, group: str) -> tuple[Job, ...]:
        """Return the jobs of a group that are on record."""
        with access.open(self.url) as history:
            return history.jobs(group=group)

    def processes(self, *, conmon_of: str = "") -> Iterator[tuple[int, str]]:
        """Yield the processes of ours with their command lines; with a group, the conmons of its jobs alone."""
        keys = [f"ocicaliban-{job.key}-" for job in self.jobs(conmon_of)] if conmon_of else []
        mark = f"{MARK}={self.top}".encode()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if conmon_of:
                    ours = "conmon " in line and any(key in line for key in keys)
                else:
                    ours = mark in (entry / "environ").read_bytes()
            except OSError:
                continue
            if ours and line and not line.startswith("catatonit -P"):  # podman keeps its namespace by that
                yield int(entry.name), line

    def containers(self, group: str) -> list[str]:
        """Return the containers of a group."""
        argv = ["podman", "ps", "--all", "--filter", f"label=ocicaliban.group={group}", "--format", "{{.Names}}"]
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout.split()

    def sweep(self, points: object) -> str:
        """Return a sweep file with these points."""
        (self.top / "sweep.json").write_text(json.dumps(points))
        return str(self.top / "sweep.json")

    def close(self) -> None:
        """End what was begun."""
        if self.running() and self.child:
            self.child.kill()
        if self._registry is not None:
            self._registry.stop()
        if self.vertex is not None:
            self.vertex.stop()
        if self._postgres is not None:
            self._postgres.stop()
        if self._small is not None:
            shutil.rmtree(self._small, ignore_errors=True)
        for process, _ in [*self.processes()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def eventually(holds: Callable[[], bool], seconds: float, pause: float = 0.02) -> bool:
    """Return whether something comes to hold within so many seconds, with pauses between two looks."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(pause)
    return True
