"""A Slurm of two nodes on this machine, which belongs to the user who tests, and a project whose jobs go there."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import define, field

from tests.integration import program
from tests.integration.program import REPOSITORY

CLUSTER = REPOSITORY / "docs" / "tutorial" / "slurm" / "cluster"
PATIENCE = 240
"""Seconds after which something has not come to hold: a busy machine takes long."""

# What a job sees, without what differs from one task to the next; then what its last argument asks for.
SCRIPT = """\
import json, os, pathlib, signal, sys, time
what = sys.argv[-1]
runs = pathlib.Path("/out/runs")
runs.write_text(str(int(runs.read_text()) + 1 if runs.exists() else 1))
env = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
mounts = {line.split()[1]: line.split()[3][:2] for line in open("/proc/mounts")}
mounts = {name: mounts[name] for name in sorted(mounts) if name in ("/out", "/some/data", "/etc/made.d/file")}
seen = {"args": sys.argv[1:], "cwd": os.getcwd(), "env": env, "uid": os.getuid(), "out": sorted(os.listdir("/out")),
        "mounts": mounts, "data": sorted(os.listdir("/some/data")) if "/some/data" in mounts else [],
        "argv": open("/proc/self/cmdline").read().split("\\0")}
pathlib.Path("/out/seen").write_text(json.dumps(seen, sort_keys=True))
pathlib.Path("/out/metrics.json").write_text(json.dumps({"length": len(what)}))
print("says", what, os.environ["SLURM_ARRAY_TASK_ID"], flush=True)
def saved(*_):
    pathlib.Path("/out/saved").touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, saved if what != "deaf" else signal.SIG_IGN)
if what == "always fails":
    sys.exit(3)
if what == "deaf":
    time.sleep(600)
if what.startswith("for "):
    time.sleep(float(what[4:]))
if what == "waits":
    time.sleep(600)
if what == "fails" and runs.read_text() == "1":
    sys.exit(3)
"""


def until(holds: Callable[[], object], pause: float = 0.1) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if holds():
            return
        time.sleep(pause)
    raise AssertionError("it never came to hold")


@define(kw_only=True, eq=False)
class Slurm:
    """The cluster, and the project, in the folder `top`. `accounting` starts slurmdbd and its database too.

    `settings` are lines of `[targets.slurm]`, `more` lines of slurm.conf.
    """

    top: Path
    settings: str = "deadline = 5"
    accounting: bool = False
    more: str = ""
    env: Mapping[str, str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Name the cluster and a history of its own."""
        self.env = {"SLURM_CONF": str(self.top / "cluster" / "slurm.conf"), "XDG_STATE_HOME": str(self.top / "state")}

    @property
    def project(self) -> Path:
        """The project's folder."""
        return self.top / "project"

    def start(self, lock: str = "") -> None:
        """Start the cluster, and write the project."""
        more = ("accounting",) if self.accounting else ()
        (self.top / "cluster").mkdir()
        (self.top / "cluster" / "more.conf").write_text(self.more)
        subprocess.run([CLUSTER, "start", self.top / "cluster", *more], check=True, timeout=120)
        self.project.mkdir()
        # squeue forgets nothing within the test, so a short deadline decides only where a file does not come.
        (self.project / "ocicaliban.toml").write_text(f"{program.CONFIG}\n[targets.slurm]\n{self.settings}\n")
        if lock:
            (self.project / "ocicaliban.lock").write_text(lock)
        (self.project / "seen.py").write_text(SCRIPT)

    def stop(self) -> None:
        """End the cluster and its jobs."""
        subprocess.run([CLUSTER, "stop", self.top / "cluster"], check=True, timeout=120)

    def ok(self, *args: str) -> str:
        """Return what a command of ocicaliban prints."""
        return program.ok(self.project, *args, env=self.env).stdout

    def run(self, group: str, *args: str, sweep: object = None) -> None:
        """Submit a job with two arguments, or a sweep, as a group."""
        options = ["--target", "slurm", "--group", group, *args]
        if sweep is not None:
            (self.project / f"{group}.json").write_text(json.dumps(sweep))
            options += ["--experiment-config", f"{group}.json"]
        self.ok("run", *options, "seen.py", *(() if sweep is not None else ("--", "two words", "one")))

    def jobs(self, group: str) -> list[dict[str, object]]:
        """Return the jobs of a group, by their numbers."""
        found: list[dict[str, object]] = json.loads(self.ok("status", group, "--json", "--max-jobs", "0"))
        return sorted(found, key=lambda job: int(str(job["id"])))

    def statuses(self, group: str) -> list[str]:
        """Return the statuses of a group's jobs."""
        return [str(job["status"]) for job in self.jobs(group)]

    def wait(self, group: str, holds: Callable[[list[str]], bool]) -> None:
        """Wait until the statuses of a group are such."""
        until(lambda: holds(self.statuses(group)), pause=0.3)

    def ended(self, group: str) -> list[str]:
        """Wait until all jobs of a group have ended, and return their statuses."""
        self.wait(group, lambda found: not {"queued", "pending", "running"} & {*found})
        return self.statuses(group)

    def now(self, group: str) -> None:
        """Let requeued jobs of a group begin at once: Slurm lets them wait for two minutes."""
        for job in self.jobs(group):
            with contextlib.suppress(subprocess.CalledProcessError):
                self.tool("scontrol", "update", f"JobId={task_of(job)}", "StartTime=now")

    def tool(self, *argv: str) -> str:
        """Return what one of Slurm's commands prints."""
        env = program.environment(self.env)
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout

    def seen(self, job: dict[str, object]) -> dict[str, object]:
        """Return what a job saw."""
        read: dict[str, object] = json.loads((Path(str(job["out"])) / "seen").read_text())
        return read


def task_of(job: dict[str, object]) -> str:
    """Return the name of a job's task at Slurm."""
    attempts = job["attempts"]
    assert isinstance(attempts, list)
    return str(attempts[-1]["handle"]).split(".")[0]


def attempts_of(job: dict[str, object]) -> list[str]:
    """Return the statuses of a job's attempts."""
    attempts = job["attempts"]
    assert isinstance(attempts, list)
    return [each["status"] for each in attempts]
