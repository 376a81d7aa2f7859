"""What is done to a command that runs: each fault returns whether it struck something."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.chaos.world import PATIENCE, World, eventually


def _kill(process: int) -> bool:
    try:
        os.kill(process, signal.SIGKILL)
    except OSError:
        return False
    return True


def _ours(world: World, group: str) -> bool:
    """Kill the command itself."""
    if world.child is None or not world.running():
        return False
    world.child.kill()
    world.child.wait()
    return True


def _named(*words: str) -> Callable[[World, str], bool]:
    """Return what kills one process of ours with all these words in its command line."""

    def strike(world: World, group: str) -> bool:
        found = [process for process, line in world.processes() if all(word in line for word in words)]
        return bool(found) and _kill(world.dice.choice(sorted(found)))

    return strike


def _services(world: World, group: str) -> list[int]:
    """Return the processes of podman's service."""
    return sorted(process for process, line in world.processes() if "system service" in line and "podman" in line)


def _service(world: World, group: str) -> bool:
    """Kill podman's service: each process of it."""
    return any([_kill(process) for process in _services(world, group)])


def _conmons(world: World, group: str) -> list[int]:
    """Return one process that watches a container, if there is any."""
    found = sorted(process for process, _ in world.processes(conmon_of=group))
    return [world.dice.choice(found)] if found else []


def _conmon(world: World, group: str) -> bool:
    """Kill what watches a container."""
    return any([_kill(process) for process in _conmons(world, group)])


def _ourselves(world: World, group: str) -> list[int]:
    """Return the command."""
    return [world.child.pid] if world.child is not None and world.running() else []


def _stop(found: Callable[[World, str], list[int]]) -> Callable[[World, str], bool]:
    """Return what stops these processes for a while, as a machine does that is suspended or has too much to do."""

    def strike(world: World, group: str) -> bool:
        processes = found(world, group)
        for process in processes:
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGSTOP)
        time.sleep(world.dice.uniform(0.1, 1) if processes else 0)
        for process in processes:
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGCONT)
        return bool(processes)

    return strike


def _clock(world: World, group: str) -> bool:
    """Move the clock of our programs by seconds, hours or a year, forward or back."""
    offset = world.dice.choice((0, 5, -5, 3600, -3600, 86400 * 366, -86400 * 366))
    (world.top / "clock.new").write_text(str(offset))
    (world.top / "clock.new").rename(world.top / "clock")
    return world.running()


def _postgres(world: World, group: str) -> bool:
    """Kill PostgreSQL, and start it again a moment later."""
    world.postgres.stop("immediate")
    time.sleep(world.dice.uniform(0, 1))
    world.postgres.start()
    return True


def _vertex(world: World, group: str) -> bool:
    """Cut all connections to the stand-in for Vertex AI, for a moment."""
    if world.vertex is None:
        return False
    world.vertex.outage.cut(world.dice.uniform(0, 1.5))
    return True


def _vertex_killed(world: World, group: str) -> bool:
    """Kill the stand-in for Vertex AI, and start it again: its jobs are there."""
    if world.vertex is None:
        return False
    world.vertex.kill()
    time.sleep(world.dice.uniform(0, 1))
    world.vertex.start()
    world.env = {**world.env, **world.vertex.environment}
    return True


def _state(world: World, group: str) -> bool:
    """Remove the folder with history, logs and results, or replace it by an empty one, until the command has ended."""
    if not world.running() or not world.jobs(group):
        return False
    state, away = world.state, world.state.with_name("away")
    state.rename(away)
    if world.dice.random() < 0.5:
        state.mkdir()
    eventually(lambda: not world.running(), PATIENCE)
    _merge(state, away)
    shutil.rmtree(state, ignore_errors=True)
    away.rename(state)
    return True


def _merge(new: Path, old: Path) -> None:
    """Move what is in one folder alone to another one: containers may have it mounted."""
    for each in new.iterdir() if new.is_dir() else ():
        if not (old / each.name).exists():
            each.rename(old / each.name)
        elif each.is_dir():
            _merge(each, old / each.name)


def _full(world: World, group: str) -> bool:
    """Fill the disk with history, logs and results up, for a moment."""
    filler = world.state / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (2**20, 2**12, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass
    time.sleep(world.dice.uniform(0.1, 2))
    filler.unlink()
    return world.running()


def _registry(world: World, group: str) -> bool:
    """Kill the registry, and start it again a moment later."""
    registry = world.registry
    registry.child.kill()
    registry.child.wait()
    time.sleep(world.dice.uniform(0, 1))
    registry.start()
    return True


FAULTS: Mapping[str, Callable[[World, str], bool]] = {
    "ours": _ours,
    "ours stopped": _stop(_ourselves),
    "service": _service,
    "service stopped": _stop(_services),
    "conmon": _conmon,
    "conmon stopped": _stop(_conmons),
    "buildah": _named("buildah"),
    "skopeo": _named("skopeo"),
    "registry": _registry,
    "postgres": _postgres,
    "vertex": _vertex,
    "vertex killed": _vertex_killed,
    "clock": _clock,
    "state": _state,
    "full": _full,
}
