"""Connects to a database, and says what is wrong with one in people's words."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import peewee

from ocicaliban.errors import OcicalibanError
from ocicaliban.history import schema
from ocicaliban.history.url import Place
from ocicaliban.reporter import Reporter
from ocicaliban.system import filesystems

PATIENCE = 60
"""Seconds that a write waits for those of other processes."""
_SETTINGS = {
    "application_name": "ocicaliban",
    "connect_timeout": 10,  # seconds
    # A sweep may be silent for hours: firewalls shall see a sign of life, and a dead connection shall be noticed.
    "keepalives_idle": 60,
    "tcp_user_timeout": 30_000,  # milliseconds
}
"""What a connection to PostgreSQL is told where the URL says nothing of it."""

_ELSEWHERE = "OCICALIBAN_DB_URL, or db_url in the user's config.toml, names another place"
_EXTRA = "install its driver, for example: pip install 'ocicaliban[postgresql]'"


def connected(place: Place, reporter: Reporter) -> peewee.Database:
    """The database at `place`, connected, with the present schema. Raises OcicalibanError for what cannot be used."""
    network = place.kind == "sqlite" and _on_network(place.file, reporter)
    database = _file(place.file) if place.kind == "sqlite" else _server(place)
    with told(place):
        try:
            database.connect()
            # One look before anything is written: what a newer program made is left as it is.
            found = schema.check(database, str(place))
            if isinstance(database, peewee.SqliteDatabase):
                _journal(database, network)
            if found < len(schema.MIGRATIONS):
                with transaction(database):
                    schema.migrate(database, str(place))
        except BaseException:
            database.close()
            raise
    return database


def _on_network(file: Path, reporter: Reporter) -> bool:
    kind = filesystems.kind(file.parent, filesystems.mounted())
    if not filesystems.SHARED.fullmatch(kind):
        return False
    reporter.warning(
        f"the history {file} is on {kind}, a network file system, where SQLite may lose what is written;"
        " set OCICALIBAN_DB_URL to a file on a local disk or to a PostgreSQL server"
    )
    return True


def _file(file: Path) -> peewee.Database:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as fault:
        raise OcicalibanError(f"{file.parent}, for the history, is not a folder", _ELSEWHERE) from fault
    except OSError as fault:
        raise OcicalibanError(f"{file.parent}, for the history: {fault.strerror}", _ELSEWHERE) from fault
    # An attempt that began must be known after a power failure too, lest it runs twice: every commit is synced.
    return peewee.SqliteDatabase(str(file), pragmas={"synchronous": "FULL", "foreign_keys": "ON"}, timeout=PATIENCE)


def _journal(database: peewee.SqliteDatabase, network: bool) -> None:
    """Have writers and readers not wait for one another, by a write-ahead log.

    That is shared memory, which processes of two machines do not have: on a network file system it is left, unless
    somebody is at it.
    """
    if network:
        with contextlib.suppress(peewee.OperationalError):
            database.pragma("journal_mode", "delete")
        return
    until = time.monotonic() + PATIENCE
    while str(database.pragma("journal_mode")).lower() != "wal":
        try:
            database.pragma("journal_mode", "wal")
            return  # a file system that cannot do it keeps what it has
        except peewee.OperationalError as fault:  # this change does not wait for other processes by itself
            if "locked" not in str(fault) or time.monotonic() > until:
                raise
            time.sleep(0.05)


def alive(database: peewee.Database, place: Place, reporter: Reporter) -> None:
    """Have a connection, which each thread needs for itself.

    A server that was started anew, or a network that forgets what is idle, cuts it silently. A server that does not
    answer is waited for, which `reporter` tells.
    """
    if isinstance(database, peewee.SqliteDatabase):
        database.connect(reuse_if_open=True)
        return
    if not database.is_closed():
        try:
            database.execute_sql("SELECT 1")
            return
        except (peewee.OperationalError, peewee.InterfaceError):
            with contextlib.suppress(peewee.PeeweeException):
                database.close()
    until, told_of = time.monotonic() + PATIENCE, False
    while True:
        try:
            database.connect()
            return
        except peewee.OperationalError:
            if time.monotonic() > until:
                raise
            if not told_of:
                reporter.say(f"the history {place} does not answer; waiting for it, {PATIENCE} seconds at most")
            told_of = True
            time.sleep(1)


@contextlib.contextmanager
def transaction(database: peewee.Database) -> Iterator[None]:
    """All or nothing of what is written meanwhile. On SQLite it has the only pen from its beginning."""
    how = "IMMEDIATE" if isinstance(database, peewee.SqliteDatabase) else "ISOLATION LEVEL READ COMMITTED"
    with database.manual_commit():
        database.execute_sql(f"BEGIN {how}")
        try:
            yield
            database.commit()
        except BaseException:
            # What went wrong is told, and not that it was undone already (a full disk) or cannot be (a lost server).
            with contextlib.suppress(peewee.PeeweeException):
                database.rollback()
            raise


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
    wanted: dict[str, Any] = {name: value for name, value in _SETTINGS.items() if name not in given}
    if "PGCONNECT_TIMEOUT" in os.environ:
        wanted.pop("connect_timeout", None)
    wanted["prepare_threshold"] = None  # poolers between us and the server know nothing of prepared statements
    return peewee.PostgresqlDatabase(place.url, prefer_psycopg3=True, **wanted)


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
    words = place.without_secrets(" ".join(str(cause).split()) or type(cause).__name__)
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the rest of it tells details
        message, hint = _SQLITE.get(code, (f"failed: {words}", _ELSEWHERE))
        hint = _MEND if hint == "mend" else hint
        return OcicalibanError(f"the history {place} {message}", hint.replace("{file}", str(place.file)))
    state = str(getattr(cause, "sqlstate", None) or "")
    first = place.without_secrets(str(cause).strip().partition("\n")[0])  # after it stands the statement
    if state == "42501":
        return OcicalibanError(
            f"the history {place}: {first}",
            "the database's owner must grant it: GRANT CREATE, USAGE ON SCHEMA public TO NAME, or give an own database",
        )
    if state and not state.startswith(("08", "57P", "53")):
        return OcicalibanError(f"the history {place} failed: {first} ({state})", "is the database ocicaliban's own?")
    hint = next(hint for sign, hint in _SERVER if sign in words)
    return OcicalibanError(f"the history {place} cannot be reached: {words}", hint)
