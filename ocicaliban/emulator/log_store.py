"""The emulator's Cloud Logging: each line that a replica writes to its log becomes an entry, in the order of time."""

from __future__ import annotations

import base64
import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from ocicaliban.emulator.filters import Fields, Predicate

MAX_PAGE = 1000
_POLL_INTERVAL = 0.1  # seconds


@frozen(kw_only=True)
class LogLine:
    """A line: the job and the task that wrote it, and when it was read (nanoseconds since 1970)."""

    job: str
    task: str
    time: int
    text: str

    @property
    def timestamp(self) -> str:
        """The time as in RFC 3339, in UTC, always with nine digits after the point."""
        whole, part = divmod(self.time, 1_000_000_000)
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{part:09}Z"

    def fields(self) -> Fields:
        """Return the values that a filter can ask for."""
        return {
            "resource.type": "ml_job",
            "resource.labels.job_id": self.job,
            "resource.labels.task_name": self.task,
            "timestamp": self.timestamp,
        }


class LogStore:
    """All lines, for several threads. A line of a log that is followed is added within a tenth of a second."""

    def __init__(self) -> None:
        self._lines: list[LogLine] = []
        self._lock = threading.Lock()

    def write(self, job: str, task: str, text: str) -> None:
        """Add a line; no two lines have the same time."""
        with self._lock:
            last = self._lines[-1].time if self._lines else 0
            self._lines.append(LogLine(job=job, task=task, time=max(time.time_ns(), last + 1000), text=text))

    def lines(self) -> list[LogLine]:
        """Return all lines in the order of time."""
        with self._lock:
            return [*self._lines]

    @contextlib.contextmanager
    def follow(self, job: str, task: str, log: Path) -> Iterator[None]:
        """Add what is appended to a log while the context lasts; the file need not exist yet."""
        over = threading.Event()
        start = log.stat().st_size if log.exists() else 0

        def read_on() -> None:
            rest, position, last = b"", start, False
            while not last:
                last = over.wait(_POLL_INTERVAL)
                with contextlib.suppress(FileNotFoundError), open(log, "rb") as file:
                    file.seek(position)
                    new = file.read()
                    position += len(new)
                    *lines, rest = (rest + new).split(b"\n")
                    for line in [*lines, *([rest] if last and rest else [])]:
                        self.write(job, task, line.decode("utf-8", "replace"))

        thread = threading.Thread(target=read_on, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def page(self, predicate: Predicate, size: int, token: str, delay: float = 0.0) -> tuple[list[LogLine], str]:
        """Return a page of lines that meet a predicate, and the token of the next page, "" after the last.

        A line is listed `delay` seconds after it was written. Raises ValueError if the token is not valid.
        """
        size = min(size, MAX_PAGE) if size > 0 else MAX_PAGE
        after = int(base64.urlsafe_b64decode(token)) if token else 0
        latest = time.time_ns() - int(delay * 1e9)
        matching = (
            line
            for line in self.lines()
            if after < line.time and (not delay or line.time <= latest) and predicate(line.fields())
        )
        found = [line for line, _ in zip(matching, range(size + 1), strict=False)]
        if len(found) <= size:
            return found, ""
        return found[:size], base64.urlsafe_b64encode(str(found[size - 1].time).encode()).decode()
