"""This machine's GPUs, and how jobs share them."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence

from google.cloud.aiplatform_v1.types import AcceleratorType, WorkerPoolSpec

from ocicaliban.errors import OcicalibanError
from ocicaliban.gpu import cdi, selection


class GpuPool:
    """GPUs, given to whole jobs at once: two jobs that each held a part of theirs would wait forever."""

    def __init__(self, devices: tuple[cdi.Device, ...]) -> None:
        self._free = list(devices)
        self._count = len(devices)
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def hold(self, wanted: int, given_up: Callable[[], object]) -> Iterator[tuple[cdi.Device, ...]]:
        """Wait for and hold so many GPUs, or all if there are fewer; none if the job is given up before."""
        count = min(wanted, self._count)
        with self._changed:
            while len(self._free) < count and not given_up():
                self._changed.wait(0.1)
            taken = tuple(self._free[:count]) if len(self._free) >= count else ()
            del self._free[: len(taken)]
        try:
            yield taken
        finally:
            with self._changed:
                self._free += taken
                self._changed.notify_all()


def find_gpus() -> tuple[cdi.Device, ...]:
    """Return the GPUs that CDI offers; none if its specs cannot be used."""
    try:
        return selection.choose_gpus(None, None)
    except OcicalibanError:
        return ()


def divide(devices: tuple[cdi.Device, ...], wanted: Sequence[int]) -> list[tuple[cdi.Device, ...]]:
    """Return which of a job's devices each replica gets: different ones, and in turn again if there are too few."""
    turn = itertools.cycle(devices)
    return [tuple(itertools.islice(turn, min(count, len(devices)))) for count in wanted]


def wanted_by(pool: WorkerPoolSpec) -> int:
    """Return how many GPUs each replica of a worker pool wants; TPUs do not count."""
    is_gpu = AcceleratorType(pool.machine_spec.accelerator_type).name.startswith("NVIDIA")
    return int(pool.machine_spec.accelerator_count) if is_gpu else 0
