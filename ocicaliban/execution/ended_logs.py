"""Turns the logs of ended jobs into plain text, and says once if that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ocicaliban.containers import disk_use
from ocicaliban.errors import DiskFull, OcicalibanError, of_system
from ocicaliban.jobs import log_file
from ocicaliban.system import filesystems


class EndedLogs:
    """The logs of a submission's jobs that have ended; `say` shows a line, and several threads may call it."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._told: set[str] = set()

    def convert(self, log: str) -> None:
        """Turn a log into plain text; one that cannot be, as on a full disk, stays as conmon wrote it."""
        try:
            log_file.plain(log)
        except OSError as fault:
            self._tell(of_system(fault), "logs stay as conmon wrote them; `ocicaliban logs` shows them")
        if filesystems.is_full(Path(log)):
            # conmon goes on without a word, and so does the job.
            self._tell(DiskFull(f"no space left for {log}", path=log), "logs may lack lines")

    def _tell(self, fault: OcicalibanError, so: str) -> None:
        if so not in self._told:
            self._told.add(so)
            told = disk_use.explained(fault)
            self._say(f"note: {told.message}, so {so}" + (f"\n hint: {told.hint}" if told is not fault else ""))
