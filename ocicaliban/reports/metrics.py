"""Read what a job reports: `metrics.json` and `metrics.jsonl` in its results folder, whatever state they are in."""

from __future__ import annotations

import errno
import itertools
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from attrs import define, field, frozen

from ocicaliban.formats.text import amount
from ocicaliban.model.job import Scalar
from ocicaliban.reports import metrics_memo

RESULTS = "metrics.json"
LINES = "metrics.jsonl"

_MAX_FILE = 16_000_000  # bytes of metrics.json
_MAX_LINE = 1_000_000  # bytes of a line of metrics.jsonl
_PART = 64_000_000  # bytes at the beginning and at the end of what is new in metrics.jsonl that are read, if it is more
_LARGE = 4_000_000  # bytes of a metrics.jsonl of which it is remembered what was read
_MAX_NAMES = 500
_MAX_DEPTH = 20
_MAX_TEXT = 1000  # characters of a value or a name
_MAX_NOTES = 10


@frozen(kw_only=True)
class Curve:
    """The values of a metric by step, in the order of steps; a value may be NaN or infinite, a step may not."""

    steps: tuple[float, ...]
    values: tuple[float, ...]


@frozen(kw_only=True)
class Metrics:
    """What a job has reported: the last value of each name, the curves by name, and notes on what cannot be read.

    `missing` says that its folder of results is not here.
    """

    results: Mapping[str, Scalar] = field(factory=dict)
    curves: Mapping[str, Curve] = field(factory=dict)
    notes: tuple[str, ...] = ()
    missing: bool = False


def read_folder(folder: str, points: int = 0) -> Metrics:
    """Return what the job with this results folder has reported; nothing if `folder` is "" or has no such files.

    A curve has about `points` points: a longer one is thinned. With 0 there are no curves. Nothing is raised for what
    cannot be used: a note tells it, since a job may have been killed in the middle of a line.

    A value is a number, a text or a bool; null counts as not reported. Names in nested objects are joined by dots. If
    both files have a name, metrics.json has its result.
    """
    if not folder:
        return Metrics()
    reader = _Reader(points=points)
    for name, read in ((RESULTS, reader.read_results), (LINES, reader.read_lines)):
        try:
            file = _open(os.path.join(folder, name))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as exc:
            why = (exc.strerror if isinstance(exc, OSError) else "") or str(exc)
            reader.note(f"cannot read {name}: {why}")
            continue
        with file:
            try:
                read(file)
            except OSError as exc:
                reader.note(f"cannot read {name}: {exc.strerror}")
    curves = {name: curve.curve() for name, curve in reader.curves.items()}
    return Metrics(results=reader.results, curves=curves, notes=tuple(reader.notes))


def _open(path: str) -> BinaryIO:
    """Open a regular file for reading.

    A job can put anything there: a link would show a file of the host that the job itself cannot see, and a FIFO would
    block. Raises OSError for both, FileNotFoundError if nothing is there.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except NotADirectoryError as exc:
        raise FileNotFoundError(path) from exc
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a link: write the file itself") from exc
        if exc.errno == errno.ENXIO:  # a socket
            raise OSError(errno.ENXIO, "it is not a regular file") from exc
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file")
    return os.fdopen(descriptor, "rb")


@define(kw_only=True)
class _Lines:
    """What metrics.jsonl says before `position`.

    `number` counts its lines, `wrong` those that are no object, `left_out` the bytes that were not read; `first_wrong`
    and `longer` are the numbers of the first wrong line and of the first one that is too long. `inside` says that
    `position` is in the middle of a line that is passed over.
    """

    position: int = 0
    number: int = 0
    wrong: int = 0
    first_wrong: int = 0
    longer: int = 0
    left_out: int = 0
    inside: bool = False
    notes: list[str] = field(factory=list)
    results: dict[str, Scalar] = field(factory=dict)
    curves: dict[str, Thinning] = field(factory=dict)

    def to_record(self) -> metrics_memo.Record:
        """Return what is kept of it."""
        plain = {name: getattr(self, name) for name in _COUNTS}
        return {**plain, "results": self.results, "curves": {name: c.to_record() for name, c in self.curves.items()}}

    @classmethod
    def of_record(cls, record: metrics_memo.Record, points: int) -> _Lines:
        """Return what was kept; nothing for a record of another form."""
        try:
            curves = {name: Thinning.of_record(kept, points) for name, kept in record["curves"].items()}
            return cls(**{name: record[name] for name in _COUNTS}, results=dict(record["results"]), curves=curves)
        except (KeyError, TypeError, ValueError, AttributeError):
            return cls()


_COUNTS = ("position", "number", "wrong", "first_wrong", "longer", "left_out", "inside", "notes")


@define(kw_only=True)
class _Reader:
    """Collects what the files say."""

    points: int
    results: dict[str, Scalar] = field(factory=dict)
    _lines: _Lines = field(init=False)
    notes: list[str] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self._lines = _Lines()

    @property
    def curves(self) -> Mapping[str, Thinning]:
        """The curves of metrics.jsonl."""
        return self._lines.curves

    def note(self, text: str) -> None:
        if text not in self.notes and len(self.notes) < _MAX_NOTES:
            self.notes.append(text)

    def read_results(self, file: BinaryIO) -> None:
        """Read metrics.json."""
        raw = file.read(_MAX_FILE + 1)
        if len(raw) > _MAX_FILE:
            self.note(f"{RESULTS} is larger than {_MAX_FILE // 1_000_000} MB")
            return
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError):
            self.note(f"{RESULTS} is not JSON" if raw.strip() else f"{RESULTS} is empty")
            return
        if not isinstance(value, dict):
            self.note(f"{RESULTS} is not a JSON object")
            return
        for name, scalar in self._flatten(value, RESULTS):
            if name in self.results or self._has_room():
                self.results[name] = scalar

    def read_lines(self, file: BinaryIO) -> None:
        """Read metrics.jsonl, line by line; of a large file only what is new since the last time."""
        large = os.fstat(file.fileno()).st_size >= _LARGE
        if large and (kept := metrics_memo.recall(file, self.points)):
            self._lines = _Lines.of_record(kept, self.points)
            for note in self._lines.notes:
                self.note(note)
        lines = self._lines
        rest = self._whole_lines(file)
        if large:
            lines.notes = [note for note in self.notes if note.startswith(LINES)]
            metrics_memo.keep(file, self.points, lines.position, lines.to_record())
        if rest and not rest.isspace() and not self._take(rest, finished=False):
            self.note(f"{LINES}: the last line is incomplete")
        if lines.left_out:
            self.note(f"{LINES} is large: {amount(lines.left_out)} in the middle of it were not read")
        if lines.longer:
            self.note(f"{LINES}: line {lines.longer} is longer than {_MAX_LINE // 1_000_000} MB")
        if lines.wrong:
            more = f", the first of {lines.wrong} such lines" if lines.wrong > 1 else ""
            self.note(f"{LINES}: line {lines.first_wrong} is not a JSON object{more}")
        for name, value in lines.results.items():
            self.results.setdefault(name, value)

    def _whole_lines(self, file: BinaryIO) -> bytes:
        """Read the lines that have an end, and return what comes after them."""
        lines, size = self._lines, os.fstat(file.fileno()).st_size
        file.seek(lines.position)
        middle = lines.position + _PART if size - lines.position > 2 * _PART else None
        while line := file.readline(_MAX_LINE):
            if middle is not None and file.tell() > middle:
                middle = None
                lines.left_out += size - _PART - file.tell()
                file.seek(size - _PART)
                lines.inside = True  # of a line, or at its beginning
                lines.position = file.tell()
                continue
            finished = line.endswith(b"\n")
            if lines.inside:
                lines.inside = not finished
            elif finished:
                self._take(line, finished=True)
            elif len(line) == _MAX_LINE:
                lines.number += 1
                lines.longer = lines.longer or lines.number
                lines.inside = True
            else:
                return line
            lines.position = file.tell()
        return b""

    def _take(self, line: bytes, *, finished: bool) -> bool:
        """Take a line; return whether it is an object or blank."""
        lines = self._lines
        lines.number += 1
        if line.isspace():
            return True
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            if finished:
                lines.wrong += 1
                lines.first_wrong = lines.first_wrong or lines.number
            return False
        step = _step(values.pop("step", None))
        for name, value in self._flatten(values, LINES):
            if self._keep(name, value) and self.points and _is_number(value):
                curve = lines.curves.setdefault(name, Thinning(points=self.points))
                curve.add(float(lines.number) if step is None else step, float(value))
        return True

    def _keep(self, name: str, value: Scalar) -> bool:
        """Keep the last value of a name in metrics.jsonl; return False if there are too many names."""
        if name not in self.results and name not in self._lines.results and not self._has_room():
            return False
        self._lines.results[name] = value
        return True

    def _has_room(self) -> bool:
        if len(self.results.keys() | self._lines.results.keys()) < _MAX_NAMES:
            return True
        self.note(f"more than {_MAX_NAMES} names: the others are ignored")
        return False

    def _flatten(
        self, values: Mapping[str, object], file: str, above: str = "", depth: int = 1
    ) -> Iterator[tuple[str, Scalar]]:
        """Yield the values in an object by name; those of nested objects by names joined with dots."""
        for key, value in values.items():
            name = _text(f"{above}{key}")
            if isinstance(value, dict):
                if depth < _MAX_DEPTH:
                    yield from self._flatten(value, file, f"{name}.", depth + 1)
                else:
                    self.note(f"{file}: {name} is nested too deeply")
            elif isinstance(value, str):
                yield name, _text(value)
            elif isinstance(value, bool | float):
                yield name, value
            elif isinstance(value, int):
                yield name, _bounded(value)
            elif value is not None:
                self.note(f"{file}: {name} is a list, which is ignored")


def _text(text: str) -> str:
    """Shorten a text, and make it valid UTF-8: JSON can name halves of a character."""
    if len(text) <= _MAX_TEXT and text.isascii():
        return text
    return text[:_MAX_TEXT].encode("utf-8", "backslashreplace").decode()


def _bounded(value: int) -> int | float:
    """Return an integer that a float can hold; an infinity if it is too large."""
    try:
        float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    return value


def _is_number(value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _step(value: object) -> float | None:
    """Return a value as a step; None if it cannot be one."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    bounded = _bounded(value) if isinstance(value, int) else value
    return float(bounded) if math.isfinite(bounded) else None


@define(kw_only=True)
class Thinning:
    """Collects the points of a curve in bounded memory.

    The first points are kept one by one. When there are twice as many as wanted, the axis of steps is divided into
    intervals, and the point written last in each is kept; the intervals double whenever there are too many. A later
    attempt goes over the same intervals, so its points replace those of an earlier one, as far as it got.
    """

    points: int
    _width: float = 0.0
    _count: int = 0
    _kept: dict[float, tuple[int, float, float]] = field(factory=dict)

    def to_record(self) -> list[object]:
        """Return what is kept of it."""
        return [self._width, self._count, [[key, *point] for key, point in self._kept.items()]]

    @classmethod
    def of_record(cls, record: Sequence[Any], points: int) -> Thinning:
        """Return what was kept. Raises TypeError or ValueError for a record of another form."""
        width, count, kept = record
        return cls(
            points=points,
            width=float(width),
            count=int(count),
            kept={float(key): (int(number), float(step), float(value)) for key, number, step, value in kept},
        )

    def add(self, step: float, value: float) -> None:
        """Add the next point that the job wrote."""
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
            points = sorted(self._kept.values())  # in the order of writing: the last one stays
            self._kept = {self._interval(point[1]): point for point in points}

    def curve(self) -> Curve:
        """Return the curve as it is now."""
        if len(self._kept) > self.points:
            self._thin()
        points = sorted((step, value) for _, step, value in self._kept.values())
        return Curve(steps=tuple(step for step, _ in points), values=tuple(value for _, value in points))
