"""Leases of GPUs: two programs of ours never use a GPU at the same time by accident.

A lease is a lock (flock) on a file that stands for a device file such as /dev/nvidia0, so it holds whatever a CDI spec
calls the GPU. The system releases it with the process, however that ends. The files lie in a folder that all users of
the machine share.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from attrs import frozen

from ocicaliban.errors import UsageError, of_system
from ocicaliban.gpu import spec as specs
from ocicaliban.gpu.cdi import Device
from ocicaliban.system import files, locks

SHARED = Path("/run/lock")
"""A folder in which every user may make files, and which is empty after a start of the machine (Debian, Fedora)."""

_OURS = "ocicaliban-gpus"
_PATIENCE = 0.2
_PAUSE = 0.02


def units(devices: Iterable[Device]) -> tuple[str, ...]:
    """Return what must be leased for these devices: their device files, sorted, or a name if they have none.

    What all devices of a spec share (/dev/kfd) does not count. The parts of a divided GPU (MIG) share its file and
    differ in their files of capabilities.
    """
    found: set[str] = set()
    for device in devices:
        offered = specs.load(device.spec).devices
        files_of = {name: {node.host_path or node.path for node in edits.devices} for name, edits in offered.items()}
        own = files_of.get(device.name, set())
        divided = {node for name, nodes in files_of.items() if name != "all" and _parts(nodes) for node in nodes}
        if _parts(own):
            own = own - (divided - _parts(divided))
        shared = set.intersection(*files_of.values()) if files_of else set()
        found |= own - shared or own or {device.qualified}
    return tuple(sorted(found))


def _parts(nodes: set[str]) -> set[str]:
    return {node for node in nodes if "/nvidia-caps/" in node}


def folder() -> Path:
    """Return the folder of the lock files: shared by all users if possible, else this user's own."""
    for place in (SHARED / _OURS, files.state() / _OURS):
        with contextlib.suppress(OSError):
            with contextlib.suppress(FileExistsError):
                place.mkdir(parents=True)
                # As in /tmp: everybody makes files, and nobody removes another's.
                place.chmod(0o1777 if place.parent == SHARED else 0o700)
            if os.access(place, os.W_OK | os.X_OK) and not place.is_symlink():
                return place
    return files.state()


@frozen(kw_only=True)
class Holder:
    """Who has the lease of a unit: a process with its user and its words, or 0 and "" if the system does not tell."""

    unit: str
    process: int = 0
    user: str = ""
    words: str = ""

    @property
    def told(self) -> str:
        """The holder in words."""
        if not self.process:
            return f"{self.unit} is in use by another ocicaliban"
        return f"{self.unit} is in use by `{self.words}` (process {self.process} of {self.user})"


class Leases:
    """The leases of this process; closing it, or the end of the process, releases them."""

    def __init__(self, place: Path | None = None) -> None:
        self._place = place
        self._held: dict[str, int] = {}

    def take(self, wanted: Iterable[str]) -> Holder | None:
        """Lease all of these units; if one is leased by another process, lease none and return who has it.

        Raises OcicalibanError if the lock files cannot be made.
        """
        new: dict[str, int] = {}
        for unit in wanted:
            if unit in self._held:
                continue
            try:
                file = self._open(unit)
            except OSError as fault:
                _close(new)
                raise of_system(fault) from fault
            new[unit] = file
            if not locks.taken(file):
                holder = _holder(unit, file)
                _close(new)
                return holder
        self._held |= new
        return None

    def release(self, wanted: Iterable[str]) -> None:
        """Release these units, if they are leased."""
        for unit in wanted:
            if (file := self._held.pop(unit, None)) is not None:
                os.close(file)

    def close(self) -> None:
        """Release all."""
        self.release([*self._held])

    def _open(self, unit: str) -> int:
        self._place = self._place or folder()
        path = self._place / f"{unit.strip('/').replace('/', '-')}.lock"
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                return os.open(path, flags)
            except FileNotFoundError:
                with contextlib.suppress(FileExistsError):
                    file = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644)
                    os.fchmod(file, 0o644)  # whatever the umask: other users must be able to lock it
                    return file
            except PermissionError:
                if time.monotonic() > until:  # its maker has not come to the line above
                    raise
                time.sleep(_PAUSE)


@contextlib.contextmanager
def held(wanted: Iterable[str]) -> Iterator[None]:
    """Lease these units while the context lasts. Raises UsageError if another process has one."""
    leases = Leases()
    try:
        if holder := leases.take(wanted):
            raise UsageError(holder.told, ADVICE)
        yield
    finally:
        leases.close()


ADVICE = "wait until it has ended, or choose another GPU with --gpus; with --share-gpus both use it"


def _close(held: dict[str, int]) -> None:
    for file in held.values():
        os.close(file)


def _holder(unit: str, file: int) -> Holder:
    """Return who has the lock of a file, as /proc/locks and /proc/PID tell (proc(5))."""
    status = os.fstat(file)
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        lines = Path("/proc/locks").read_text().splitlines()
        process = next(int(line.split()[-4]) for line in lines if place in line.split() and "->" not in line)
        words = Path(f"/proc/{process}/cmdline").read_text(errors="replace").split("\0")[:-1]
        user = Path(f"/proc/{process}").stat().st_uid
    except (OSError, StopIteration, ValueError, IndexError):
        return Holder(unit=unit)
    return Holder(unit=unit, process=process, user=_name(user), words=_command(words))


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _command(words: list[str]) -> str:
    """Return a command line as its user wrote it: `ocicaliban run ...`, without the interpreter."""
    at = next((at for at, word in enumerate(words) if os.path.basename(word) == "ocicaliban"), None)
    return shlex.join(["ocicaliban", *words[at + 1 :]] if at is not None else words)
