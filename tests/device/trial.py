"""The trial: what ocicaliban does with a GPU, each step with its time."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from tests.device import machine as machines
from tests.device.machine import HERE, Machine

LIMIT = 120.0
"""Seconds for one command: the whole trial takes less than 8 minutes."""

SMI = 'import subprocess\nsubprocess.run(["nvidia-smi", "-L"], check=True)\n'
TIMES = '"job": [1, 2, 3, 4]'


class Failed(Exception):
    """A step did not do what it has to."""


class Trial:
    """Runs the program on a prepared machine, and shows what it prints."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def call(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run ocicaliban in the project, and print its command line and its output."""
        print(f"$ ocicaliban {' '.join(args)}")
        argv = self.machine.command(_python(), "-m", "ocicaliban", *args)
        try:
            done = subprocess.run(
                argv, cwd=self.machine.project, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT
            )
        except subprocess.TimeoutExpired as fault:
            raise Failed(f"no end after {LIMIT:.0f} s: {fault.stderr!r}") from fault
        print(done.stdout + done.stderr, end="", flush=True)
        return done

    def ok(self, *args: str) -> str:
        """Run it; it must succeed."""
        done = self.call(*args)
        if done.returncode:
            raise Failed(f"exit code {done.returncode}")
        return done.stdout

    def capability(self) -> None:
        """doctor finds the GPU."""
        if "nvidia.com/gpu=0" not in self.call("doctor").stdout:
            raise Failed("doctor does not name the GPU")

    def cuda(self) -> None:
        """A CUDA program computes in a container."""
        if "sums are right" not in self.ok("run", "--gpu", "cuda.py"):
            raise Failed("no sums")

    def listing(self) -> None:
        """nvidia-smi -L, in a container."""
        if "GPU 0: " not in self.ok("run", "--gpu", "smi.py"):
            raise Failed("no GPU is listed")

    def sweep(self) -> None:
        """Four jobs use one GPU in turn."""
        self.ok(
            "run", "--gpus", "0", "--experiment-config", "sweep.json", "--group", "turns", "--out", "../out", "cuda.py"
        )
        found = sorted((self.machine.home / "out").rglob("times.json"))
        times = sorted(json.loads(path.read_text()) for path in found)
        if len(times) != 4:
            raise Failed(f"{len(times)} jobs of 4 wrote their times")
        if any(before[1] > after[0] for before, after in pairwise(times)):
            raise Failed(f"two jobs used the GPU at the same time: {times}")
        self.ok("status", "--group", "turns")

    def without(self) -> None:
        """A job that asks for no GPU has none."""
        done = self.call("run", "--nogpu", "cuda.py")
        if done.returncode == 0 or "libcuda.so.1" not in done.stderr:
            raise Failed("the library of the driver was there")

    def stale(self) -> None:
        """A spec of before an upgrade of the driver is told, before anything is built."""
        path = self.machine.home / ".config" / "cdi" / "nvidia.json"
        text = path.read_text()
        spec = json.loads(text)
        spec["containerEdits"]["mounts"][0]["hostPath"] += ".of.the.last.driver"
        path.write_text(json.dumps(spec))
        (self.machine.project / "new.py").write_text("print('built')\n")
        try:
            done = self.call("run", "--gpu", "new.py")
        finally:
            path.write_text(text)
        if done.returncode == 0 or ".of.the.last.driver" not in done.stderr or "building" in done.stderr:
            raise Failed("no clear error")
        if "Traceback" in done.stderr or "\n hint: " not in done.stderr:
            raise Failed("no hint, or a traceback")


def _python() -> str:
    """A Python that every user may run."""
    usual = next((path for path in ("/usr/bin/python3", "/usr/local/bin/python3") if _is_new(path)), "")
    return usual or sys.executable


def _is_new(path: str) -> bool:
    code = f"import sys; sys.exit(sys.version_info[:2] != {tuple(sys.version_info[:2])})"
    try:
        return subprocess.run([path, "-c", code], capture_output=True).returncode == 0
    except OSError:
        return False


def run(packed: Path, *, fake: bool) -> int:
    """Prepare the machine, make the trial, and return the exit code; with `fake` the GPU is none."""
    began = time.monotonic()
    driver = None if fake else machines.of_driver()
    top = Path(tempfile.mkdtemp(prefix="ocicaliban-gpu-", dir="/tmp"))
    machine = Machine(top, packed)
    described = driver or machines.of_fake(top)
    machines.write_spec(machine, described)
    shutil.copy(packed / "base.tar", machine.home / "base.tar")
    for name, text in {
        "ocicaliban.toml": f'[layers.base]\nimage = "oci-archive:{machine.home}/base.tar"\n',
        "cuda.py": (HERE / "cuda.py").read_text(),
        "smi.py": SMI,
        "sweep.json": f"{{{TIMES}}}",
    }.items():
        (machine.project / name).write_text(text)
    machine.become_ordinary()
    trial = Trial(machine)
    steps = (trial.capability, trial.cuda, trial.listing, trial.sweep, trial.without, trial.stale)
    failed = [step.__doc__ for step in steps if not _made(step)]
    machine.give_back()
    print(f"\n{len(steps) - len(failed)} of {len(steps)} steps passed in {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


def _made(step: Callable[[], None]) -> bool:
    began = time.monotonic()
    print(f"\n--- {step.__doc__}", flush=True)
    try:
        step()
    except (Failed, OSError, ValueError, KeyError) as fault:
        print(f"FAILED after {time.monotonic() - began:.1f} s: {fault}")
        return False
    print(f"passed in {time.monotonic() - began:.1f} s", flush=True)
    return True
