"""The URL of a history's database: its parts, and how to show it without the password."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from attrs import field, frozen

from ocicaliban.errors import UsageError
from ocicaliban.system import files

_HINT = "sqlite:////a/local/disk/history.db, or postgresql://USER:PASSWORD@HOST/DATABASE (with % forms, as %40 for @)"

# Up to the last @: a password that should have % forms, and has none, may contain an @ or a slash, as may a name.
_PASSWORD = re.compile(r"(?<=://)([^:@/?\s]*)(?::.*|@\S*)@")
_NAMED = re.compile(r"(password\s*=\s*)('(?:[^'\\]|\\.)*'|\S*)", re.I)


@frozen(kw_only=True)
class DatabaseLocation:
    """Where a database is: the `file` of SQLite, or the `url` of PostgreSQL."""

    kind: Literal["sqlite", "postgresql"]
    url: str = field(default="", repr=False)  # it may contain a password
    file: Path = Path()

    def __str__(self) -> str:
        """Return what people see."""
        return str(self.file) if self.kind == "sqlite" else without_password(self.url)

    def without_secrets(self, text: str) -> str:
        """Return a text that a driver wrote, without the password."""
        parts = urlsplit(self.url)
        given = [parts.password or "", *(value for name, value in parse_qsl(parts.query) if "password" in name)]
        secrets = {form for word in given for form in (word, unquote(word), quote(word, safe="")) if word}
        for secret in sorted(secrets, key=len, reverse=True):  # one may be a part of another
            text = text.replace(secret, "****")
        return without_password(text)


def without_password(url: str) -> str:
    """Return a URL, or a text with one, as people may see it."""
    return _NAMED.sub(r"\1****", _PASSWORD.sub(r"\1:****@", url))


def parse(url: str) -> DatabaseLocation:
    """Return the database of a URL; without a URL, the file in the user's state folder.

    Raises UsageError for a URL that is not of SQLite or PostgreSQL.
    """
    if not url:
        return DatabaseLocation(kind="sqlite", file=files.state() / "history.db")
    scheme, separator, rest = url.partition("://")
    if separator and scheme in ("postgresql", "postgres"):
        return _server(f"postgresql://{rest}")
    if separator and scheme != "sqlite":
        shown = scheme if re.fullmatch(r"[a-z0-9+]+", scheme) else "?"
        raise UsageError(f"the history cannot be in {shown}://", f"use SQLite or PostgreSQL: {_HINT}")
    # SQLAlchemy has four slashes before an absolute path; a URL would have three.
    name = re.sub("^/+(?=~/)", "", unquote(rest)) if separator else url
    file = os.path.expanduser(name)
    if not file.startswith("/") or file.endswith("/") or "?" in rest:
        # It may be meant as a URL, or as another form with a password: then no part of it is shown.
        what = "URL" if re.search(r"[@=]|:[^/]*:|password", url) else f"'{without_password(url)}'"
        raise UsageError(f"the history's {what} is not the absolute path of a file", f"for example: {_HINT}")
    return DatabaseLocation(kind="sqlite", file=Path("/" + os.path.normpath(file).lstrip("/")))


def _server(url: str) -> DatabaseLocation:
    # PostgreSQL's own messages about a wrong URL contain parts of it, perhaps of the password: so it is checked first.
    try:
        parts = urlsplit(url)
        hosts = parts.netloc.rpartition("@")[2]
        fine = (
            # libpq ends the password at the first @, and takes the rest for the host, in its messages too.
            parts.netloc.count("@") < 2
            and not {*"@#"} & {*parts.path, *parts.query, *parts.fragment}
            and "#" not in url
            and all(re.fullmatch(r"(\[[0-9A-Fa-f:.%]*\]|[^:\[\]]*)(:[0-9]*)?", host) for host in hosts.split(","))
        )
    except ValueError:
        fine = False
    if not fine or re.search(r"\s|\0|%(?![0-9A-Fa-f]{2})", url):
        raise UsageError("the history's URL of PostgreSQL is not valid", f"for example: {_HINT}")
    return DatabaseLocation(kind="postgresql", url=url)
