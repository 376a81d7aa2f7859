"""Check that containers can use this machine's GPUs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ocicaliban.doctor.finding import Finding
from ocicaliban.gpu import cdi, lease
from ocicaliban.gpu import driver as driver_files
from ocicaliban.gpu.spec import regenerate

NVIDIA_DRIVER = driver_files.FOLDER / "version"


def specs(dirs: Iterable[Path], driver: Path = NVIDIA_DRIVER) -> tuple[Finding, ...]:
    """Check the CDI specs in these folders: a finding for each unusable one, and one for the others.

    The file `driver` exists if NVIDIA's driver is loaded.
    """
    name = "GPUs"
    discovery = cdi.discover(dirs)
    poor = [Finding(name=name, level="error", message=fault.message, remedy=fault.hint) for fault in discovery.faults]
    stale = cdi.absent_host_paths(discovery.devices)
    for path, absent in stale.items():
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        message = f"{path} names files that do not exist, as after a driver upgrade: {', '.join(absent[:3])}{more}"
        poor.append(Finding(name=name, level="error", message=message, remedy=regenerate(path)))
    good = ", ".join(device.qualified for device in discovery.devices if device.spec not in stale)
    if good:
        return (*poor, Finding(name=name, level="ok", message=good))
    if poor:
        return tuple(poor)
    if driver.exists():
        return (
            Finding(
                name=name,
                level="warning",
                message="NVIDIA's driver is loaded, but no CDI spec describes its GPUs: containers run without them",
                remedy="mkdir -p ~/.config/cdi && nvidia-ctk cdi generate --format=json "
                "--output=$HOME/.config/cdi/nvidia.json (the package nvidia-container-toolkit provides nvidia-ctk)",
            ),
        )
    return (Finding(name=name, level="ok", message="no GPU"),)


def leases(dirs: Iterable[Path]) -> tuple[Finding, ...]:
    """Check whether a GPU that one user's sweep uses is known to other users' sweeps; nothing without a GPU."""
    name = "GPU leases"
    if not cdi.discover(dirs).devices:
        return ()
    if place := lease.shared_folder():
        return (Finding(name=name, level="ok", message=f"hold among all users of this machine ({place})"),)
    wanted = lease.SHARED[0] / lease.OURS
    rule = f"d {wanted} 1777 root root -"
    return (
        Finding(
            name=name,
            level="warning",
            message=f"hold among your own programs alone ({lease.folder()}): another user may use the same GPU",
            remedy=f"echo '{rule}' | sudo tee /etc/tmpfiles.d/ocicaliban.conf && sudo systemd-tmpfiles --create",
        ),
    )
