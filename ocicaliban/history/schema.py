"""The tables of the history, and the numbered migrations that lead to them."""

from __future__ import annotations

import time
from string import Template

from attrs import frozen
from peewee import Database, OperationalError, PostgresqlDatabase, Table

from ocicaliban.errors import OcicalibanError
from ocicaliban.system import installation


@frozen(kw_only=True)
class Migration:
    """One step from a version of the schema to the next: the statements for each kind of database.

    `$ID` stands for the type of a primary key that the database numbers itself.
    """

    sqlite: tuple[str, ...]
    postgresql: tuple[str, ...]


def same_on_both(*statements: str) -> Migration:
    """Return a migration whose statements SQLite and PostgreSQL both take."""
    return Migration(sqlite=statements, postgresql=statements)


_FIRST = same_on_both(
    """
    CREATE TABLE submission (
        id $ID,
        group_name TEXT NOT NULL,
        user_name TEXT NOT NULL,
        host TEXT NOT NULL,
        target TEXT NOT NULL,
        project TEXT NOT NULL,
        mode TEXT NOT NULL,
        module TEXT NOT NULL,
        image TEXT NOT NULL,
        plan_key TEXT NOT NULL,
        git_commit TEXT NOT NULL,
        git_dirty BOOLEAN NOT NULL,
        launch TEXT NOT NULL,
        options TEXT NOT NULL,
        created DOUBLE PRECISION NOT NULL
    )
    """,
    "CREATE INDEX submission_group ON submission (group_name)",
    "CREATE INDEX submission_user ON submission (user_name)",
    """
    CREATE TABLE job (
        id $ID,
        job_key TEXT NOT NULL UNIQUE,
        submission BIGINT NOT NULL REFERENCES submission (id),
        parameters TEXT NOT NULL,
        args TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'stopped', 'lost')),
        out TEXT NOT NULL
    )
    """,
    "CREATE INDEX job_submission ON job (submission, status, id)",
    """
    CREATE TABLE attempt (
        job BIGINT NOT NULL REFERENCES job (id),
        number INTEGER NOT NULL,
        handle TEXT NOT NULL,
        status TEXT NOT NULL CHECK (
            status IN ('queued', 'running', 'succeeded', 'failed', 'stopped', 'lost') AND status <> 'queued'
        ),
        started DOUBLE PRECISION NOT NULL,
        ended DOUBLE PRECISION,
        exit_code BIGINT,
        reason TEXT NOT NULL,
        log TEXT NOT NULL,
        PRIMARY KEY (job, number),
        CHECK ((status = 'running') = (ended IS NULL))
    )
    """,
)

# Until then, the reason of an attempt under way held the backend's own word: "" while it ran, "cancelling" while it ran
# but was about to stop, and another word ("queued", "pending", "not listed by Vertex AI") while it waited.
_WAITS = "ended IS NULL AND reason NOT IN ('', 'cancelling')"
_PENDING = Migration(
    # SQLite cannot change a CHECK: both tables are built again. The new attempts refer to the new jobs from the start,
    # so that no foreign key breaks when the old tables go; a rename takes the references along.
    sqlite=(
        "PRAGMA legacy_alter_table = ON",  # otherwise a view that someone made of these tables refuses the rename
        """
        CREATE TABLE new_job (
            id $ID,
            job_key TEXT NOT NULL UNIQUE,
            submission BIGINT NOT NULL REFERENCES submission (id),
            parameters TEXT NOT NULL,
            args TEXT NOT NULL,
            status TEXT NOT NULL CHECK (
                status IN ('queued', 'pending', 'running', 'succeeded', 'failed', 'stopped', 'lost')
            ),
            out TEXT NOT NULL
        )
        """,
        f"""
        INSERT INTO new_job (id, job_key, submission, parameters, args, status, out)
        SELECT id, job_key, submission, parameters, args,
            CASE WHEN status = 'running' AND id IN (SELECT job FROM attempt WHERE {_WAITS})
                THEN 'pending' ELSE status END,
            out
        FROM job
        """,
        "DELETE FROM sqlite_sequence WHERE name = 'new_job'",
        "INSERT INTO sqlite_sequence (name, seq) SELECT 'new_job', seq FROM sqlite_sequence WHERE name = 'job'",
        """
        CREATE TABLE new_attempt (
            job BIGINT NOT NULL REFERENCES new_job (id),
            number INTEGER NOT NULL,
            handle TEXT NOT NULL,
            status TEXT NOT NULL CHECK (status IN ('pending', 'running', 'succeeded', 'failed', 'stopped', 'lost')),
            started DOUBLE PRECISION NOT NULL,
            ended DOUBLE PRECISION,
            exit_code BIGINT,
            reason TEXT NOT NULL,
            log TEXT NOT NULL,
            backend_state TEXT NOT NULL DEFAULT '',
            PRIMARY KEY (job, number),
            CHECK ((status IN ('pending', 'running')) = (ended IS NULL))
        )
        """,
        f"""
        INSERT INTO new_attempt
            (job, number, handle, status, started, ended, exit_code, reason, log, backend_state)
        SELECT job, number, handle,
            CASE WHEN {_WAITS} THEN 'pending' ELSE status END,
            started, ended, exit_code,
            CASE WHEN ended IS NULL THEN '' ELSE reason END,
            log,
            CASE WHEN ended IS NULL THEN reason ELSE '' END
        FROM attempt
        """,
        "DROP TABLE attempt",
        "DROP TABLE job",
        "ALTER TABLE new_job RENAME TO job",
        "ALTER TABLE new_attempt RENAME TO attempt",
        "CREATE INDEX job_submission ON job (submission, status, id)",
        "PRAGMA legacy_alter_table = OFF",
    ),
    postgresql=(
        """
        ALTER TABLE job DROP CONSTRAINT job_status_check, ADD CONSTRAINT job_status_check CHECK (
            status IN ('queued', 'pending', 'running', 'succeeded', 'failed', 'stopped', 'lost')
        )
        """,
        """
        ALTER TABLE attempt
            ADD COLUMN backend_state TEXT NOT NULL DEFAULT '',
            DROP CONSTRAINT attempt_check,
            DROP CONSTRAINT attempt_status_check,
            ADD CONSTRAINT attempt_status_check CHECK (
                status IN ('pending', 'running', 'succeeded', 'failed', 'stopped', 'lost')
            ),
            ADD CONSTRAINT attempt_check CHECK ((status IN ('pending', 'running')) = (ended IS NULL))
        """,
        f"""
        UPDATE job SET status = 'pending'
        WHERE status = 'running' AND id IN (SELECT job FROM attempt WHERE {_WAITS})
        """,
        f"UPDATE attempt SET status = 'pending' WHERE {_WAITS}",
        "UPDATE attempt SET backend_state = reason, reason = '' WHERE ended IS NULL AND reason <> ''",
    ),
)

# In a table of its own: it holds whole files, and the list of jobs reads each job's submission.
_ORIGIN = same_on_both(
    """
    CREATE TABLE origin (
        submission BIGINT PRIMARY KEY REFERENCES submission (id),
        record TEXT NOT NULL
    )
    """
)

MIGRATIONS: tuple[Migration, ...] = (_FIRST, _PENDING, _ORIGIN)
"""Applied in order, once each. Never change one that was released: add another at the end.

The statuses are written out: a new status of `model.job.Status` needs a migration.
"""

_LOCK = 0x6F63696361  # one number for all who migrate; PostgreSQL's advisory locks have no names

# Below PostgreSQL's deadlock_timeout (1 s): in a deadlock this process gives up and tries again, and not a sweep.
_LOCK_TIMEOUT = "500ms"
_LOCK_TRIES = 120

# With AUTOINCREMENT, SQLite never gives the number of a deleted job to another one.
_ROWID = "INTEGER PRIMARY KEY AUTOINCREMENT"
_IDENTITY = "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"

submission = Table("submission")
job = Table("job")
attempt = Table("attempt")
origin = Table("origin")


def version(database: Database) -> int:
    """Return the number of the newest migration that was applied; 0 for a database without our tables."""
    if not database.table_exists("schema_version"):
        return 0
    row = database.execute_sql("SELECT MAX(version) FROM schema_version").fetchone()
    return int(row[0] or 0)


def check(database: Database, shown: str) -> int:
    """Return the database's version. Raises OcicalibanError for one that is newer than this program."""
    number = version(database)
    if number > len(MIGRATIONS):
        raise OcicalibanError(
            f"the history {shown} was written by a newer ocicaliban (schema {number}, known is {len(MIGRATIONS)})",
            f"upgrade ocicaliban, for example: {installation.renewal()}",
        )
    return number


def migrate(database: Database, shown: str) -> None:
    """Apply the migrations that are missing. Call it in a transaction.

    Of several processes one migrates, and the others wait for it. `shown` names the database in messages. Raises
    OcicalibanError for a database that is newer than this program.
    """
    postgresql = isinstance(database, PostgresqlDatabase)
    if postgresql:
        database.execute_sql("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    done = check(database, shown)  # again: another process may have been faster
    if not done:
        database.execute_sql(
            "CREATE TABLE schema_version (version INTEGER PRIMARY KEY, applied DOUBLE PRECISION NOT NULL)"
        )
    if done and postgresql and done < len(MIGRATIONS):
        _lock_tables(database)
    insert = f"INSERT INTO schema_version (version, applied) VALUES ({database.param}, {database.param})"
    for number, migration in enumerate(MIGRATIONS[done:], start=done + 1):
        for statement in migration.postgresql if postgresql else migration.sqlite:
            database.execute_sql(Template(statement).substitute(ID=_IDENTITY if postgresql else _ROWID))
        database.execute_sql(insert, (number, time.time()))


def _lock_tables(database: Database) -> None:
    """Lock all tables of a PostgreSQL database until the transaction ends.

    Other processes may write at this moment, and lock rows of job and of attempt in either order.
    """
    database.execute_sql(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
    for count in range(1, _LOCK_TRIES + 1):
        database.execute_sql("SAVEPOINT unlocked")
        try:
            database.execute_sql("LOCK TABLE submission, job, attempt IN ACCESS EXCLUSIVE MODE")
            break
        except OperationalError:
            if count == _LOCK_TRIES:
                raise
            database.execute_sql("ROLLBACK TO SAVEPOINT unlocked")
    database.execute_sql("SET LOCAL lock_timeout TO DEFAULT")
