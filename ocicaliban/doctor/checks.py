"""All checks of `ocicaliban doctor`, in the order of its output.

To add a check, write a function that returns findings in the module of its group, and add a line to `CHECKS`. The
functions take what they examine as arguments; a `Machine` reads it from this machine.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from ocicaliban.containers.own_store import OwnStore
from ocicaliban.doctor import cloud, gpus, reach, settings, storage, tools, users
from ocicaliban.doctor.finding import Finding
from ocicaliban.doctor.machine import Machine, free_bytes
from ocicaliban.gpu import cdi
from ocicaliban.system import filesystems

CHECKS: tuple[Callable[[Machine], Finding | tuple[Finding, ...]], ...] = (
    lambda machine: users.not_root(machine.uid),
    lambda machine: tools.version("buildah", machine.answer("buildah", "--version")),
    lambda machine: tools.version("podman", machine.answer("podman", "--version")),
    lambda machine: tools.network(machine.program("pasta"), machine.answer("podman", "--version")),
    lambda machine: tools.version("uv", machine.answer("uv", "--version")),
    lambda machine: users.ids(machine.id_facts),
    lambda machine: users.runtime_dir(machine.environ, machine.uid),
    lambda machine: tools.cgroups(Path("/sys/fs/cgroup")),
    lambda machine: storage.place(machine.store, machine.store_facts),
    lambda machine: storage.driver(machine.podman_info),
    lambda machine: storage.file_system(_graph_root(machine), filesystems.mounted()),
    lambda machine: storage.room(_graph_root(machine), free_bytes(_graph_root(machine))),
    lambda machine: settings.readable(machine.settings),
    lambda machine: gpus.specs(cdi.spec_dirs(machine.environ, machine.spec_dirs)),
    lambda machine: gpus.leases(cdi.spec_dirs(machine.environ, machine.spec_dirs)),
    lambda machine: tools.init(),
    lambda machine: tools.bootstrap(machine.program("mmdebstrap")),
    lambda machine: tools.push(machine.program("skopeo")),
    lambda machine: tools.commits(machine.program("git")),
    lambda machine: reach.check(reach.places(machine.environ), machine.ask),
    lambda machine: cloud.google(cloud.is_installed(cloud.LIBRARY), machine.environ),
)


def examine() -> tuple[Finding, ...]:
    """Make all checks on this machine."""
    machine = Machine(os.environ)
    findings: list[Finding] = []
    for check in CHECKS:
        result = check(machine)
        findings += result if isinstance(result, tuple) else (result,)
    return tuple(findings)


def summary(findings: Iterable[Finding]) -> str:
    """Return in a line how many findings there are of which level, and whether the machine is ready."""
    counts = Counter(finding.level for finding in findings)
    words = [f"{counts['ok']} ok"]
    words += [f"{number} warning{'s' * (number > 1)}"] if (number := counts["warning"]) else []
    words += [f"{number} optional part{'s' * (number > 1)} missing"] if (number := counts["missing"]) else []
    if counts["error"]:
        words.insert(0, f"{counts['error']} error{'s' * (counts['error'] > 1)}")
    return f"{'not ready' if counts['error'] else 'ready'}: {', '.join(words)}"


def _graph_root(machine: Machine) -> Path:
    if isinstance(machine.store, OwnStore):
        return machine.store.root  # also where podman does not answer
    return storage.graph_root(machine.podman_info, machine.environ, machine.uid)
