"""Connects to a database, and turns its faults into errors with hints."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import peewee
from attrs import frozen

from ocicaliban.errors import DiskFull, OcicalibanError
from ocicaliban.history import schema
from ocicaliban.history.url import DatabaseLocation
from ocicaliban.reporter import Reporter
from ocicaliban.system import files, filesystems, installation

PATIENCE = 60
"""Seconds that a write waits for the writes of other processes."""
SYNCHRONOUS = "FULL"
"""Every commit is synced: after a power failure, an attempt that began must be on record, or it would run twice."""
_SETTINGS = {
    "application_name": "ocicaliban",
    "connect_timeout": 10,  # seconds
    # A sweep may be silent for hours: this keeps firewalls from closing the connection, and finds a dead one.
    "keepalives_idle": 60,
    "tcp_user_timeout": 30_000,  # milliseconds
}
"""Settings of a connection to PostgreSQL, unless its URL has them."""


def _driver() -> str:
    return f"install its driver, for example: {installation.with_extra('postgresql')}"


_ELSEWHERE = "set OCICALIBAN_DB_URL, or db_url in the user's config.toml, to use another place"


@frozen(kw_only=True)
class Connection:
    """A database that is open.

    On a full disk SQLite cannot even read its file, unless another process has it open. Then the database is a `copy`
    elsewhere, in a folder that `close` removes, and the fault `full` is raised for what is to be written.
    """

    database: peewee.Database
    copy: tempfile.TemporaryDirectory[str] | None = None
    full: DiskFull | None = None

    def close(self) -> None:
        """Close it."""
        self.database.close()
        if self.copy is not None:
            self.copy.cleanup()


def connect(place: DatabaseLocation, reporter: Reporter) -> Connection:
    """Connect to a database, and bring it to the present schema. Raises OcicalibanError where it cannot be used."""
    try:
        return Connection(database=_connected(place, reporter))
    except DiskFull as fault:
        if copied := _copied(place):
            copy = DatabaseLocation(kind="sqlite", file=Path(copied.name, place.file.name))
            return Connection(database=_connected(copy, reporter), copy=copied, full=fault)
        raise


def _copied(place: DatabaseLocation) -> tempfile.TemporaryDirectory[str] | None:
    """Return a folder on another disk with a copy of the database; None if there is no room for one."""
    if place.kind != "sqlite":
        return None
    for folder in map(Path, (tempfile.gettempdir(), "/dev/shm")):
        if filesystems.is_full(folder) or not os.access(folder, os.W_OK):
            continue
        copied = tempfile.TemporaryDirectory(prefix="ocicaliban-", dir=folder, ignore_cleanup_errors=True)
        try:
            for name in (place.file.name, f"{place.file.name}-wal"):
                with contextlib.suppress(FileNotFoundError):
                    shutil.copyfile(place.file.with_name(name), Path(copied.name, name))
            return copied
        except OSError:
            copied.cleanup()
    return None


def _connected(place: DatabaseLocation, reporter: Reporter) -> peewee.Database:
    network = place.kind == "sqlite" and _on_network(place.file, reporter)
    database = _file(place.file) if place.kind == "sqlite" else _server(place)
    with clear_errors(place):
        try:
            database.connect()
            # Before anything is written: the database of a newer program stays as it is.
            version = schema.check(database, str(place))
            if isinstance(database, peewee.SqliteDatabase):
                _journal(database, network)
            if version < len(schema.MIGRATIONS):
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
        f"the history {file} is on {kind}, a network file system, where SQLite may lose data;"
        " set OCICALIBAN_DB_URL to a file on a local disk or to a PostgreSQL server"
    )
    return True


def _file(file: Path) -> peewee.Database:
    try:
        own = file.parent == files.state()
        file.parent.mkdir(mode=0o700 if own else 0o777, parents=True, exist_ok=True)
        if own:  # SQLite gives its other files the mode of this one
            os.close(os.open(file, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except (FileExistsError, NotADirectoryError) as fault:
        raise OcicalibanError(f"{file.parent}, for the history, is not a folder", _ELSEWHERE) from fault
    except OSError as fault:
        raise OcicalibanError(f"{file.parent}, for the history: {fault.strerror}", _ELSEWHERE) from fault
    return peewee.SqliteDatabase(
        str(file), pragmas={"synchronous": SYNCHRONOUS, "foreign_keys": "ON"}, timeout=PATIENCE
    )


def _journal(database: peewee.SqliteDatabase, network: bool) -> None:
    """Use a write-ahead log, so that readers and writers do not wait for each other.

    It needs shared memory, which processes of two machines do not have: on a network file system it is switched off,
    unless another process has the file open.
    """
    if network:
        with contextlib.suppress(peewee.OperationalError):
            database.pragma("journal_mode", "delete")
        return
    until = time.monotonic() + PATIENCE
    while str(database.pragma("journal_mode")).lower() != "wal":
        try:
            database.pragma("journal_mode", "wal")
            return  # a file system without shared memory keeps the old journal
        except peewee.OperationalError as fault:  # SQLite does not wait for other processes here
            if "locked" not in str(fault) or time.monotonic() > until:
                raise
            time.sleep(0.05)


_LOST = "put it back, for example from a backup, and see `ocicaliban status`; without it, what ran is not on record"
_PART_LOST = "see `ocicaliban status`: the latest records may be missing; `ocicaliban resume GROUP` runs what is left"


class FilesInUse:
    """The files of a SQLite database that is open: the database, its write-ahead log and that log's index.

    SQLite would go on writing into a file that was removed, and nobody could read that. It never removes or replaces
    one of the three itself while a connection is open. The last two appear with the first transaction. For a server,
    nothing is checked.
    """

    def __init__(self, place: DatabaseLocation) -> None:
        self._place = place
        names = ("", "-wal", "-shm") if place.kind == "sqlite" else ()
        self._files = tuple(Path(f"{place.file}{name}") for name in names)
        self._known: dict[Path, tuple[int, int]] = {}
        self.note()

    def note(self) -> None:
        """Remember the files that have appeared."""
        for file in self._files:
            if file not in self._known and (now := files.identity(file)):
                self._known[file] = now

    def check(self) -> None:
        """Raise OcicalibanError if a file is gone, or is not the one that it was."""
        for file, before in self._known.items():
            if (now := files.identity(file)) == before:
                continue
            what = "was removed" if now is None else "was replaced by another file"
            if file == self._place.file:
                raise OcicalibanError(f"the history {file} {what} while it was in use", _LOST)
            raise OcicalibanError(f"{file}, a part of the history, {what} while it was in use", _PART_LOST)


def ensure_connected(database: peewee.Database, place: DatabaseLocation, reporter: Reporter) -> None:
    """Connect again where the connection of this thread is not there, or is dead.

    A server that restarts, or a network that drops idle connections, cuts it silently. Wait for a server that does not
    answer, and tell `reporter`.
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
    until, told = time.monotonic() + PATIENCE, False
    while True:
        try:
            database.connect()
            return
        except peewee.OperationalError:
            if time.monotonic() > until:
                raise
            if not told:
                reporter.say(f"the history {place} does not answer; waiting up to {PATIENCE} seconds")
            told = True
            time.sleep(1)


@contextlib.contextmanager
def transaction(database: peewee.Database) -> Iterator[None]:
    """Write all of what is written meanwhile, or nothing. On SQLite, no other process writes from its beginning."""
    how = "IMMEDIATE" if isinstance(database, peewee.SqliteDatabase) else "ISOLATION LEVEL READ COMMITTED"
    with database.manual_commit():
        database.execute_sql(f"BEGIN {how}")
        try:
            yield
            database.commit()
        except BaseException:
            # The first fault counts, not that there is nothing to undo (a full disk) or no connection (a lost server).
            with contextlib.suppress(peewee.PeeweeException):
                database.rollback()
            raise


def _server(place: DatabaseLocation) -> peewee.Database:
    try:
        import psycopg
    except ImportError as fault:  # the driver, or the C library that it needs
        raise OcicalibanError(
            f"the history {place} needs the Python package psycopg",
            _driver(),
        ) from fault
    try:
        psycopg.conninfo.conninfo_to_dict(place.url)
    except psycopg.ProgrammingError:
        # Its message may contain the password.
        raise OcicalibanError(
            f"PostgreSQL cannot read the history's URL {place}", "postgresql://USER:PASSWORD@HOST/DATABASE"
        ) from None
    given = parse_qs(urlsplit(place.url).query)
    wanted: dict[str, Any] = {name: value for name, value in _SETTINGS.items() if name not in given}
    if "PGCONNECT_TIMEOUT" in os.environ:
        wanted.pop("connect_timeout", None)
    wanted["prepare_threshold"] = None  # connection poolers do not support prepared statements
    return peewee.PostgresqlDatabase(place.url, prefer_psycopg3=True, **wanted)


@contextlib.contextmanager
def clear_errors(place: DatabaseLocation) -> Iterator[None]:
    """Turn a fault of the database into an OcicalibanError, without the password."""
    try:
        yield
    except (peewee.PeeweeException, sqlite3.Error) as fault:  # peewee passes on what comes while it fetches rows
        raise _of_database(place, fault) from None  # the driver's message may contain the password


_SQLITE = {
    sqlite3.SQLITE_NOTADB: ("is not a database of SQLite, or is damaged", "repair"),
    sqlite3.SQLITE_CORRUPT: ("is damaged", "repair"),
    sqlite3.SQLITE_BUSY: (
        f"has been locked by another process for {PATIENCE} seconds",
        "fuser -v {file} shows the process",
    ),
    sqlite3.SQLITE_READONLY: ("is not writable", f"make it writable; {_ELSEWHERE}"),
    sqlite3.SQLITE_PERM: ("cannot be opened", f"make it readable and writable; {_ELSEWHERE}"),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", f"make the file and its folder readable and writable; {_ELSEWHERE}"),
    sqlite3.SQLITE_FULL: ("cannot grow: the disk is full", f"free some space; {_ELSEWHERE}"),
    sqlite3.SQLITE_IOERR: (
        "cannot be read or written: the disk is faulty or full",
        f"df -h shows the free space; {_ELSEWHERE}",
    ),
}
_REPAIR = (
    "restore a backup, or recover what is left: sqlite3 {file} .recover | sqlite3 new.db;"
    " or move the file away to begin a new history"
)

_SERVER = (
    ("password authentication failed", "check the user and the password in OCICALIBAN_DB_URL, or in ~/.pgpass"),
    ("no password supplied", "add the password to OCICALIBAN_DB_URL, or to ~/.pgpass"),
    ("pg_hba.conf", "the server's administrator must allow this user from this machine (pg_hba.conf)"),
    ("does not exist", "create it, for example: createdb NAME, createuser NAME"),
    ("too many", "wait, or increase max_connections of the server"),
    ("could not translate host name", "check the host in OCICALIBAN_DB_URL"),
    ("", "is the server running, and can this machine reach it? try: psql URL"),
)


def _of_database(place: DatabaseLocation, fault: Exception) -> OcicalibanError:
    cause = getattr(fault, "orig", fault)
    words = place.without_secrets(" ".join(str(cause).split()) or type(cause).__name__)
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the other bits are details
        message, hint = _SQLITE.get(code, (f"failed: {words}", _ELSEWHERE))
        hint = _REPAIR if hint == "repair" else hint
        message, hint = f"the history {place} {message}", hint.replace("{file}", str(place.file))
        # SQLite cannot make its files, or write them.
        if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and filesystems.is_full(place.file):
            message, code = f"the history {place} {_SQLITE[sqlite3.SQLITE_FULL][0]}", sqlite3.SQLITE_FULL
        if code == sqlite3.SQLITE_FULL:
            return DiskFull(message, hint, path=str(place.file))
        return OcicalibanError(message, hint)
    state = str(getattr(cause, "sqlstate", None) or "")
    first = place.without_secrets(str(cause).strip().partition("\n")[0])  # the statement follows it
    if state == "42501":
        return OcicalibanError(
            f"the history {place}: {first}",
            "the database's owner must run GRANT CREATE, USAGE ON SCHEMA public TO NAME, or create a database for you",
        )
    if state and not state.startswith(("08", "57P", "53")):
        return OcicalibanError(f"the history {place} failed: {first} ({state})", "is it a database of ocicaliban?")
    hint = next(hint for sign, hint in _SERVER if sign in words)
    return OcicalibanError(f"the history {place} cannot be reached: {words}", hint)
