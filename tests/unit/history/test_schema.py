"""The tables in SQLite, and the migration of an older database. Integration tests do the same on PostgreSQL."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from ocicaliban.errors import OcicalibanError
from ocicaliban.history import access, schema
from ocicaliban.model.job import UNDER_WAY, Status
from tests.records import DATA


@contextlib.contextmanager
def statements(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a database as a user with SQL would, and commit what is written."""
    with contextlib.closing(sqlite3.connect(file)) as opened, opened:
        yield opened


def rows(file: Path, statement: str) -> list[tuple[Any, ...]]:
    with statements(file) as opened:
        return opened.execute(statement).fetchall()


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A history of schema 1."""
    return Path(shutil.copyfile(DATA / "history-1.sqlite", tmp_path / "history.db"))


def migrated(file: Path) -> Path:
    access.open(f"sqlite://{file}").close()
    return file


def test_a_history_of_schema_1_gets_the_tables_of_a_new_one(old: Path, tmp_path: Path) -> None:
    def tables(file: Path) -> list[tuple[Any, ...]]:
        found = rows(file, "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name")
        return [(*names, "".join(sql.split()) if sql else None) for *names, sql in found]

    assert tables(migrated(old)) == tables(migrated(tmp_path / "new.db"))
    assert rows(old, "PRAGMA foreign_key_check") == [] == rows(old, "PRAGMA foreign_key_list(submission)")
    assert [row[2:5] for row in rows(old, "PRAGMA foreign_key_list(attempt)")] == [("job", "job", "id")]
    assert [row[2:5] for row in rows(old, "PRAGMA foreign_key_list(job)")] == [("submission", "submission", "id")]
    assert rows(old, "PRAGMA integrity_check") == [("ok",)]
    assert rows(old, "SELECT version FROM schema_version") == [(1,), (2,), (3,)]


def test_all_that_schema_1_held_is_kept(old: Path) -> None:
    """Compare all columns of all rows, apart from what the migration is for."""
    jobs = "SELECT id, job_key, submission, parameters, args, out FROM job"
    attempts = "SELECT job, number, handle, started, ended, exit_code, log FROM attempt"
    ended = "SELECT job, number, status, reason FROM attempt WHERE ended IS NOT NULL"
    other = "SELECT id, status FROM job WHERE id NOT IN (9, 10, 11)"
    asked = (jobs, attempts, ended, other, "SELECT * FROM submission")
    before = [rows(old, each) for each in asked]
    migrated(old)
    assert [rows(old, each) for each in asked] == before
    assert rows(old, "SELECT job, status, reason, backend_state FROM attempt WHERE ended IS NULL") == [
        (6, "running", "", ""),
        (8, "running", "", ""),
        (9, "pending", "", "pending"),
        (10, "pending", "", "queued"),
        (11, "pending", "", "not listed by Vertex AI"),
    ]
    assert rows(old, "SELECT DISTINCT backend_state FROM attempt WHERE ended IS NOT NULL") == [("",)]


def test_a_job_that_is_about_to_stop_still_runs(old: Path) -> None:
    with statements(old) as opened:
        opened.execute("UPDATE attempt SET reason = 'cancelling' WHERE job = 9")
    migrated(old)
    assert rows(old, "SELECT status, reason, backend_state FROM attempt WHERE job = 9") == [
        ("running", "", "cancelling")
    ]
    assert rows(old, "SELECT status FROM job WHERE id = 9") == [("running",)]


@pytest.mark.parametrize("remaining", [18, 0])
def test_the_number_of_a_deleted_job_is_not_given_again(old: Path, remaining: int) -> None:
    with statements(old) as opened:
        opened.execute("DELETE FROM attempt WHERE job > ?", (remaining,))
        opened.execute("DELETE FROM job WHERE id > ?", (remaining,))
    migrated(old)
    with statements(old) as opened:
        opened.execute(
            "INSERT INTO job (job_key, submission, parameters, args, status, out) SELECT 'k', 1, '', '', 'queued', ''"
        )
    assert rows(old, "SELECT id FROM job WHERE job_key = 'k'") == [(20,)]


def test_views_and_tables_of_other_people_stay(old: Path) -> None:
    with statements(old) as opened:
        opened.execute("CREATE VIEW mine AS SELECT job.id FROM job JOIN attempt ON attempt.job = job.id")
        opened.execute("CREATE TABLE note (text TEXT)")
        opened.execute("INSERT INTO note VALUES ('kept')")
    before = rows(old, "SELECT * FROM mine ORDER BY 1")
    migrated(old)
    assert before and rows(old, "SELECT * FROM mine ORDER BY 1") == before
    assert rows(old, "SELECT text FROM note") == [("kept",)]
    assert rows(old, "PRAGMA foreign_key_check") == []


def test_an_older_program_that_has_it_open_goes_on(old: Path) -> None:
    """Take the statements of schema 1 on the new tables: a sweep may run while another terminal migrates."""
    migrated(old)
    with statements(old) as opened:
        columns = "job, number, handle, status, started, ended, exit_code, reason, log"
        opened.execute(f"INSERT INTO attempt ({columns}) VALUES (7, 1, 'h', 'running', 1.0, NULL, NULL, '', '')")
        opened.execute(
            "UPDATE attempt SET status = 'failed', ended = 2.0, exit_code = 1, reason = 'exit code 1' WHERE job = 7"
        )
    assert rows(old, "SELECT status, backend_state FROM attempt WHERE job = 7") == [("failed", "")]


def test_the_database_takes_each_status_of_the_model_and_no_other(tmp_path: Path) -> None:
    file = migrated(tmp_path / "new.db")
    with statements(file) as opened:
        opened.execute(
            "INSERT INTO submission SELECT 1, 'g', 'ada', 'h', 'local', '/p', 'run', '', '', '', '', 0, '{}', '{}', 1.0"
        )
        for number, status in enumerate(get_args(Status)):
            opened.execute("INSERT INTO job VALUES (?, ?, 1, '{}', '[]', ?, '')", (number, str(number), status))
            ended = None if status in UNDER_WAY else 1.0
            insert = "INSERT INTO attempt VALUES (?, 1, 'h', ?, 1.0, ?, NULL, '', '', '')"
            if status == "queued":
                with pytest.raises(sqlite3.IntegrityError):
                    opened.execute(insert, (number, status, ended))
                continue
            with pytest.raises(sqlite3.IntegrityError):
                opened.execute(insert, (number, status, 1.0 if ended is None else None))
            opened.execute(insert, (number, status, ended))
        for table in ("job", "attempt"):
            with pytest.raises(sqlite3.IntegrityError):
                opened.execute(f"UPDATE {table} SET status = 'gone'")


def test_a_newer_schema_is_refused(old: Path) -> None:
    with statements(old) as opened:
        opened.execute("INSERT INTO schema_version VALUES (?, 1.0)", (len(schema.MIGRATIONS) + 1,))
    before = old.read_bytes()
    with pytest.raises(OcicalibanError, match="written by a newer ocicaliban"):
        access.open(f"sqlite://{old}")
    assert old.read_bytes() == before


def test_a_migration_that_fails_leaves_everything_as_it_was(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, *_ = schema.MIGRATIONS
    broken = schema.Migration(sqlite=(*second.sqlite, "UPDATE nothing SET x = 1"), postgresql=())
    everything = "SELECT sql FROM sqlite_schema"
    before = rows(old, everything), rows(old, "SELECT * FROM attempt")
    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATIONS", (first, broken))
        with pytest.raises(OcicalibanError, match="nothing"):
            access.open(f"sqlite://{old}")
    assert (rows(old, everything), rows(old, "SELECT * FROM attempt")) == before
    migrated(old)
