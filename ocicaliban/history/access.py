"""Opens the history. Importing this module imports no database; opening one does.

The history has the submissions, jobs and attempts, in a file of SQLite or in a team's PostgreSQL.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ocicaliban.reporter import SILENT, Reporter

if TYPE_CHECKING:
    from ocicaliban.history.store import History as History  # it imports peewee
    from ocicaliban.history.url import DatabaseLocation


def open(url: str = "", reporter: Reporter = SILENT) -> History:
    """Open the history, and create it or bring it to the present schema where needed. Close it: it is a context.

    It is at `url`, else at $OCICALIBAN_DB_URL, else at `db_url` of the user's configuration, else in a file of the
    user's state folder. `reporter` gets a warning when the file is on a network file system. Raises UsageError for a
    URL of something else than a database, OcicalibanError for a database that cannot be used or that a newer ocicaliban
    wrote.
    """
    from ocicaliban.history import store

    return store.opened(_location(url), reporter)


def exists() -> bool:
    """Return whether there is a history to look into: one on a server, or a file. Raises UsageError as `open` does."""
    location = _location()
    return location.kind != "sqlite" or location.file.exists()


def _location(url: str = "") -> DatabaseLocation:
    from ocicaliban.history.url import parse
    from ocicaliban.project import user_config

    return parse(url or os.environ.get("OCICALIBAN_DB_URL", "") or user_config.load_user_config().db_url)
