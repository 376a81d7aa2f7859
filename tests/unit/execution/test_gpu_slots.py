"""Leases of GPUs among real processes: sweeps, runs and shells of one machine, with real locks and made-up devices."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ocicaliban.errors import UsageError
from ocicaliban.execution import gpu_slots
from ocicaliban.execution.gpu_slots import SlotLeases
from ocicaliban.execution.scheduler import Slot
from ocicaliban.gpu import cdi, lease
from ocicaliban.targets.container_runner import ObservedContainer
from tests.cdi_specs import UUID, write


def _specs(folder: Path) -> tuple[cdi.Device, ...]:
    nodes = [{"path": f"/dev/nvidia{number}"} for number in range(3)]
    named = (("0", nodes[:1]), ("1", nodes[1:2]), ("2", nodes[2:]), (UUID, nodes[1:2]), ("all", nodes))
    write(folder, *({"name": name, "containerEdits": {"deviceNodes": own}} for name, own in named))
    return cdi.discover([folder]).devices


# --- what a process does in a loop, until its input ends ---


def work(folder: Path, role: str, seed: str) -> None:
    """Lease and release random GPUs, and leave marks of those that are leased. Fail if another one has its mark."""
    dice = random.Random(seed)
    lease.SHARED = (folder,)
    gpus = cdi.discover([folder / "cdi"]).devices
    slots = SlotLeases(gpus, dict) if role == "sweep" else None
    print("here", flush=True)
    for _ in range(400):
        names = [gpu.qualified for gpu in dice.sample(gpus, dice.choice((1, 1, 2)))]
        if slots:
            places = [Slot(number=number, devices=(name,)) for number, name in enumerate(names)]
            withheld = slots.withheld(places, lambda _: None)
            ours = [place for place in places if place not in withheld]
            _check(folder, role, [name for place in ours for name in place.devices], gpus)
            slots.release(ours)
        else:
            chosen = tuple(gpu for gpu in gpus if gpu.qualified in names)
            try:
                with gpu_slots.leased(chosen, dict, shared=role == "shell"):
                    _check(folder, role, names, gpus)
            except UsageError as fault:
                assert "is in use by" in fault.message, fault


def _check(folder: Path, role: str, names: list[str], gpus: tuple[cdi.Device, ...]) -> None:
    """Mark the units as ours, look for the marks of others, and remove ours."""
    units = lease.units(gpu for gpu in gpus if gpu.qualified in names)
    kind = "shared" if role == "shell" else "alone"
    own = [folder / "marks" / f"{unit.replace('/', '-')}.{kind}.{os.getpid()}" for unit in units]
    for mark in own:
        mark.touch()
    for unit in units:
        for other in (folder / "marks").glob(f"{unit.replace('/', '-')}.*"):
            if other not in own and not (kind == "shared" and ".shared." in other.name):
                _must_be_of_a_dead_one(other)
    for mark in own:
        mark.unlink()


def _must_be_of_a_dead_one(mark: Path) -> None:
    # A process that is killed loses its locks a moment before the system says that it is dead.
    process = mark.name.rpartition(".")[2]
    for _ in range(5000):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            state = "X"
        if state in "XZ":
            mark.unlink(missing_ok=True)
            return
        if not mark.exists():
            break
        time.sleep(0.002)
    raise SystemExit(f"two processes had the same GPU: {mark.name}")


@pytest.mark.parametrize("seed", [1, 2])
def test_processes_never_have_the_same_gpu(tmp_path: Path, seed: int) -> None:
    """Two sweeps, a run and two shells; one sweep is killed in the middle, and another one follows it."""
    _specs(tmp_path / "cdi")
    (tmp_path / "marks").mkdir()
    dice = random.Random(seed)

    def begin(role: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", __name__, str(tmp_path), role, str(dice.random())]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    running = [begin(role) for role in ("sweep", "sweep", "run", "shell", "shell")]
    assert running[0].stdout and running[0].stdout.readline() == "here\n"
    time.sleep(dice.uniform(0, 0.1))
    running[0].kill()
    running.append(begin("sweep"))
    for number, child in enumerate(running):
        said = child.communicate(timeout=120)[1]
        assert child.returncode == 0 or number == 0, said


# --- what else is known of GPUs in use ---


def _container(**labels: str) -> dict[str, ObservedContainer]:
    return {"c": ObservedContainer(handle="c", state="running", labels=labels)}


def test_containers_whose_process_was_killed_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "SHARED", (tmp_path,))
    gpus = {gpu.name: gpu for gpu in _specs(tmp_path / "cdi")}
    one = (gpus["1"],)
    for labels, shown in (
        ({"group": "g"}, "ocicaliban status --group g"),
        ({}, "podman ps"),
        ({"session": "shell"}, "podman ps"),
        ({"session": "notebook"}, "ocicaliban notebook --list"),
    ):
        there = _container(devices=f"example.com/x,{gpus[UUID].qualified}", **labels)
        with pytest.raises(UsageError) as caught:
            gpu_slots.leased(one, lambda there=there: there)  # type: ignore[misc]
        assert caught.value.message == f"/dev/nvidia1 is in use by the container c (`{shown}` shows it)"
        gpu_slots.leased((gpus["0"],), lambda there=there: there).close()  # type: ignore[misc]
        if "session" in labels:
            gpu_slots.leased(one, lambda there=there: there, shared=True).close()  # type: ignore[misc]
        else:
            with pytest.raises(UsageError):
                gpu_slots.leased(one, lambda there=there: there, shared=True)  # type: ignore[misc]
    gpu_slots.leased(one, dict).close()  # nothing was kept
    there = _container(devices=gpus["1"].qualified, shared="true")
    gpu_slots.leased(one, lambda: there).close()


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
