"""How jobs share this machine's GPUs."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ocicaliban.emulator import gpu_pool
from ocicaliban.emulator.gpu_pool import GpuPool
from ocicaliban.errors import OcicalibanError
from ocicaliban.gpu import cdi, selection
from tests.unit.emulator.samples import custom_job, pool

GPUS = tuple(cdi.Device(kind="nvidia.com/gpu", name=name, spec=Path("gpus.json"), version="0.5.0") for name in "abc")


def test_each_replica_has_gpus_of_its_own_if_there_are_enough() -> None:
    assert gpu_pool.divide(GPUS, [1, 2]) == [GPUS[:1], GPUS[1:]]
    assert gpu_pool.divide(GPUS, [2, 2, 8]) == [GPUS[:2], (GPUS[2], GPUS[0]), (GPUS[1], GPUS[2], GPUS[0])]
    assert gpu_pool.divide((), [1, 0]) == [(), ()]


def test_a_job_waits_for_all_its_gpus_and_gets_at_most_all_there_are() -> None:
    gpus, order = GpuPool(GPUS), list[object]()

    def other() -> None:
        with gpus.hold(8, lambda: False) as held:
            order.append(len(held))

    with gpus.hold(2, lambda: False) as held:
        assert held == GPUS[:2]
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.05)
        order.append("released")
    thread.join(10)
    assert order == ["released", 3]


def test_a_job_that_gives_up_gets_none() -> None:
    gpus = GpuPool(GPUS[:1])
    with gpus.hold(1, lambda: False), gpus.hold(1, lambda: True) as held:
        assert held == ()
    with gpus.hold(1, lambda: False) as held:
        assert held == GPUS[:1]


def test_specs_that_cannot_be_used_offer_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def choose(*_: object) -> None:
        raise OcicalibanError("broken spec")

    monkeypatch.setattr(selection, "choose_gpus", choose)
    assert gpu_pool.find_gpus() == ()


@pytest.mark.parametrize(
    ("kind", "count"), [("NVIDIA_TESLA_T4", 2), ("TPU_V3", 0), ("ACCELERATOR_TYPE_UNSPECIFIED", 0)]
)
def test_tpus_are_no_gpus(kind: str, count: int) -> None:
    machine = {"machine_type": "n1-standard-4", "accelerator_type": kind, "accelerator_count": 2 if "_T" in kind else 0}
    [spec] = custom_job(pool(machine_spec=machine)).job_spec.worker_pool_specs
    assert gpu_pool.wanted_by(spec) == count
