"""Leases the GPUs of a sweep's slots, so that no other program of ours uses them meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from ocicaliban.containers import command_line
from ocicaliban.errors import UsageError
from ocicaliban.execution.scheduler import Slot
from ocicaliban.gpu import lease
from ocicaliban.gpu.cdi import Device
from ocicaliban.targets.container_runner import ObservedContainer

_SHARED = command_line.SHARED.removeprefix(command_line.LABEL)
_SESSION = command_line.SESSION.removeprefix(command_line.LABEL)
_PAUSE = 1.0
"""Seconds between two looks whether a GPU is free."""

Find = Callable[[], Mapping[str, ObservedContainer]]
"""Returns the user's containers with GPUs, by name."""


class SlotLeases:
    """The leases of the GPUs in the slots of a submission. Slots without GPUs, or with others than `gpus`, need none.

    A lease ends with its process, but the containers of a killed process go on; `find` tells which there are. `leases`
    has none yet.
    """

    def __init__(
        self, gpus: tuple[Device, ...], find: Find, submission: int = 0, leases: lease.Leases | None = None
    ) -> None:
        self._units = {gpu.qualified: lease.units([gpu]) for gpu in gpus}
        self._known = lease.units_by_name(gpus)
        self._find = find
        self._submission = str(submission)
        self._leases = leases or lease.Leases()
        self._looked = 0.0

    def withheld(self, places: Iterable[Slot], say: Callable[[str], None]) -> tuple[Slot, ...]:
        """Lease the GPUs of these slots; return the slots that another program uses, and tell the user about it."""
        reasons = self._taken(places)
        for reason in dict.fromkeys(filter(None, reasons.values())):
            say(f"waiting: {reason}; with --share-gpus both use it")
        return tuple(slot for slot, reason in reasons.items() if reason)

    def why_not(self, slot: Slot) -> str:
        """Lease the GPUs of a slot; return why that cannot be now, or ""."""
        return self._taken([slot])[slot]

    def leased_now(self, withheld: Iterable[Slot]) -> tuple[Slot, ...]:
        """Return which of these slots are ours now; look once a second at most."""
        if not withheld or time.monotonic() < self._looked + _PAUSE:
            return ()
        return tuple(slot for slot, reason in self._taken(withheld).items() if not reason)

    def release(self, slots: Iterable[Slot]) -> None:
        """Give the GPUs of these slots back."""
        for slot in slots:
            self._leases.release(self._needed(slot))

    def close(self) -> None:
        """Give all back."""
        self._leases.close()

    def _needed(self, slot: Slot) -> tuple[str, ...]:
        return tuple(unit for name in slot.devices for unit in self._units.get(name, ()))

    def _taken(self, slots: Iterable[Slot]) -> dict[Slot, str]:
        """Lease what is free; return for each slot why that cannot be now, "" for those that are ours."""
        self._looked = time.monotonic()
        busy = self._busy() if self._units else {}
        return {slot: self._why_not(self._needed(slot), busy) for slot in slots}

    def _busy(self) -> dict[str, ObservedContainer]:
        """Return the containers of other submissions that run, by the units that they use."""
        return {
            unit: there
            for there in self._find().values()
            if there.state == "running" and there.labels.get("submission") != self._submission
            if not (_SHARED in there.labels or (self._leases.shared and _SESSION in there.labels))
            for name in there.labels.get("devices", "").split(",")
            for unit in self._known.get(name, ())
        }

    def _why_not(self, units: tuple[str, ...], busy: Mapping[str, ObservedContainer]) -> str:
        if holder := self._leases.take(units):
            return holder.told
        if (unit := next((unit for unit in units if unit in busy), "")) == "":
            return ""
        self._leases.release(units)
        labels = busy[unit].labels
        shown = f"ocicaliban status --group {labels['group']}" if labels.get("group") else "podman ps"
        if labels.get(_SESSION) == "notebook":
            shown = "ocicaliban notebook --list"
        return f"{unit} is in use by the container {busy[unit].handle} (`{shown}` shows it)"


def leased(gpus: tuple[Device, ...], find: Find, *, shared: bool = False) -> lease.Leases:
    """Return leases of all of these GPUs, for one job; `shared` ones for a shell or a notebook.

    Raises UsageError if another program of ours uses one of the GPUs, and a shared lease does not allow it.
    """
    leases = lease.Leases(shared=shared)
    whole = Slot(number=0, devices=tuple(gpu.qualified for gpu in gpus))
    try:
        if reason := SlotLeases(gpus, find, leases=leases).why_not(whole):
            raise UsageError(reason, lease.ADVICE_FOR_SESSIONS if shared else lease.ADVICE)
    except BaseException:
        leases.close()
        raise
    return leases
