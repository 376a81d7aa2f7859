"""What git knows of a project: the commit that it is at, and whether its files are those of the commit."""

from __future__ import annotations

from pathlib import Path

from ocicaliban.errors import OcicalibanError
from ocicaliban.system import process

_PATIENCE = 20.0
"""Seconds that git may take to look through the files."""
_OID = "# branch.oid "


def head(folder: Path) -> tuple[str, bool]:
    """The commit (hex) that a folder is at, and whether files in it differ from that, or are not known to git.

    ("", False) without git, repository or commit, and where git does not trust the repository because it is another
    user's: its settings could have us run what they like.
    """
    # It takes no lock, which a `git commit` at the same time would stumble over.
    argv = ("git", "--no-optional-locks", "-C", str(folder), "status", "--porcelain=v2", "--branch", "--", ".")
    try:
        lines = process.run(argv, limit=_PATIENCE).splitlines()
    except OcicalibanError:
        return "", False
    commit = next((line.removeprefix(_OID) for line in lines if line.startswith(_OID)), "")
    if not commit.isalnum():  # "(initial)"
        return "", False
    return commit, any(not line.startswith("#") for line in lines)
