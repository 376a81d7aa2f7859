"""Ends jobs at Slurm in each way that it knows: `python -m tests.chaos.slurm_endings`, for some minutes.

It needs what `docs/tutorial/slurm` does, and slurmdbd and MariaDB. docs/hpc.md says when it was run. What takes seconds
is in the integration tests.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.integration import program
from tests.integration.slurm_cluster import CLUSTER, Slurm, attempts_of, task_of, until

MORE = "MaxArraySize=5\nMinJobAge=5\n"
"""Small limits: an array has four tasks with the largest index 4, and squeue forgets a task after some seconds."""


def _out(job: dict[str, object], name: str) -> Path:
    return Path(str(job["out"])) / name


def _reason(job: dict[str, object]) -> str:
    attempts = job["attempts"]
    assert isinstance(attempts, list)
    return str(attempts[-1]["reason"])


def _begun(slurm: Slurm, group: str) -> None:
    until(lambda: all(_out(job, "seen").exists() for job in slurm.jobs(group)), pause=0.3)


def time_limit(slurm: Slurm) -> None:
    """A job gets SIGTERM ahead of its time limit, and fails with that reason."""
    slurm.run("limit", "--time", "1", "--grace", "30", sweep=[{"what": "waits"}])
    assert slurm.ended("limit") == ["failed"]
    job = slurm.jobs("limit")[0]
    assert "time limit" in _reason(job) and _out(job, "saved").exists(), job


def time_limit_unheard(slurm: Slurm) -> None:
    """A job that does not listen to SIGTERM is killed at its time limit."""
    slurm.run("deaf", "--time", "1", "--grace", "5", sweep=[{"what": "deaf"}])
    assert slurm.ended("deaf") == ["failed"]
    assert "time limit" in _reason(slurm.jobs("deaf")[0]), slurm.jobs("deaf")


def preemption(slurm: Slurm) -> None:
    """A job that a more important one displaces is requeued, and is another attempt with the same /out."""
    slurm.run("low", "--cpus", "4", sweep=[{"what": "waits"}, {"what": "waits"}])
    _begun(slurm, "low")
    slurm.run("high", "--cpus", "4", "--partition", "high", sweep=[{"what": "passes"}])
    assert slurm.ended("high") == ["succeeded"]
    slurm.wait("low", lambda found: sorted(found) == ["pending", "running"])
    slurm.now("low")
    slurm.wait("low", lambda found: found == ["running"] * 2)
    until(lambda: sorted(_out(job, "runs").read_text() for job in slurm.jobs("low")) == ["1", "2"])
    slurm.ok("stop", "--group", "low")
    assert sorted(map(attempts_of, slurm.jobs("low"))) == [["lost", "stopped"], ["stopped"]]
    assert any(_out(job, "saved").exists() for job in slurm.jobs("low"))


def node_failure(slurm: Slurm) -> None:
    """A node that dies with all its processes: its job begins again on the other one."""
    slurm.run("node", "--slurm-args", "--nodelist n1", sweep=[{"what": "waits"}])
    _begun(slurm, "node")
    job = slurm.jobs("node")[0]
    _kill_node(slurm, "n1", str(job["key"]))
    slurm.wait("node", lambda found: found != ["running"])
    subprocess.run([CLUSTER, "node", slurm.top / "cluster", "n1"], check=True, timeout=60)
    slurm.now("node")
    slurm.wait("node", lambda found: found == ["running"])
    until(lambda: _out(job, "runs").read_text() == "2")
    slurm.ok("stop", "--group", "node")
    assert attempts_of(slurm.jobs("node")[0]) == ["lost", "stopped"]


def _kill_node(slurm: Slurm, node: str, key: str) -> None:
    """Kill what runs on a node: the step of its job, which would report the job's end, then slurmd and the job."""
    number = slurm.tool("squeue", "-h", "--array", "-n", "node", "-o", "%A").split()[0]
    folder = str(slurm.top)
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            env = (entry / "environ").read_bytes().decode(errors="replace")
            ours = folder in f"{line} {env}" and (f"slurmd -N {node}" in line or f"SLURMD_NODENAME={node}\0" in env)
            if ours or line.startswith(f"slurmstepd: [{number}.") or f"ocicaliban-{key}-" in line:
                found[int(entry.name)] = line
    for pid in sorted(found, key=lambda pid: not found[pid].startswith("slurmstepd")):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def many_arrays(slurm: Slurm) -> None:
    """More jobs than an array may have are several arrays, of which --jobs run at a time, all together."""
    slurm.run("many", "--jobs", "2", "--runtime", "charliecloud", sweep=[{"what": f"n{n}"} for n in range(11)])
    most = 0
    while {"queued", "pending", "running"} & {*slurm.statuses("many")}:
        shown = slurm.tool("squeue", "-h", "--array", "-t", "R", "-n", "many", "-o", "%i").split()
        most = max(most, len(shown))
    assert slurm.statuses("many") == ["succeeded"] * 11
    assert len({task_of(job).split("_")[0] for job in slurm.jobs("many")}) >= 3
    assert most <= 2, most


def submit_limit(slurm: Slurm) -> None:
    """What the limit of a QOS does not let in waits for `resume`."""
    slurm.tool("sacctmgr", "-Qi", "modify", "qos", "normal", "set", "MaxSubmitJobsPerUser=3")
    try:
        slurm.run("qos", "--runtime", "charliecloud", sweep=[{"what": f"n{n}"} for n in range(5)])
        slurm.wait("qos", lambda found: found.count("succeeded") in (2, 3) and found.count("queued") in (2, 3))
        until(lambda: not slurm.tool("squeue", "-h"), pause=0.5)
        slurm.ok("resume", "qos")
        assert slurm.ended("qos") == ["succeeded"] * 5
        assert {_out(job, "runs").read_text() for job in slurm.jobs("qos")} == {"1"}
    finally:
        slurm.tool("sacctmgr", "-Qi", "modify", "qos", "normal", "set", "MaxSubmitJobsPerUser=-1")


def accounting(slurm: Slurm) -> None:
    """What squeue has forgotten before anybody asked is known from the job's files, or from accounting."""
    slurm.run("late", sweep=[{"what": "passes"}])
    slurm.run("never", "--slurm-args", "--begin now+1hour", sweep=[{"what": "passes"}])
    never = slurm.jobs("never")[0]
    until(lambda: (slurm.top / "state").exists() and not slurm.tool("squeue", "-h", "-n", "late"), pause=0.5)
    slurm.tool("scancel", task_of(never))
    # Slurm looks for what it may forget every so often.
    until(lambda: not slurm.tool("squeue", "-h", "--states=all"), pause=1)
    assert slurm.statuses("late") == ["succeeded"]
    assert slurm.ended("never") == ["stopped"], slurm.jobs("never")


def follow(slurm: Slurm) -> None:
    """`logs -f` ends when the job does, and `resubmit` runs a stopped job again."""
    slurm.run("follow", sweep=[{"what": "waits"}])
    _begun(slurm, "follow")
    job = slurm.jobs("follow")[0]
    env = program.environment(slurm.env)
    argv = program.command("logs", "-f", str(job["id"]))
    child = subprocess.Popen(argv, cwd=slurm.project, env=env, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline().startswith("says waits")
    slurm.ok("stop", str(job["id"]))
    assert child.wait(60) == 0
    slurm.ok("resubmit", "follow")
    slurm.wait("follow", lambda found: found == ["running"])
    until(lambda: _out(slurm.jobs("follow")[0], "runs").read_text() == "2")
    slurm.ok("stop", "--group", "follow")


def retries(slurm: Slurm) -> None:
    """A job that fails is tried so often, and no more."""
    slurm.run("again", "--retries", "2", sweep=[{"what": "always fails"}])
    deadline = time.monotonic() + 200
    while slurm.statuses("again") != ["failed"] and time.monotonic() < deadline:
        slurm.now("again")
    assert attempts_of(slurm.jobs("again")[0]) == ["failed"] * 3
    assert _out(slurm.jobs("again")[0], "runs").read_text() == "3"


ENDINGS: tuple[Callable[[Slurm], None], ...] = (
    *(follow, retries, preemption, node_failure, many_arrays, submit_limit, accounting, time_limit, time_limit_unheard),
)


def main(argv: list[str] | None = None) -> int:
    """Try each ending, and return 1 if one is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.slurm_endings", description=__doc__)
    parser.add_argument("--only", choices=[each.__name__ for each in ENDINGS], action="append")
    given = parser.parse_args(argv)
    slurm = Slurm(top=Path(tempfile.mkdtemp(prefix="oc-slurm-")), settings="deadline = 10", accounting=True, more=MORE)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left
    failures = 0
    try:
        slurm.start()
        for each in ENDINGS:
            if given.only and each.__name__ not in given.only:
                continue
            since, words = time.monotonic(), "as it should be"
            try:
                each(slurm)
            except (AssertionError, subprocess.SubprocessError) as fault:
                failures += 1
                words = f"WRONG: {type(fault).__name__}: {fault}"
                slurm.tool("scancel", f"--user={os.geteuid()}")
            print(f"{each.__name__}: {words} ({time.monotonic() - since:.0f} s)", flush=True)
    finally:
        slurm.stop()
    if not failures:
        shutil.rmtree(slurm.top, ignore_errors=True)
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
