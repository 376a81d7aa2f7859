"""Where jobs come from: who submits them, on which machine, of which commit."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from attrs import evolve

from ocicaliban.model.job import Submission
from ocicaliban.project import git

ALONE = "alone"
"""The option of a submission with one job at the user's terminal, which no other process can take up."""

RUN_OPTIONS = "run_options"
"""The option of a submission with the options for podman that the settings had then, without the command line's."""

REPRODUCES = "reproduces"
"""The option of a submission whose jobs were published before: the reference of their experiment."""


def user() -> str:
    """Return the user's name in the history: that of the system, whatever the environment says."""
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a user id without a name
        return str(os.geteuid())


def host() -> str:
    """Return the name of this machine."""
    return os.uname().nodename


def alone(submission: Submission) -> bool:
    """Return whether its only job is at a user's terminal."""
    return bool(submission.options.get(ALONE))


def asking_git(project: Path) -> Callable[[Submission], Submission]:
    """Begin to ask git for the commit of a project, and return a function that adds the answer to a submission.

    Call it when the files have been read: what is edited later is in no job.
    """
    found: list[tuple[str, bool]] = []
    thread = threading.Thread(target=lambda: found.append(git.head(project)), daemon=True)
    thread.start()

    def with_answer(made: Submission) -> Submission:
        thread.join()
        commit, dirty = found[0] if found else ("", False)
        return evolve(made, commit=commit, dirty=dirty)

    return with_answer


def with_git(made: Submission) -> Submission:
    """Return a submission with the commit of its project, which takes a while to find out."""
    commit, dirty = git.head(Path(made.project))
    return evolve(made, commit=commit, dirty=dirty)
