"""A PostgreSQL server of the test's own, from the system's packages."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

PASSWORD = "p@ss/w:rd %41?"
"""With everything in it that a URL could stumble over."""


def _program(name: str) -> str:
    """Debian keeps the server's programs off PATH, one folder for each version."""
    found = shutil.which(name) or max(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), default="")
    assert found, f"{name} is missing: it comes with the package postgresql"
    return found


class Server:
    """A server on a free port of this machine, with the superuser ada, who has a password."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (folder / "password").write_text(PASSWORD)
        self._call(
            "initdb", "--auth=scram-sha-256", "--username=ada", f"--pwfile={folder / 'password'}",
            "--encoding=UTF8", "--no-locale", "--no-sync", f"--pgdata={folder / 'data'}",
        )  # fmt: skip

    def _call(self, *argv: str) -> None:
        # Its output goes to a file: a pipe would be held open by the server.
        with (self.folder / "log").open("a") as log:
            done = subprocess.run([_program(argv[0]), *argv[1:]], stdout=log, stderr=log, timeout=120, check=False)
        assert done.returncode == 0, (self.folder / "log").read_text()

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories= -c fsync=off"
        self._call("pg_ctl", "start", "--wait", f"--pgdata={self.folder / 'data'}", f"--options={options}")

    def stop(self, mode: str = "immediate") -> None:
        self._call("pg_ctl", "stop", "--wait", f"--mode={mode}", f"--pgdata={self.folder / 'data'}")

    def url(self, name: str, user: str = "ada", password: str = PASSWORD) -> str:
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{name}"

    def tell(self, *statements: str, database: str = "postgres") -> None:
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def database(self, name: str) -> str:
        """The URL of a new database."""
        self.tell(f"CREATE DATABASE {name}")
        return self.url(name)


@contextlib.contextmanager
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        made = Server(Path(folder))
        made.start()
        try:
            yield made
        finally:
            made.stop()
