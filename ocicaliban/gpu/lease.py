"""Leases of GPUs: two programs of ours never use a GPU at the same time by accident.

A lease is a lock (flock) on a file that stands for a device file such as /dev/nvidia0, so it holds whatever a CDI spec
calls the GPU. The system releases it with the process, however that ends. The files lie in a folder that all users of
the machine share.

Jobs need a GPU alone. Shells and notebooks share their lease (a shared lock): a second terminal may be opened beside
the first one, and a job still waits for both.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shlex
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

from attrs import evolve, frozen

from ocicaliban.containers import command_line
from ocicaliban.errors import UsageError, of_system
from ocicaliban.gpu import spec as specs
from ocicaliban.gpu.cdi import Device
from ocicaliban.system import background, files, locks

SHARED: tuple[Path, ...] = (Path("/run/lock"), Path("/dev/shm"))
"""Folders in which every user may make files, and which are empty after a start of the machine.

Debian lets users write to the first one, Fedora to the second one alone. There, an administrator can make our folder in
the first one.
"""

OURS = "ocicaliban-gpus"
"""The name of our folder in one of them, and in the user's own."""
_KEEPER = str(Path(__file__).with_name("keeper.py"))
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


def units_by_name(devices: Iterable[Device]) -> dict[str, tuple[str, ...]]:
    """Return the units of all devices in the specs of these ones, by their qualified names: a GPU has several."""
    specs_of = {device.spec: device for device in devices}
    every = (evolve(known, name=name) for spec, known in specs_of.items() for name in specs.load(spec).devices)
    return {device.qualified: units([device]) for device in every}


def _parts(nodes: set[str]) -> set[str]:
    return {node for node in nodes if "/nvidia-caps/" in node}


def shared_folder() -> Path | None:
    """Return the folder of the lock files that all users share, which may not be there yet; None if there is none."""
    return next((place / OURS for place in SHARED if _usable(place / OURS)), None)


def _usable(place: Path) -> bool:
    """Return whether we may lock files in a folder that all users share, or make it."""
    try:
        status = place.lstat()
    except OSError:
        return os.access(place.parent, os.W_OK | os.X_OK)
    # One that is closed to others is of no use for the same purpose: its owner made it by another way.
    everyone = status.st_mode & 0o777 == 0o777
    return stat.S_ISDIR(status.st_mode) and everyone and os.access(place, os.W_OK | os.X_OK)


def folder() -> Path:
    """Return the folder of the lock files, and make it: shared by all users if possible, else this user's own."""
    if place := shared_folder():
        with contextlib.suppress(OSError):
            with contextlib.suppress(FileExistsError):
                place.mkdir()
                place.chmod(0o1777)  # as in /tmp: everybody makes files, and nobody removes another's
            return place
    own = files.state() / OURS
    with contextlib.suppress(OSError):
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        return own
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
    """The leases of this process; closing it, or the end of the process, releases them.

    `shared` ones exclude those that are not shared, and no others.
    """

    def __init__(self, place: Path | None = None, *, shared: bool = False) -> None:
        self.shared = shared
        self._place = place
        self._held: dict[str, int] = {}

    @property
    def units(self) -> tuple[str, ...]:
        """What is leased."""
        return tuple(self._held)

    def take(self, wanted: Iterable[str]) -> Holder | None:
        """Lease all of these units; if another process prevents one, lease none and return who has it.

        Raises OcicalibanError if the lock files cannot be made.
        """
        new: dict[str, int] = {}
        for unit in wanted:
            if unit in self._held:
                continue
            try:
                file, taken = self._locked(unit)
            except OSError as fault:
                _close(new)
                raise of_system(fault) from fault
            new[unit] = file
            if not taken:
                holder = next(_holders(unit, file), Holder(unit=unit))
                _close(new)
                return holder
        self._held |= new
        return None

    def beside(self) -> tuple[str, ...]:
        """Return a line for each other process that has a shared lease of the same units, if the system tells."""
        found = (holder for unit, file in self._held.items() for holder in _holders(unit, file))
        return tuple(dict.fromkeys(f"note: {each.told} too" for each in found if each.process != os.getpid()))

    def release(self, wanted: Iterable[str]) -> None:
        """Release these units, if they are leased."""
        for unit in wanted:
            if (file := self._held.pop(unit, None)) is not None:
                os.close(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release all."""
        self.release([*self._held])

    def hand_over(self) -> None:
        """Let the program that replaces ours keep the leases."""
        for file in self._held.values():
            os.set_inheritable(file, True)

    def kept_until(self, process: int, words: Iterable[str]) -> None:
        """Have another process keep shared leases until a process of this user has ended.

        `words` are what it is called where someone waits for it. Raises OcicalibanError if it cannot start.
        """
        if self._held:
            paths = [os.readlink(f"/proc/self/fd/{file}") for file in self._held.values()]
            background.left_running((sys.executable, "-I", "-S", _KEEPER, str(process), *paths, "--", *words))

    def _locked(self, unit: str) -> tuple[int, bool]:
        """Return the open file of a unit, and whether it is locked now."""
        while True:
            file = self._open(unit)
            taken = locks.taken(file, fcntl.LOCK_SH if self.shared else fcntl.LOCK_EX)
            if not taken or os.fstat(file).st_nlink:
                return file, taken
            os.close(file)  # a login manager may empty /dev/shm after its maker

    def _open(self, unit: str) -> int:
        self._place = self._place or folder()
        path = self._place / f"{unit.strip('/').replace('/', '-')}.lock"
        # Others may have put something else there: neither follow a link nor wait for the other end of a pipe.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
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


def leased(wanted: Iterable[str], *, shared: bool = False) -> Leases:
    """Return leases of these units. Raises UsageError if another process prevents that."""
    leases = Leases(shared=shared)
    if holder := leases.take(wanted):
        raise UsageError(holder.told, ADVICE_FOR_SESSIONS if shared else ADVICE)
    return leases


ADVICE = "wait until it has ended, or choose another GPU with --gpus; with --share-gpus both use it"
ADVICE_FOR_SESSIONS = f"{ADVICE}, and --nogpu uses the CPU"


def _close(held: dict[str, int]) -> None:
    for file in held.values():
        os.close(file)


def _holders(unit: str, file: int) -> Iterator[Holder]:
    """Yield who has the lock of a file, as /proc/locks and /proc/PID tell (proc(5))."""
    status = os.fstat(file)
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        if place not in line.split() or "->" in line:  # these only wait
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            process = int(line.split()[-4])
            words = Path(f"/proc/{process}/cmdline").read_text(errors="replace").split("\0")[:-1]
            user = Path(f"/proc/{process}").stat().st_uid
            yield Holder(unit=unit, process=process, user=_name(user), words=_command(words))


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _command(words: list[str]) -> str:
    """Return a command line as its user wrote it: `ocicaliban run ...`, without the interpreter.

    A shell at a terminal is a podman by now.
    """
    if session := next((word for word in words if word.startswith(f"{command_line.SESSION}=")), ""):
        return f"ocicaliban {session.partition('=')[2]}"
    at = next((at for at, word in enumerate(words) if os.path.basename(word) == "ocicaliban"), None)
    return shlex.join(["ocicaliban", *words[at + 1 :]] if at is not None else words)
