"""What is done to a command that runs: each fault returns whether it struck something."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping

from tests.chaos.world import World


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


def _service(world: World, group: str) -> bool:
    """Kill podman's service: each process of it."""
    found = [process for process, line in world.processes() if "system service" in line and "podman" in line]
    return any([_kill(process) for process in sorted(found)])


def _conmon(world: World, group: str) -> bool:
    """Kill what watches a container."""
    found = [process for process, _ in world.processes(conmon_of=group)]
    return bool(found) and _kill(world.dice.choice(sorted(found)))


def _stopped(world: World, group: str) -> bool:
    """Stop the command for a while, as a machine does that is suspended."""
    if world.child is None or not world.running():
        return False
    world.child.send_signal(signal.SIGSTOP)
    time.sleep(world.dice.uniform(0.1, 1))
    world.child.send_signal(signal.SIGCONT)
    return True


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
    "stopped": _stopped,
    "service": _service,
    "conmon": _conmon,
    "buildah": _named("buildah"),
    "skopeo": _named("skopeo"),
    "registry": _registry,
}
