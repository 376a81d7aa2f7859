"""What the kernel says about this machine."""

from __future__ import annotations

from pathlib import Path


def oom_kills(path: Path = Path("/proc/vmstat")) -> int:
    """Return how many processes the kernel has killed for want of memory since the machine started; 0 if unknown."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
    except (OSError, ValueError, IndexError):
        return 0


def has_selinux() -> bool:
    """Return whether SELinux refuses what its policy does not allow."""
    try:
        return Path("/sys/fs/selinux/enforce").read_text().strip() == "1"
    except OSError:
        return False
