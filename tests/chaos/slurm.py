"""Kills what submits jobs to Slurm at random moments: `python -m tests.chaos.slurm --kills 50`.

Each round is a sweep. The command that submits it is killed by SIGKILL, with its whole session, and given again, until
Slurm has all jobs; each of them must run exactly once. The seed is printed, and `--seed` gives the same moments again.
It needs Slurm, charliecloud and podman, as `docs/tutorial/slurm` does.
"""

from __future__ import annotations

import argparse
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
from tests.integration.slurm_cluster import Slurm


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


def main(argv: list[str] | None = None) -> int:
    """Run rounds until so many kills have struck; return 1 if anything did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.slurm", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    given = parser.parse_args(argv)
    print(f"seed {given.seed}", flush=True)
    dice = random.Random(given.seed)
    slurm = Slurm(top=Path(tempfile.mkdtemp(prefix="oc-chaos-slurm-")))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left
    hits = failures = n = 0
    try:
        slurm.start()
        slurm.run("first", "--runtime", "charliecloud")  # the image and its file: what comes is the submission alone
        while hits < given.kills:
            n += 1
            struck, problems = one_round(slurm, dice, f"round-{n}", jobs=dice.randint(1, 20), kills=5)
            hits += struck
            failures += bool(problems)
            print(f"{n}: {struck} kills", *problems, sep="\n  ", flush=True)
    finally:
        slurm.stop()
    print(f"{hits} kills in {n} rounds, {failures} of them with something that did not hold")
    if not failures:
        shutil.rmtree(slurm.top, ignore_errors=True)
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
