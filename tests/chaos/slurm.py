"""Kills what submits jobs to Slurm, and what runs them, at random moments: `python -m tests.chaos.slurm --kills 50`.

Each round is a sweep. The command that submits it is killed by SIGKILL, with its whole session, and given again, until
Slurm has all jobs. Then tasks are cancelled, requeued and stopped, and a node's slurmd is killed and started again.
Each job must run once, apart from those that were requeued, and end as what befell it says. The seed is printed,
and `--seed` gives the same moments again. It needs Slurm, charliecloud and podman, as `docs/tutorial/slurm` does.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.integration import program
from tests.integration.slurm_cluster import CLUSTER, PATIENCE, Slurm, attempts_of, task_of


def one_round(slurm: Slurm, dice: random.Random, group: str, *, jobs: int, kills: int) -> tuple[int, list[str]]:
    """Submit a sweep of so many jobs and kill that at most so often; return how often it was, and what did not hold."""
    (slurm.project / f"{group}.json").write_text(json.dumps([{"what": f"n{number}"} for number in range(jobs)]))
    words = ("run", "--target", "slurm", "--runtime", "charliecloud", "--group", group, "--experiment-config")
    submit = program.command(*words, f"{group}.json", "seen.py")
    resume = program.command("resume", group)
    hits = 0
    for _ in range(kills):
        argv = submit if _queued(slurm, group) is None else resume
        child = subprocess.Popen(
            argv, cwd=slurm.project, env=program.environment(slurm.env), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        time.sleep(dice.uniform(0.2, 1.0) if dice.random() < 0.3 else dice.uniform(0.8, 3.5))
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            hits += 1
        child.wait()
        if _queued(slurm, group) == 0:
            break
    if _queued(slurm, group) is None:
        program.ok(slurm.project, *submit[3:], env=slurm.env)
    elif _queued(slurm, group):
        program.ok(slurm.project, "resume", group, env=slurm.env)
    statuses = slurm.ended(group)
    problems = [] if statuses == ["succeeded"] * jobs else [f"the statuses are {statuses}"]
    runs = [(Path(str(job["out"])) / "runs").read_text() for job in slurm.jobs(group)]
    problems += [] if runs == ["1"] * jobs else [f"the jobs ran so often: {runs}"]
    return hits, problems


def _queued(slurm: Slurm, group: str) -> int | None:
    """Return how many jobs of a group wait to be submitted; None if none is on record."""
    done = program.call(slurm.project, "status", group, "--json", "--max-jobs", "0", env=slurm.env)
    return None if done.returncode else [job["status"] for job in json.loads(done.stdout)].count("queued")


# --- what befalls jobs that Slurm has ---


def struck(slurm: Slurm, dice: random.Random, group: str, *, jobs: int, strikes: int) -> list[str]:
    """Submit a sweep of so many jobs, let things befall some of them, and return what did not end as it should."""
    sweep = [{"what": f"for {dice.uniform(1, 6):.1f}"} for _ in range(jobs)]
    slurm.run(group, "--runtime", dice.choice(["charliecloud", "podman"]), sweep=sweep)
    befallen: dict[int, set[str]] = {number: set() for number in range(jobs)}
    for _ in range(strikes):
        time.sleep(dice.uniform(0, 2))
        kind, number = dice.choice(["scancel", "requeue", "stop", "slurmd"]), dice.randrange(jobs)
        if kind == "slurmd":
            _kill_slurmd(slurm, dice)
            continue
        job = slurm.jobs(group)[number]
        if kind == "stop":
            done = program.call(slurm.project, "stop", str(job["id"]), env=slurm.env)
            taken = done.returncode == 0
        else:
            argv = {"scancel": ("scancel",), "requeue": ("scontrol", "requeue")}[kind]
            env = program.environment(slurm.env)
            taken = subprocess.run([*argv, task_of(job)], env=env, capture_output=True, check=False).returncode == 0
        if taken:
            befallen[number].add(kind)
    deadline = time.monotonic() + PATIENCE
    while {"queued", "pending", "running"} & {*slurm.statuses(group)} and time.monotonic() < deadline:
        slurm.now(group)
    return [
        f"{job['id']} ({', '.join(sorted(befallen[number])) or 'nothing'}): {fault}"
        for number, job in enumerate(slurm.jobs(group))
        if (fault := _wrong(job, befallen[number]))
    ]


def _kill_slurmd(slurm: Slurm, dice: random.Random) -> None:
    node = dice.choice(["n1", "n2"])
    cluster = slurm.top / "cluster"
    pid = cluster / f"slurmd-{node}.pid"
    with contextlib.suppress(OSError, ValueError):
        os.kill(int(pid.read_text()), signal.SIGKILL)
    time.sleep(dice.uniform(0, 4))
    subprocess.run([CLUSTER, "node", cluster, node], check=True, timeout=60)


def _wrong(job: dict[str, object], befallen: set[str]) -> str:
    """Return what is wrong with the end of a job, after what befell it."""
    status, attempts = str(job["status"]), attempts_of(job)
    path = Path(str(job["out"])) / "runs"
    runs = int(path.read_text()) if path.exists() else 0
    expected = {"succeeded"} if befallen <= {"requeue"} else {"succeeded", "stopped"}
    if status not in expected:
        return f"it is {status}: {job['attempts']}"
    if runs > len(attempts) or (status == "succeeded" and not runs):
        return f"it ran {runs} times in {len(attempts)} attempts"
    if "requeue" not in befallen and len(attempts) != 1:
        return f"it has the attempts {attempts}"
    return ""


def main(argv: list[str] | None = None) -> int:
    """Run rounds until so many kills have struck; return 1 if anything did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.slurm", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--strikes", type=int, default=20, help="what befalls jobs that Slurm has")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    given = parser.parse_args(argv)
    print(f"seed {given.seed}", flush=True)
    dice = random.Random(given.seed)
    slurm = Slurm(top=Path(tempfile.mkdtemp(prefix="oc-chaos-slurm-")))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left
    hits = strikes = failures = n = 0
    try:
        slurm.start()
        slurm.run("first", "--runtime", "charliecloud")  # the image and its file: what comes is the submission alone
        while hits < given.kills or strikes < given.strikes:
            n += 1
            count = 0
            problems: list[str] = []
            if hits < given.kills:
                count, problems = one_round(slurm, dice, f"round-{n}", jobs=dice.randint(1, 20), kills=5)
                hits += count
            if strikes < given.strikes:
                problems += struck(slurm, dice, f"strikes-{n}", jobs=6, strikes=4)
                strikes += 4
            failures += bool(problems)
            print(f"{n}: {count} kills, {strikes} strikes so far", *problems, sep="\n  ", flush=True)
    finally:
        slurm.stop()
    print(f"{hits} kills and {strikes} strikes in {n} rounds, {failures} of them with something that did not hold")
    if not failures:
        shutil.rmtree(slurm.top, ignore_errors=True)
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
