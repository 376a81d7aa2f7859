"""Where a history lies: a database's URL, told apart and never shown with its password."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from attrs import field, frozen

from ocicaliban.errors import UsageError
from ocicaliban.system import files

_HINT = "sqlite:////a/local/disk/history.db, or postgresql://USER:PASSWORD@HOST/DATABASE (with % forms, as %40 for @)"

# Up to the last @: a password that should have been written with % forms may hold one, or a slash.
_PASSWORD = re.compile(r"(?<=://)([^:@/?]*):.*@")
_NAMED = re.compile(r"(password\s*=\s*)('[^']*'|[^&\s]*)", re.I)


@frozen(kw_only=True)
class Place:
    """A database: the `file` of SQLite, or the `url` of PostgreSQL."""

    kind: Literal["sqlite", "postgresql"]
    url: str = field(default="", repr=False)  # it may hold a password
    file: Path = Path()

    def __str__(self) -> str:
        """How it is shown to people."""
        return str(self.file) if self.kind == "sqlite" else masked(self.url)

    def without_secrets(self, text: str) -> str:
        """A text that a driver wrote, without the password."""
        found = urlsplit(self.url).password
        for secret in {found, unquote(found)} if found else ():
            text = text.replace(secret, "****")
        return masked(text)


def masked(url: str) -> str:
    """A URL, or a text with one, as it may be shown: without its password."""
    return _NAMED.sub(r"\1****", _PASSWORD.sub(r"\1:****@", url))


def of(url: str) -> Place:
    """The database that a URL names; the file in the user's state folder where there is none.

    Raises UsageError for what is no URL of SQLite or PostgreSQL.
    """
    if not url:
        return Place(kind="sqlite", file=files.state() / "history.db")
    scheme, separator, rest = url.partition("://")
    if separator and scheme in ("postgresql", "postgres"):
        return _server(f"postgresql://{rest}")
    if separator and scheme != "sqlite":
        known = scheme if re.fullmatch(r"[a-z0-9+]+", scheme) else "?"
        raise UsageError(f"the history cannot lie in {known}://", f"SQLite and PostgreSQL are known: {_HINT}")
    # SQLAlchemy has four slashes before an absolute path; three are what a URL would have.
    name = re.sub("^/+(?=~/)", "", unquote(rest)) if separator else url
    file = os.path.expanduser(name)
    if not file.startswith("/") or file.endswith("/") or "?" in rest:
        raise UsageError(f"the history's '{masked(url)}' is not the absolute path of a file", f"for example: {_HINT}")
    return Place(kind="sqlite", file=Path("/" + os.path.normpath(file).lstrip("/")))


def _server(url: str) -> Place:
    """PostgreSQL's own reading of URLs puts parts of a misread one into its messages, so this one is told first."""
    try:
        parts = urlsplit(url)
        hosts = parts.netloc.rpartition("@")[2]
        fine = "@" not in parts.path and all(
            re.fullmatch(r"(\[[0-9A-Fa-f:.%]*\]|[^:\[\]]*)(:[0-9]*)?", host) for host in hosts.split(",")
        )
    except ValueError:
        fine = False
    if not fine or re.search(r"\s|\0|%(?![0-9A-Fa-f]{2})", url):
        raise UsageError("the history's URL of PostgreSQL cannot be read", f"for example: {_HINT}")
    return Place(kind="postgresql", url=url)
