"""Connects to a database, and says what is wrong with one in people's words."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import peewee

from ocicaliban import mounts
from ocicaliban.errors import OcicalibanError
from ocicaliban.history import schema
from ocicaliban.history.place import Place

PATIENCE = 60
"""Seconds that a write waits for those of other processes."""
_CONNECT = 10
"""Seconds that a server may take to answer."""

_ELSEWHERE = "OCICALIBAN_DB_URL, or db_url in the user's config.toml, names another place"
_EXTRA = "install its driver, for example: pip install 'ocicaliban[postgresql]'"


def connected(place: Place, say: Callable[[str], None]) -> peewee.Database:
    """The database at `place`, connected, with the present schema. Raises OcicalibanError for what cannot be used."""
    with told(place):
        database = _file(place.file, say) if place.kind == "sqlite" else _server(place)
        try:
            if schema.check(database, str(place)) < len(schema.MIGRATIONS):
                schema.migrate(database, str(place))
        except BaseException:
            database.close()
            raise
        return database


def _file(file: Path, say: Callable[[str], None]) -> peewee.Database:
    kind = mounts.kind(file.parent, mounts.read())
    network = mounts.SHARED.fullmatch(kind) is not None
    if network:
        say(
            f"warning: the history {file} is on {kind}, a network file system, where SQLite may lose what is written;"
            " set OCICALIBAN_DB_URL to a file on a local disk or to a PostgreSQL server"
        )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise OcicalibanError(f"{file.parent}, for the history: {fault.strerror}", _ELSEWHERE) from fault
    # An attempt that began must be known after a power failure too, lest it runs twice: every commit is synced.
    pragmas = {"synchronous": "FULL", "foreign_keys": "ON"}
    database = peewee.SqliteDatabase(str(file), pragmas=pragmas, timeout=PATIENCE)
    database.connect()
    # One look before anything is written: what a newer program made is left as it is.
    schema.check(database, str(file))
    # WAL shares memory between processes, which those of two machines do not have.
    _journal(database, "delete" if network else "wal")
    return database


def _journal(database: peewee.SqliteDatabase, wanted: str) -> None:
    """Have the file's journal as `wanted`: a change of it does not wait for other processes by itself."""
    until = time.monotonic() + PATIENCE
    while str(database.pragma("journal_mode")).lower() != wanted:
        try:
            database.pragma("journal_mode", wanted)
            return  # what a file system cannot do stays as it was
        except peewee.OperationalError as fault:
            if "locked" not in str(fault) or time.monotonic() > until:
                raise
            time.sleep(0.05)


def _server(place: Place) -> peewee.Database:
    try:
        import psycopg
    except ImportError as fault:  # the driver, or the C library that it needs
        raise OcicalibanError(f"the history {place} needs the package psycopg", _EXTRA) from fault
    try:
        psycopg.conninfo.conninfo_to_dict(place.url)
    except psycopg.ProgrammingError:
        # Its words are not shown: they may hold the password.
        raise OcicalibanError(
            f"the history's URL {place} is not one of PostgreSQL", "postgresql://USER:PASSWORD@HOST/DATABASE"
        ) from None
    given = parse_qs(urlsplit(place.url).query)
    settings: dict[str, Any] = {"prepare_threshold": None}  # poolers between us and the server know no prepared ones
    if "connect_timeout" not in given and "PGCONNECT_TIMEOUT" not in os.environ:
        settings["connect_timeout"] = _CONNECT
    if "application_name" not in given:
        settings["application_name"] = "ocicaliban"
    database = peewee.PostgresqlDatabase(place.url, prefer_psycopg3=True, **settings)
    database.connect()
    return database


@contextlib.contextmanager
def told(place: Place) -> Iterator[None]:
    """Say what a database refuses as an OcicalibanError, without a password in it."""
    try:
        yield
    except peewee.PeeweeException as fault:
        raise _of_database(place, fault) from None  # the driver's own words may hold the password


_SQLITE = {
    sqlite3.SQLITE_NOTADB: ("is not a database of SQLite, or is damaged", "mend"),
    sqlite3.SQLITE_CORRUPT: ("is damaged", "mend"),
    sqlite3.SQLITE_BUSY: (
        f"is locked by another process for more than {PATIENCE} seconds",
        "see who has it open: fuser -v FILE",
    ),
    sqlite3.SQLITE_READONLY: ("cannot be written", f"make it writable for you; {_ELSEWHERE}"),
    sqlite3.SQLITE_PERM: ("cannot be opened", f"make it accessible to you; {_ELSEWHERE}"),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", f"make the file and its folder accessible to you; {_ELSEWHERE}"),
    sqlite3.SQLITE_FULL: ("cannot grow: the disk is full", f"make room; {_ELSEWHERE}"),
    sqlite3.SQLITE_IOERR: ("cannot be read or written: the disk fails, or is full", f"see `df -h`; {_ELSEWHERE}"),
}
_MEND = (
    "put a backup in its place, or save what can be saved: sqlite3 {file} .recover | sqlite3 new.db;"
    " moved away it is begun anew"
)

_SERVER = (
    ("password authentication failed", "see the user and the password in OCICALIBAN_DB_URL, or in ~/.pgpass"),
    ("no password supplied", "put the password into OCICALIBAN_DB_URL, or into ~/.pgpass"),
    ("pg_hba.conf", "the server's administrator must allow this user from this machine (pg_hba.conf)"),
    ("does not exist", "have it made, for example: createdb NAME, createuser NAME"),
    ("too many", "wait, or have the server's max_connections raised"),
    ("could not translate host name", "see the host in OCICALIBAN_DB_URL"),
    ("", "is the server running, and within reach? try: psql URL"),
)


def _of_database(place: Place, fault: peewee.PeeweeException) -> OcicalibanError:
    cause = getattr(fault, "orig", fault)
    words = place.without_secrets(str(cause).strip() or type(cause).__name__)
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the rest of it tells details
        message, hint = _SQLITE.get(code, (f"failed: {words}", _ELSEWHERE))
        hint = _MEND if hint == "mend" else hint
        return OcicalibanError(f"the history {place} {message}", hint.replace("{file}", str(place.file)))
    state = str(getattr(cause, "sqlstate", None) or "")
    first = words.splitlines()[0]
    if state == "42501":
        return OcicalibanError(
            f"the history {place}: {first}",
            "the database's owner must grant it: GRANT CREATE, USAGE ON SCHEMA public TO NAME, or give an own database",
        )
    if state and not state.startswith(("08", "57P", "53")):
        return OcicalibanError(f"the history {place} failed: {first} ({state})", "is the database ocicaliban's own?")
    hint = next(hint for sign, hint in _SERVER if sign in words)
    return OcicalibanError(f"the history {place} cannot be reached: {words}", hint)
