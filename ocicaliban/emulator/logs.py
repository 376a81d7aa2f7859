"""The emulator's Cloud Logging: each line that a replica writes to its log becomes an entry, in the order of time."""

from __future__ import annotations

import base64
import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from ocicaliban.emulator.filters import Fields, Test

LARGEST_PAGE = 1000
_EVERY = 0.1  # seconds


@frozen(kw_only=True)
class Entry:
    """A line: which job and which of its tasks wrote it, and when it was seen (nanoseconds since 1970)."""

    job: str
    task: str
    time: int
    text: str

    @property
    def stamp(self) -> str:
        """The time by RFC 3339, in UTC, always with nine digits after the point."""
        whole, part = divmod(self.time, 1_000_000_000)
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{part:09}Z"

    def fields(self) -> Fields:
        """What a filter can ask of it."""
        return {
            "resource.type": "ml_job",
            "resource.labels.job_id": self.job,
            "resource.labels.task_name": self.task,
            "timestamp": self.stamp,
        }


class Book:
    """All entries, for threads; those of a log that is followed come within a tenth of a second."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._lock = threading.Lock()

    def write(self, job: str, task: str, text: str) -> None:
        """Add an entry; no two have the same time."""
        with self._lock:
            last = self._entries[-1].time if self._entries else 0
            self._entries.append(Entry(job=job, task=task, time=max(time.time_ns(), last + 1000), text=text))

    @contextlib.contextmanager
    def follows(self, job: str, task: str, log: Path) -> Iterator[None]:
        """Take in what is written meanwhile to the end of a log, which need not be there yet."""
        over = threading.Event()
        start = log.stat().st_size if log.exists() else 0

        def follow() -> None:
            rest, at, last = b"", start, False
            while not last:
                last = over.wait(_EVERY)
                with contextlib.suppress(FileNotFoundError), open(log, "rb") as file:
                    file.seek(at)
                    new = file.read()
                    at += len(new)
                    *lines, rest = (rest + new).split(b"\n")
                    for line in [*lines, *([rest] if last and rest else [])]:
                        self.write(job, task, line.decode("utf-8", "replace"))

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def page(self, test: Test, size: int, token: str, late: float = 0.0) -> tuple[list[Entry], str]:
        """A page of the entries that pass a test and are `late` seconds old, and the token of the next one.

        Raises ValueError for a token that is none.
        """
        size = min(size, LARGEST_PAGE) if size > 0 else LARGEST_PAGE
        after = int(base64.urlsafe_b64decode(token)) if token else 0
        until = time.time_ns() - int(late * 1e9)
        with self._lock:
            known = [*self._entries]
        fitting = (one for one in known if after < one.time and (not late or one.time <= until) and test(one.fields()))
        found = [entry for entry, _ in zip(fitting, range(size + 1), strict=False)]
        more = len(found) > size
        return found[:size], base64.urlsafe_b64encode(str(found[size - 1].time).encode()).decode() if more else ""
