"""Ask git which commit a project is at, and whether its files differ from that commit."""

from __future__ import annotations

from pathlib import Path

from ocicaliban.errors import OcicalibanError
from ocicaliban.system import process

_TIMEOUT = 20.0
"""Seconds that git may take to examine the files."""
_OID = "# branch.oid "


def head(folder: Path) -> tuple[str, bool]:
    """Return the commit (hex) of a folder's checkout, and whether its files differ or are unknown to git.

    Return ("", False) without git, repository or commit. The same if git does not trust the repository because another
    user owns it: its settings could make git run any command.
    """
    # Without optional locks it does not disturb a concurrent `git commit`.
    argv = ("git", "--no-optional-locks", "-C", str(folder), "status", "--porcelain=v2", "--branch", "--", ".")
    try:
        # It changes nothing, so it may outlive us.
        lines = process.ask(argv, limit=_TIMEOUT).splitlines()
    except OcicalibanError:
        return "", False
    commit = next((line.removeprefix(_OID) for line in lines if line.startswith(_OID)), "")
    if not commit.isalnum():  # "(initial)"
        return "", False
    return commit, any(not line.startswith("#") for line in lines)
