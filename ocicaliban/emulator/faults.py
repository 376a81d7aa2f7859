"""Faults to inject: what goes wrong in the emulator, and with which requests."""

from __future__ import annotations

import contextlib
import stat
import threading
from collections import deque
from pathlib import Path
from typing import Literal

from attrs import frozen

from ocicaliban.errors import UsageError, nearest
from ocicaliban.formats.toml import parse_toml
from ocicaliban.reporter import SILENT, Reporter
from ocicaliban.targets.vertex import machines

Lost = Literal["unavailable", "deadline"]


@frozen(kw_only=True)
class Faults:
    """What goes wrong. Times are in seconds; `..._every` = N means every Nth request, 0 none."""

    latency: float = 0.0
    """Wait so long before each answer."""
    per_minute: int = 0
    """Allow so many creates in any 60 seconds; more are RESOURCE_EXHAUSTED. 0: no limit."""
    unavailable_every: int = 0
    """Answer UNAVAILABLE, and do not carry the request out."""
    lost_every: int = 0
    """Carry a create out, and lose its answer."""
    lost_as: Lost = "unavailable"
    """Show a client UNAVAILABLE for a lost answer, as after a dropped connection, or nothing until its deadline."""
    lost_late: float = 0.0
    """Carry such a create out only so long after its answer was lost."""
    waits: float = 0.0
    """Leave each job PENDING so long, as if it waited for machines."""
    lists_late: float = 0.0
    """List a job only so long after its create; a get finds it at once."""
    lists_denied: bool = False
    """Answer PERMISSION_DENIED to lists of jobs, as for a role that may only create jobs."""
    ended_refuses: bool = False
    """Answer FAILED_PRECONDITION to the cancel of a job that has ended."""
    logs_late: float = 0.0
    """List a log entry only so long after a replica wrote it."""
    denied: bool = False
    """Answer PERMISSION_DENIED to all requests."""
    expired: bool = False
    """Answer UNAUTHENTICATED to all requests, as for a key that has expired or was deleted."""
    no_quota: tuple[str, ...] = ()
    """Accelerators whose quota is 0, by the service's names; "CPU" for jobs without one.

    A file may also use the short names of --gpu-spec."""
    refused_machines: tuple[str, ...] = ()
    """Valid machine types to which the emulator answers INVALID_ARGUMENT nevertheless."""
    preempted: int = 0
    """Preempt the first so many replicas, as spot machines are, and restart them."""
    preempted_after: float = 1.0
    """Let them run so long before."""


def parse(text: str, path: str) -> Faults:
    """Return the faults in the text of a TOML file; `path` is named in errors. Raises UsageError if it is not valid."""
    try:
        data = parse_toml(text)
    except ValueError as exc:
        raise UsageError(f"{path}: {exc}", "write TOML, such as: latency = 0.1") from exc
    defaults = Faults()
    for key, value in data.items():
        if not hasattr(defaults, key):
            raise UsageError(f"{path}: there is no fault '{key}'", nearest(key, _NAMES))
        kind = type(getattr(defaults, key))
        fits = isinstance(value, list) and all(isinstance(one, str) for one in value)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if kind is tuple and fits:
            data[key] = tuple(value)
        elif not number if kind is float else type(value) is not kind:
            raise UsageError(
                f"{path}: {key} = {value!r} is not {_WORDS[kind]}", f"for example {key} = {_EXAMPLES[kind]}"
            )
        if number and not 0 <= value <= _MAX:
            raise UsageError(f"{path}: {key} = {value!r} is not between 0 and {_MAX}", f"{key} = 0 turns it off")
        if kind is float:
            data[key] = float(value)
    if data.get("lost_as", "unavailable") not in ("unavailable", "deadline"):
        raise UsageError(f"{path}: lost_as = {data['lost_as']!r} is not valid", 'use "unavailable" or "deadline"')
    data["no_quota"] = tuple(_accelerator(name, path) for name in data.get("no_quota", ()))
    return Faults(**data)


def _accelerator(name: str, path: str) -> str:
    """Return the service's name of an accelerator."""
    names = machines.table().accelerators
    if name in ("CPU", *names.values()):
        return name
    if name not in names:
        raise UsageError(f"{path}: no_quota: there is no accelerator '{name}'", nearest(name, ("CPU", *names)))
    return names[name]


_MAX = 1_000_000  # seconds or requests; threads cannot wait for any time

_NAMES = tuple(name for name in vars(Faults)["__annotations__"])
_WORDS = {float: "a number", int: "an integer", bool: "true or false", str: "a string", tuple: "a list of strings"}
_EXAMPLES = {float: "0.1", int: "7", bool: "true", str: '"deadline"', tuple: '["NVIDIA_TESLA_V100"]'}


class FaultInjector:
    """Decides which requests go wrong: by `faults`, or by a file of them that is read again whenever it changes.

    Raises UsageError if the file is not valid at the start. If it becomes invalid later, `reporter` gets a line.
    """

    def __init__(self, faults: Faults | None = None, file: Path | None = None, reporter: Reporter = SILENT) -> None:
        self._file = file
        self._reporter = reporter
        self._stamp: tuple[int, int] | None = None
        self._last_error = ""
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._creates: deque[float] = deque()
        self._faults = faults or Faults()
        if file is not None:
            with contextlib.suppress(FileNotFoundError):
                self._faults = self._read(file)

    def current(self) -> Faults:
        """Return the faults in force; while the file is missing or not valid, those from before."""
        if self._file is not None:
            with self._lock:
                try:
                    self._faults, self._last_error = self._read(self._file), ""
                except FileNotFoundError:
                    pass
                except UsageError as fault:
                    if fault.message != self._last_error:
                        self._reporter.say(f"error: {fault.message}; the faults from before stay in force")
                    self._last_error = fault.message
        return self._faults

    def _read(self, file: Path) -> Faults:
        try:
            status = file.stat()
            if not stat.S_ISREG(status.st_mode):  # reading a pipe would block
                raise UsageError(f"{file} is not a regular file", "write the faults into one; it may be empty")
            stamp = (status.st_mtime_ns, status.st_size)
            if stamp == self._stamp:
                return self._faults
            self._stamp = stamp
            return parse(file.read_text(encoding="utf-8"), str(file))
        except FileNotFoundError:
            raise
        except OSError as exc:
            raise UsageError(f"{file}: {exc.strerror}", "make it readable to you") from exc
        except UnicodeDecodeError as exc:
            raise UsageError(f"{file} is not UTF-8 text", "write TOML, such as: latency = 0.1") from exc

    def replace(self, faults: Faults) -> None:
        """Inject other faults, from the next request on."""
        self._faults = faults

    def is_nth(self, what: str, every: int) -> bool:
        """Count one more `what`, and return whether it is the Nth of its kind, for N = `every`; never if that is 0."""
        if not every:
            return False
        with self._lock:
            self._counts[what] = self._counts.get(what, 0) + 1
            return self._counts[what] % every == 0

    def is_among_first(self, what: str, most: int) -> bool:
        """Count one more `what`, and return whether it is one of the first `most`."""
        with self._lock:
            self._counts[what] = self._counts.get(what, 0) + 1
            return self._counts[what] <= most

    def is_within_rate(self, per_minute: int, at: float) -> bool:
        """Count a create at this time (seconds of any clock), unless the minute before it had `per_minute` already."""
        if not per_minute:
            return True
        with self._lock:
            while self._creates and self._creates[0] <= at - 60:
                self._creates.popleft()
            if len(self._creates) >= per_minute:
                return False
            self._creates.append(at)
            return True
