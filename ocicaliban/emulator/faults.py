"""Faults to order: what goes wrong in the emulator, and with which request (pure but for reading the file)."""

from __future__ import annotations

import contextlib
import stat
import threading
import tomllib
from collections import deque
from pathlib import Path
from typing import Literal

from attrs import frozen

from ocicaliban.errors import UsageError, nearest
from ocicaliban.reporter import SILENT, Reporter
from ocicaliban.targets.vertex import machines

Lost = Literal["unavailable", "deadline"]


@frozen(kw_only=True)
class Faults:
    """What shall go wrong. Times are in seconds; an `..._every` of N means each Nth request, 0 none."""

    latency: float = 0.0
    """Before each answer."""
    per_minute: int = 0
    """Creates in any 60 seconds; more are RESOURCE_EXHAUSTED. 0: as many as you like."""
    unavailable_every: int = 0
    """Requests that are UNAVAILABLE and not carried out."""
    lost_every: int = 0
    """Creates that are carried out and whose answer is lost."""
    lost_as: Lost = "unavailable"
    """What the client sees of a lost answer: UNAVAILABLE, as of a dropped connection, or nothing until its deadline."""
    lost_late: float = 0.0
    """So long after its answer was lost such a create is carried out."""
    waits: float = 0.0
    """So long a job is PENDING, as one is that waits for its machines."""
    lists_late: float = 0.0
    """So long after its create a job is in lists; a get finds it at once."""
    lists_denied: bool = False
    """Lists of jobs are PERMISSION_DENIED, as with a role that may create jobs alone."""
    ended_refuses: bool = False
    """The cancel of a job that has ended is FAILED_PRECONDITION."""
    logs_late: float = 0.0
    """So long after a replica wrote it an entry is in the lists of its log."""
    denied: bool = False
    """All requests are PERMISSION_DENIED."""
    expired: bool = False
    """All requests are UNAUTHENTICATED, as with a key that has expired or was deleted."""
    no_quota: tuple[str, ...] = ()
    """Accelerators of which there is a quota of 0, by the service's names; "CPU" for jobs without one. A file may have
    the short names of --gpu-spec too."""
    refused_machines: tuple[str, ...] = ()
    """Machine types that are INVALID_ARGUMENT, beside those that are none."""
    preempted: int = 0
    """So many replicas are taken away, the first ones, as a spot machine is, and then restarted."""
    preempted_after: float = 1.0
    """They run so long before."""


def parse(text: str, place: str) -> Faults:
    """The faults of a TOML file; raises UsageError for a key or value that is none, with the `place` of the file."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise UsageError(f"{place}: {exc}", "it is TOML: latency = 0.1") from exc
    plain = Faults()
    for key, value in data.items():
        if not hasattr(plain, key):
            raise UsageError(f"{place}: there is no fault '{key}'", nearest(key, _NAMES))
        kind = type(getattr(plain, key))
        fits = isinstance(value, list) and all(isinstance(one, str) for one in value)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if kind is tuple and fits:
            data[key] = tuple(value)
        elif not number if kind is float else type(value) is not kind:
            raise UsageError(
                f"{place}: {key} = {value!r} is no {_WORDS[kind]}", f"for example {key} = {_EXAMPLES[kind]}"
            )
        if number and not 0 <= value <= _MOST:
            raise UsageError(f"{place}: {key} = {value!r} is not between 0 and {_MOST}", f"{key} = 0 is none")
        if kind is float:
            data[key] = float(value)
    if data.get("lost_as", "unavailable") not in ("unavailable", "deadline"):
        raise UsageError(f"{place}: lost_as = {data['lost_as']!r}", 'there are: "unavailable", "deadline"')
    data["no_quota"] = tuple(_accelerator(name, place) for name in data.get("no_quota", ()))
    return Faults(**data)


def _accelerator(name: str, place: str) -> str:
    """The service's name for an accelerator."""
    known = machines.table().accelerators
    if name in ("CPU", *known.values()):
        return name
    if name not in known:
        raise UsageError(f"{place}: no_quota: there is no accelerator '{name}'", nearest(name, ("CPU", *known)))
    return known[name]


_MOST = 1_000_000  # seconds, or requests: what threads can wait for has a limit

_NAMES = tuple(name for name in vars(Faults)["__annotations__"])
_WORDS = {float: "number", int: "whole number", bool: "true or false", str: "text", tuple: "list of texts"}
_EXAMPLES = {float: "0.1", int: "7", bool: "true", str: '"deadline"', tuple: '["NVIDIA_TESLA_V100"]'}


class Order:
    """The faults in force: given at the start, or in a file that is read again whenever it changes.

    Raises UsageError for a file that is wrong from the start; of one that becomes so, `reporter` gets a line.
    """

    def __init__(self, faults: Faults | None = None, file: Path | None = None, reporter: Reporter = SILENT) -> None:
        self._file = file
        self._reporter = reporter
        self._stamp: tuple[int, int] | None = None
        self._told = ""
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._creates: deque[float] = deque()
        self._faults = faults or Faults()
        if file is not None:
            with contextlib.suppress(FileNotFoundError):
                self._faults = self._read(file)

    def now(self) -> Faults:
        """The faults of this moment; a file that is gone or wrong leaves them as they are."""
        if self._file is not None:
            with self._lock:
                try:
                    self._faults, self._told = self._read(self._file), ""
                except FileNotFoundError:
                    pass
                except UsageError as fault:
                    if fault.message != self._told:
                        self._reporter.say(f"error: {fault.message}; the faults stay as they were")
                    self._told = fault.message
        return self._faults

    def _read(self, file: Path) -> Faults:
        try:
            status = file.stat()
            if not stat.S_ISREG(status.st_mode):  # to read a pipe would be to wait
                raise UsageError(f"{file} is not a plain file", "the faults stand in one, which may be empty")
            stamp = (status.st_mtime_ns, status.st_size)
            if stamp == self._stamp:
                return self._faults
            self._stamp = stamp
            return parse(file.read_text(encoding="utf-8"), str(file))
        except FileNotFoundError:
            raise
        except OSError as exc:
            raise UsageError(f"{file}: {exc.strerror}", "the faults stand there; make it readable to you") from exc
        except UnicodeDecodeError as exc:
            raise UsageError(f"{file} is not UTF-8 text", "it is TOML: latency = 0.1") from exc

    def set(self, faults: Faults) -> None:
        """Order other faults, from the next request on."""
        self._faults = faults

    def nth(self, what: str, every: int) -> bool:
        """Count one more `what`, and tell whether it is one of those that come `every` so many."""
        if not every:
            return False
        with self._lock:
            self._counts[what] = self._counts.get(what, 0) + 1
            return self._counts[what] % every == 0

    def first(self, what: str, most: int) -> bool:
        """Count one more `what`, and tell whether it is one of the first so many."""
        with self._lock:
            self._counts[what] = self._counts.get(what, 0) + 1
            return self._counts[what] <= most

    def within_quota(self, per_minute: int, at: float) -> bool:
        """Count a create at this time (seconds of any clock), unless there were as many in the minute before it."""
        if not per_minute:
            return True
        with self._lock:
            while self._creates and self._creates[0] <= at - 60:
                self._creates.popleft()
            if len(self._creates) >= per_minute:
                return False
            self._creates.append(at)
            return True
