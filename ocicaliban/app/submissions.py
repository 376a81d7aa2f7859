"""What `resume` and `resubmit` do with submissions, wherever their jobs run."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol, cast

from attrs import evolve, frozen

from ocicaliban.errors import UsageError, nearest
from ocicaliban.jobs import lifecycle, provenance
from ocicaliban.model.job import ENDED, Job, Status, Submission
from ocicaliban.reporter import TERMINAL
from ocicaliban.targets import registry
from ocicaliban.targets.backend import BatchBackend

if TYPE_CHECKING:
    from ocicaliban.app.requests import LaunchRequest, NotebookRequest, RunRequest, SlurmRequest
    from ocicaliban.history.access import History
    from ocicaliban.jobs.origin import Origin


class BatchJobs(Protocol):
    """The module that makes submissions for a backend which schedules jobs itself."""

    def resume(self, history: History, submission: Submission, batch: BatchBackend) -> str:
        """Submit the jobs of a submission that are left, and return its group."""

    def resubmit(self, history: History, jobs: list[Job], batch: BatchBackend, *, rebuild: bool) -> str:
        """Submit jobs of one submission again, with `rebuild` in a new image, and return their group."""


def batch_jobs(batch: BatchBackend) -> BatchJobs:
    """Return the module that makes submissions for this backend."""
    return cast(BatchJobs, importlib.import_module(batch.use_case))


class JobsOfRun(BatchJobs, Protocol):
    """Such a module, to which `run` submits too."""

    def run(self, request: RunRequest, wanted: SlurmRequest) -> str:
        """Build the image and submit the jobs; return their group."""

    def dry_run_script(self, request: RunRequest, wanted: SlurmRequest) -> Iterator[str]:
        """Yield the lines of what would be submitted."""


class Interactive(Protocol):
    """The module that runs shells and notebooks on the nodes of a backend."""

    def run_shell(
        self, request: LaunchRequest, wanted: SlurmRequest, args: tuple[str, ...], *, bare: bool = False
    ) -> int:
        """Run a shell, or a command, and return its exit code."""

    def run_notebook(
        self, request: LaunchRequest, wanted: SlurmRequest, asked: NotebookRequest, show: Callable[[str], None]
    ) -> int:
        """Run a notebook's server until it ends, and show its URL."""


def interactive(target: str, command: str) -> Interactive:
    """Return the module that runs shells and notebooks on a target. Raises UsageError if it has none."""
    name = registry.backend(target).capabilities.interactive
    if not name:
        raise UsageError(f"{command} has no --target {target}", "--target slurm; without it, it runs on this machine")
    return cast(Interactive, importlib.import_module(name))


def jobs_of_run(target: str) -> JobsOfRun:
    """Return the module that submits the jobs of `run` to a target. Raises UsageError if there is none."""
    batch = registry.batch_backend(target)
    module = batch_jobs(batch) if batch else None
    if not hasattr(module, "run"):
        raise UsageError(f"run has no --target {target}", "--target slurm; `ocicaliban cloud` submits to Vertex AI")
    return cast(JobsOfRun, module)


def of_group(history: History, group: str) -> tuple[Submission, ...]:
    """Return our submissions of a group. Raises UsageError if there are none."""
    found = history.submissions(group=group, user=provenance.user())
    if not found:
        raise no_group(history, group, provenance.user())
    return found


def no_group(history: History, group: str, user: str) -> UsageError:
    """Return the error for a group that does not exist, with the nearest name of the user's groups ("": of all)."""
    own = [each.name for each in history.groups(user=user)]
    if user and any(each.name == group for each in history.groups()):
        return UsageError(
            f"the group '{group}' belongs to another user", f"`ocicaliban status {group} --all-users` shows its jobs"
        )
    hint = nearest(group, own) if own else "there are no groups yet; a sweep makes one"
    return UsageError(f"there is no group '{group}'", hint)


def unfinished(counts: Mapping[Status, int]) -> int:
    """Return how many jobs have not ended."""
    return sum(number for status, number in counts.items() if status not in ENDED)


def unwell(history: History, *, group: str = "", submission: int = 0) -> int:
    """Return how many jobs have failed, were stopped or are lost: those that `resubmit` runs again.

    So those that a search has stopped do not count.
    """
    counts = history.counts(group, submission=submission)
    stopped = history.jobs(group=group, submission=submission, statuses=["stopped"]) if counts["stopped"] else ()
    ended = sum(number for status, number in counts.items() if status in ENDED and status != "succeeded")
    return ended - sum(lifecycle.is_hopeless(job.last) for job in stopped)


def numbered(count: int) -> str:
    """Return "1 job", "2 jobs", ..."""
    return f"{count} job{'' if count == 1 else 's'}"


def ours(old: Submission) -> Submission:
    """Return a new submission like an old one, from us and this machine."""
    return evolve(old, id=0, created=0.0, user=provenance.user(), host=provenance.host())


def resubmitted(
    history: History, submission: Submission, jobs: list[Job], made_from: Origin | None = None
) -> Submission:
    """Record that jobs run again in a new submission, `made_from` something new if it has another image.

    Raises UsageError if another process has taken them.
    """
    made = history.resubmit(submission, [job.id for job in jobs], made_from)
    count = history.counts(submission=made.id)["queued"]
    if not count:
        raise UsageError(
            f"another ocicaliban has taken the remaining jobs of {made.group}",
            f"ocicaliban status --group {made.group}",
        )
    TERMINAL.say(f"{made.group}: {numbered(count)} again")
    return made


def enter_project(submission: Submission) -> None:
    """Change to the folder of a submission's project. Raises UsageError if that fails."""
    try:
        os.chdir(submission.project)
    except OSError as exc:
        raise UsageError(
            f"cannot enter the project's folder {submission.project}: {exc.strerror}", "was it moved or removed?"
        ) from exc


def rebuild_hint(group: str, *, waiting: bool = False) -> str:
    """Return how jobs get a new image when theirs is gone; jobs that are `waiting` must be stopped first."""
    first = f"ocicaliban stop --group {group}, and then " if waiting else ""
    return f"{first}ocicaliban resubmit --group {group} --rebuild builds one of the project as it is now"


@frozen(kw_only=True)
class Outcome:
    """What became of submissions: the exit code, and the groups whose jobs went to a service that runs them."""

    exit_code: int = 0
    groups: tuple[str, ...] = ()

    @classmethod
    def of(cls, all_: Iterable[Outcome]) -> Outcome:
        """Return several outcomes as one: the first exit code that is not 0, and all groups."""
        each = tuple(all_)
        return cls(
            exit_code=next((one.exit_code for one in each if one.exit_code), 0),
            groups=tuple(group for one in each for group in one.groups),
        )
