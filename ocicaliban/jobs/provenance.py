"""Where jobs come from: who submits them, on which machine, of which commit."""

from __future__ import annotations

import os
from pathlib import Path

from attrs import evolve

from ocicaliban.model.job import Submission
from ocicaliban.project import git

ALONE = "alone"
"""The option of a submission that has one job at the user's own terminal, which nobody else can take up."""


def user() -> str:
    """Who we are in the history: as the system knows us, whatever the environment says."""
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a user id without a name
        return str(os.geteuid())


def host() -> str:
    """Where we are."""
    return os.uname().nodename


def alone(submission: Submission) -> bool:
    """Whether its one job is at a user's own terminal."""
    return bool(submission.options.get(ALONE))


def with_git(made: Submission) -> Submission:
    """A submission with what git says of its project now, which takes a while."""
    commit, dirty = git.head(Path(made.project))
    return evolve(made, commit=commit, dirty=dirty)
