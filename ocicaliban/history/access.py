"""The job store: what was asked for, what became of it, and who is at it, in SQLite or a team's PostgreSQL."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ocicaliban.reporter import SILENT, Reporter

if TYPE_CHECKING:
    from ocicaliban.history.store import History as History  # with it come peewee and the databases' drivers
    from ocicaliban.history.url import Place


def open(url: str = "", reporter: Reporter = SILENT) -> History:
    """The history at `url`, else at $OCICALIBAN_DB_URL, else where the user's configuration says, else in a file of
    the user's state folder; made, or brought to the present schema, where need be. To be closed: it is a context.

    `reporter` gets a warning where the file lies on a network file system. Raises UsageError for a URL that is none
    of a
    database, OcicalibanError for a database that cannot be used or was written by a newer ocicaliban.
    """
    from ocicaliban.history import store

    return store.opened(_place(url), reporter)


def is_begun() -> bool:
    """Whether there is a history to look into: one on a server, or a file. Raises UsageError as `open` does."""
    found = _place()
    return found.kind != "sqlite" or found.file.exists()


def _place(url: str = "") -> Place:
    from ocicaliban.history import url as place
    from ocicaliban.project import user_config

    return place.of(url or os.environ.get("OCICALIBAN_DB_URL", "") or user_config.load_user_config().db_url)
