"""What runs while things are killed, and what must hold afterwards."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from ocicaliban.model.job import ENDED, UNDER_WAY
from ocicaliban.targets.vertex import labels
from tests.chaos.world import World

Problems = list[str]
_AT_ONCE = 4
"""How many jobs of a sweep run at a time: as many may be in their start when podman's service is killed."""


class Scenario(ABC):
    """A command that is begun, taken up again until it is done, and looked at. `n` is the number of the round."""

    faults: ClassVar[tuple[str, ...]]
    most: ClassVar[int]
    """How many faults come in a round, at most."""
    span: ClassVar[float]
    """Seconds within which a fault comes after the command has begun, or after the last fault."""

    def scene(self, world: World) -> Mapping[str, str] | None:
        """Return variables of the commands; None where this machine cannot have this scenario."""
        return {}

    @abstractmethod
    def command(self, world: World, n: int) -> tuple[str, ...]:
        """Return the command that begins it, or that takes it up."""

    def under_way(self, world: World, n: int) -> bool:
        """Return whether it has begun what it is for, so that a fault strikes more than its beginning."""
        return True

    @abstractmethod
    def done(self, world: World, n: int, exit_code: int) -> bool:
        """Return whether nothing is left to do, after the command has ended by itself."""

    @abstractmethod
    def problems(self, world: World, n: int, hits: Sequence[str]) -> Problems:
        """Return what does not hold after these faults."""


class Sweep(Scenario):
    """Jobs of milliseconds and of tenths of a second: each runs once, and keeps its own exit code."""

    faults: ClassVar[tuple[str, ...]] = (
        *("ours", "service", "service", "conmon"),
        *("ours stopped", "service stopped", "conmon stopped", "clock"),
    )
    most = 20
    span = 0.5
    count = 20

    def command(self, world: World, n: int) -> tuple[str, ...]:
        """Run the sweep, or take it up."""
        if world.jobs(world.group(n)):
            return "resume", world.group(n)
        points = [[each % 4, (0, 0.01, 0.3, 0.5, 1)[each // 4]] for each in range(self.count)]
        file = world.sweep({"[code,seconds]": points})
        return "run", "--experiment-config", file, "--jobs", str(_AT_ONCE), "--group", world.group(n), "job.py"

    def under_way(self, world: World, n: int) -> bool:
        """A job has been given to podman, by the record."""
        return any(job.status in UNDER_WAY for job in world.jobs(world.group(n)))

    def done(self, world: World, n: int, exit_code: int) -> bool:
        """All jobs have ended, by the record."""
        jobs = world.jobs(world.group(n))
        return bool(jobs) and all(job.status in ENDED for job in jobs)

    def problems(self, world: World, n: int, hits: Sequence[str]) -> Problems:
        """Return the jobs that ran twice or never, or that have another exit code than their own."""
        found: Problems = []
        jobs, excused = world.jobs(world.group(n)), Counter(hits)["conmon"]
        # podman's service was killed as it started jobs, and then ours before they ended (docs/reliability.md).
        both = _AT_ONCE * sum(pair == ("service", "ours") for pair in itertools.pairwise(hits))
        if len(jobs) != self.count:
            found.append(f"{len(jobs)} jobs are on record")
        for job in jobs:
            code = dict(job.parameters)["code"]
            file = Path(job.out) / "started"
            started = file.read_text() if job.out and file.exists() else ""
            known = job.last.exit_code if job.last else None
            if started == "x" and known == code and (job.status == "succeeded") == (code == 0):
                continue
            reasons = [attempt.reason for attempt in job.attempts]
            unknown = known is None and job.status != "succeeded"
            if excused and (unknown or len(started) == len(job.attempts) > 1):
                world.excused += 1
                excused -= 1  # what conmon knew of a container is lost with it
                continue
            if both and len(started) == len(job.attempts) > 1 and known == code:
                world.unseen += 1
                both -= 1
                continue
            found.append(f"job {job.id}: {job.status} ({known}, not {code}), began {len(started)} times: {reasons}")
        if left := world.containers(world.group(n)):
            found.append(f"containers are left: {left}")
        return found


class SweepOnServer(Sweep):
    """A sweep whose history is in PostgreSQL, which is killed too."""

    faults = ("postgres", "postgres", "ours", "service")
    most = 12

    def scene(self, world: World) -> Mapping[str, str] | None:
        """Keep the history in the server."""
        return {"OCICALIBAN_DB_URL": world.postgres.url("chaos")}


class SweepWithoutState(Sweep):
    """A sweep whose history, logs and results are removed or replaced meanwhile, and come back afterwards."""

    faults = ("state", "state", "ours", "service")
    most = 8

    def scene(self, world: World) -> Mapping[str, str] | None:
        """Keep the history where it is without settings."""
        place = world.top / "all"
        return {"XDG_STATE_HOME": str(place), "OCICALIBAN_DB_URL": f"sqlite:///{place}/ocicaliban/history.db"}


class SweepOnSmallDisk(Sweep):
    """A sweep whose history, logs and results are on a disk that is filled up."""

    faults = ("full", "full", "ours", "service")
    most = 12

    def scene(self, world: World) -> Mapping[str, str] | None:
        """Keep all of them on the small disk."""
        if world.small is None:
            return None
        return {"XDG_STATE_HOME": str(world.small), "OCICALIBAN_DB_URL": f"sqlite:///{world.small}/history.db"}


class Build(Scenario):
    """A layer: the image has it, and nothing of a build that was killed is left."""

    faults = ("ours", "ours stopped", "buildah", "clock")
    most = 10
    span = 1.0

    def command(self, world: World, n: int) -> tuple[str, ...]:
        """Build what no store has yet."""
        (world.project / "t.py").write_text(f"print('round {n} of {world.top.name}')\n")
        return "build", "t.py"

    def done(self, world: World, n: int, exit_code: int) -> bool:
        """It has succeeded."""
        return exit_code == 0

    def problems(self, world: World, n: int, hits: Sequence[str]) -> Problems:
        """Run the image, and look for what is left."""
        found: Problems = []
        done = world.call("run", "t.py")
        if done.stdout != f"round {n} of {world.top.name}\n":
            found.append(f"the image says {done.stdout!r}: {done.stderr}")
        if left := [*(world.top / "cache").glob("ocicaliban/work/build-*")]:
            found.append(f"folders are left: {left}")
        return found


class Push(Scenario):
    """An image in the registry, whole."""

    faults = ("ours", "ours stopped", "registry", "skopeo", "buildah", "clock")
    most = 10
    span = 3.0

    def command(self, world: World, n: int) -> tuple[str, ...]:
        """Push an image that the registry does not have yet."""
        (world.project / "t.py").write_text(f"print('round {n} of {world.top.name}')\n")
        return "push", "--to", f"{world.registry.host}/chaos", "--tag", f"n{n}", "--tls-verify=false", "t.py"

    def done(self, world: World, n: int, exit_code: int) -> bool:
        """It has succeeded."""
        return exit_code == 0

    def problems(self, world: World, n: int, hits: Sequence[str]) -> Problems:
        """Read the whole image back."""
        layout = world.top / "read-back"
        source = f"docker://{world.registry.host}/chaos:n{n}"
        argv = ["skopeo", "copy", "--quiet", "--src-tls-verify=false", source, f"dir:{layout}"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=240)
        return [f"it cannot be read back: {done.stderr}"] if done.returncode else []


class Submit(Scenario):
    """Jobs at the stand-in for Vertex AI: each is there once, and on record."""

    faults = ("ours", "ours", "ours stopped", "vertex", "vertex", "vertex killed", "clock")
    most = 12
    span = 3.0
    count = 60

    def command(self, world: World, n: int) -> tuple[str, ...]:
        """Submit the jobs, or those that are left."""
        assert world.emulator
        if world.jobs(world.group(n)):
            return "resume", world.group(n)
        image = _pushed(world)
        file = world.sweep({"n": [*range(self.count)]})
        options = ("--tls-verify=false", "--group", world.group(n), "--experiment-config", file)
        return "cloud", "--image-tag", image, *options, "--", "true"

    def done(self, world: World, n: int, exit_code: int) -> bool:
        """All are submitted, by the record."""
        jobs = world.jobs(world.group(n))
        return exit_code == 0 and bool(jobs) and all(job.last is not None for job in jobs)

    def problems(self, world: World, n: int, hits: Sequence[str]) -> Problems:
        """Compare the record with what the service has."""
        keys = {job.key: job.last.handle for job in world.jobs(world.group(n)) if job.last}
        there = world.emulator.jobs()
        names = [(job.labels[labels.JOB_LABEL], job.name) for job in there if job.labels[labels.JOB_LABEL] in keys]
        if len(keys) == self.count and sorted(names) == sorted(keys.items()):
            return []
        return [f"{len(keys)} jobs are on record, and the service has {len(names)}: {Counter(key for key, _ in names)}"]


def _pushed(world: World) -> str:
    """Return an image in the registry, by its digest."""
    kept = world.top / "image"
    if not kept.exists():
        done = world.call("push", "--to", f"{world.registry.host}/image", "--tls-verify=false", "--json", "job.py")
        match = re.search(r"\{.*\}", done.stdout, re.S)
        assert match, done.stderr
        kept.write_text(str(json.loads(match[0])["reference"]))
    return kept.read_text()


SCENARIOS: dict[str, Scenario] = {
    "sweep": Sweep(),
    "submit": Submit(),
    "sweep without state": SweepWithoutState(),
    "build": Build(),
    "sweep on a small disk": SweepOnSmallDisk(),
    "push": Push(),
    "sweep on a server": SweepOnServer(),
}
