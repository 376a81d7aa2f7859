"""Lease the GPUs of what is launched at the user's terminal, until the leases are closed or this process ends."""

from __future__ import annotations

from ocicaliban.app.launch import PreparedLaunch
from ocicaliban.gpu.lease import Leases
from ocicaliban.reporter import TERMINAL


def alone(launch: PreparedLaunch) -> Leases:
    """Return leases of the GPUs of a job: of none that another program of ours uses.

    Raises UsageError if there is one, and it is not to be shared.
    """
    return _taken(launch, shared=False)


def session(launch: PreparedLaunch) -> Leases:
    """Return leases of the GPUs of a shell or a notebook, and tell which other ones use them.

    Raises UsageError if a job uses one, and it is not to be shared.
    """
    leases = _taken(launch, shared=True)
    for line in leases.beside():
        TERMINAL.say(line)
    return leases


def _taken(launch: PreparedLaunch, *, shared: bool) -> Leases:
    if not launch.devices or launch.request.share_gpus:
        return Leases()
    from ocicaliban.execution import gpu_slots
    from ocicaliban.targets.local import listing

    return gpu_slots.leased(launch.devices, lambda: listing.find(devices=""), shared=shared)
