"""Turns the logs of ended jobs into plain text, and says once if that cannot be."""

from __future__ import annotations

from collections.abc import Callable

from ocicaliban.containers import disk_use
from ocicaliban.errors import of_system
from ocicaliban.jobs import log_file


class EndedLogs:
    """The logs of a submission's jobs that have ended; `say` shows a line, and several threads may call it."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._told = False

    def convert(self, log: str) -> None:
        """Turn a log into plain text; one that cannot be, as on a full disk, stays as conmon wrote it."""
        try:
            log_file.plain(log)
        except OSError as fault:
            if not self._told:
                self._told = True
                why = disk_use.explained(of_system(fault)).message
                self._say(f"note: {why}, so logs stay as conmon wrote them; `ocicaliban logs` shows them")
