"""What a sweep tells as it goes on, to whatever shows it to the user."""

from __future__ import annotations

from typing import Protocol

from ocicaliban.execution import scheduler
from ocicaliban.model.job import Attempt, Job


class ProgressView(Protocol):
    """What shows the user how the jobs go, as `progress.Progress` does. One thread calls all of it."""

    live: bool
    """Whether to call `tick` several times a second."""

    def started(self, job: Job, attempt: Attempt, *, adopted: bool = False) -> None:
        """Show that an attempt is about to start, or was `adopted` running."""

    def ended(self, job: Job, attempt: Attempt, state: scheduler.State, *, again: bool) -> None:
        """Show an attempt that ended, with its status, times and reason; `again` when the job is queued again."""

    def tick(self, state: scheduler.State) -> None:
        """Show that time has passed."""

    def say(self, text: str) -> None:
        """Show a line."""
