"""What a job reports: `metrics.json` and `metrics.jsonl` in its folder of results, however it was left."""

from __future__ import annotations

import errno
import itertools
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from attrs import define, field, frozen

from ocicaliban.model.job import Scalar

RESULTS = "metrics.json"
LINES = "metrics.jsonl"

_LARGEST = 16_000_000  # bytes of metrics.json
_LONGEST = 1_000_000  # bytes of a line of metrics.jsonl
_NAMES = 500
_DEPTH = 20
_TEXT = 1000  # characters of a value or a name


@frozen(kw_only=True)
class Curve:
    """A metric over its steps, in their order; a value may be NaN or infinite, a step is neither."""

    steps: tuple[float, ...]
    values: tuple[float, ...]


@frozen(kw_only=True)
class Metrics:
    """What one job has reported: the last value of each name, the curves by name, and what could not be read."""

    results: Mapping[str, Scalar] = field(factory=dict)
    curves: Mapping[str, Curve] = field(factory=dict)
    notes: tuple[str, ...] = ()


def read(folder: str, points: int = 0) -> Metrics:
    """What the job with this folder of results has reported; nothing, where it has no folder or wrote no such file.

    `points` is how many a curve may have, more or less: a longer one is thinned; with 0 there are no curves. What
    cannot be used is told in the notes, and never raises: a job may have been killed in the middle of a line.

    A value is a number, a text or a bool. Names in nested objects are joined by dots; null counts as not reported.
    Where both files have a name, metrics.json says its result.
    """
    if not folder:
        return Metrics()
    reader = _Reader(points=points)
    for name, taken in ((RESULTS, reader.whole), (LINES, reader.lines)):
        try:
            file = _opened(os.path.join(folder, name))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as exc:
            why = (exc.strerror if isinstance(exc, OSError) else "") or str(exc)
            reader.note(f"{name} cannot be read: {why}")
            continue
        with file:
            try:
                taken(file)
            except OSError as exc:
                reader.note(f"{name} cannot be read: {exc.strerror}")
    curves = {name: curve.made() for name, curve in reader.curves.items()}
    return Metrics(results=reader.results, curves=curves, notes=tuple(reader.notes))


def _opened(path: str) -> BinaryIO:
    """A plain file, for reading.

    A job can put anything there: a link would show a file of the host that the job itself cannot see, and a FIFO would
    keep us waiting. Raises OSError for both, FileNotFoundError where there is nothing.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except NotADirectoryError as exc:
        raise FileNotFoundError(path) from exc
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a link; write the file itself") from exc
        if exc.errno == errno.ENXIO:  # a socket
            raise OSError(errno.ENXIO, "it is no plain file") from exc
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no plain file")
    return os.fdopen(descriptor, "rb")


@define(kw_only=True)
class _Reader:
    points: int
    results: dict[str, Scalar] = field(factory=dict)
    final: frozenset[str] = frozenset()
    curves: dict[str, _Thinning] = field(factory=dict)
    notes: list[str] = field(factory=list)

    def note(self, text: str) -> None:
        if text not in self.notes and len(self.notes) < 10:
            self.notes.append(text)

    def whole(self, file: BinaryIO) -> None:
        """Take metrics.json."""
        raw = file.read(_LARGEST + 1)
        if len(raw) > _LARGEST:
            self.note(f"{RESULTS} is larger than {_LARGEST // 1_000_000} MB")
            return
        try:
            found = json.loads(raw)
        except (ValueError, RecursionError):
            self.note(f"{RESULTS} is not JSON" if raw.strip() else f"{RESULTS} is empty")
            return
        if not isinstance(found, dict):
            self.note(f"{RESULTS} holds no object")
            return
        for name, value in self._flat(found, RESULTS):
            self._result(name, value)
        self.final = frozenset(self.results)

    def lines(self, file: BinaryIO) -> None:
        """Take metrics.jsonl, line by line."""
        number = wrong = first_wrong = 0
        while line := file.readline(_LONGEST):
            number += 1
            finished = line.endswith(b"\n")
            if not finished and len(line) == _LONGEST:
                self.note(f"{LINES}: line {number} is longer than {_LONGEST // 1_000_000} MB")
                while (rest := file.readline(_LONGEST)) and not rest.endswith(b"\n"):
                    pass
                continue
            if line.isspace():
                continue
            try:
                found = json.loads(line)
            except (ValueError, RecursionError):
                found = None
            if not isinstance(found, dict):
                if not finished:
                    self.note(f"{LINES}: the last line is only half written")
                    break
                wrong += 1
                first_wrong = first_wrong or number
                continue
            step = _step(found.pop("step", None))
            for name, value in self._flat(found, LINES):
                if self._result(name, value) and self.points and _is_number(value):
                    curve = self.curves.setdefault(name, _Thinning(points=self.points))
                    curve.add(float(number) if step is None else step, float(value))
        if wrong:
            more = f", the first of {wrong} such lines" if wrong > 1 else ""
            self.note(f"{LINES}: line {first_wrong} is no JSON object{more}")

    def _result(self, name: str, value: Scalar) -> bool:
        """Whether the value has been taken."""
        if name not in self.results and len(self.results) >= _NAMES:
            self.note(f"more than {_NAMES} names: the rest is left out")
            return False
        if name not in self.final:
            self.results[name] = value
        return True

    def _flat(
        self, found: Mapping[str, object], place: str, above: str = "", depth: int = 1
    ) -> Iterator[tuple[str, Scalar]]:
        for key, value in found.items():
            name = _text(f"{above}{key}")
            if isinstance(value, dict):
                if depth < _DEPTH:
                    yield from self._flat(value, place, f"{name}.", depth + 1)
                else:
                    self.note(f"{place}: {name} is nested too deeply")
            elif isinstance(value, str):
                yield name, _text(value)
            elif isinstance(value, bool | float):
                yield name, value
            elif isinstance(value, int):
                yield name, _bounded(value)
            elif value is not None:
                self.note(f"{place}: {name} is a list, which is left out")


def _text(text: str) -> str:
    """A text that can be printed: JSON can name halves of characters, which UTF-8 cannot hold."""
    if len(text) <= _TEXT and text.isascii():
        return text
    return text[:_TEXT].encode("utf-8", "backslashreplace").decode()


def _bounded(value: int) -> int | float:
    """A whole number that is one for a float as well."""
    try:
        float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    return value


def _is_number(value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _step(value: object) -> float | None:
    """A step; None for what cannot be one."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    bounded = _bounded(value) if isinstance(value, int) else value
    return float(bounded) if math.isfinite(bounded) else None


@define(kw_only=True)
class _Thinning:
    """A curve that grows, in bounded memory.

    The first points are kept one by one. When they are twice as many as wanted, the axis of steps is divided into
    intervals that keep what was written last in each; these double whenever they are too many. As a later attempt
    goes over the same intervals, a thinned curve is the last one's as well, as far as it got.
    """

    points: int
    _width: float = 0.0
    _count: int = 0
    _kept: dict[float, tuple[int, float, float]] = field(factory=dict)

    def add(self, step: float, value: float) -> None:
        self._count += 1
        self._kept[self._interval(step)] = (self._count, step, value)
        if len(self._kept) > 2 * self.points:
            self._thin()

    def _interval(self, step: float) -> float:
        return step if not self._width else step // self._width

    def _thin(self) -> None:
        if not self._width:
            steps = sorted(self._kept)
            gaps = sorted(after - before for before, after in itertools.pairwise(steps))
            self._width = gaps[len(gaps) // 2] or math.ulp(0.0)
        while len(self._kept) > self.points and math.isfinite(self._width):
            self._width *= 2
            points = sorted(self._kept.values())  # by their order of writing: the last one stays
            self._kept = {self._interval(point[1]): point for point in points}

    def made(self) -> Curve:
        if len(self._kept) > self.points:
            self._thin()
        inside = sorted((step, value) for _, step, value in self._kept.values())
        return Curve(steps=tuple(step for step, _ in inside), values=tuple(value for _, value in inside))
