"""A history on a disk that is full, which SQLite cannot even read."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from ocicaliban.errors import DiskFull
from ocicaliban.history import access, connection
from ocicaliban.history.url import DatabaseLocation
from ocicaliban.model.job import JobSpec, Submission
from ocicaliban.reporter import Reporter
from ocicaliban.system import filesystems

SUBMISSION = Submission(target="local", group="g", user="u", host="h", project="p", mode="run")


def test_it_is_read_from_a_copy_and_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite://{tmp_path}/history.db"
    with access.open(url) as opened:
        opened.submit(SUBMISSION, [JobSpec()] * 3)
    elsewhere, connected = tmp_path / "elsewhere", connection._connected
    elsewhere.mkdir()
    full = True

    def on_full_disk(place: DatabaseLocation, reporter: Reporter) -> object:
        if full and place.file.parent == tmp_path:
            raise DiskFull(f"the history {place} cannot grow: the disk is full")
        return connected(place, reporter)

    monkeypatch.setattr(connection, "_connected", on_full_disk)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(elsewhere))
    with access.open(url) as opened:
        assert len(opened.jobs()) == 3 and opened.counts()["queued"] == 3
        with pytest.raises(DiskFull, match="cannot grow"):
            opened.stop_queued([1])
        assert [*elsewhere.iterdir()]
    assert not [*elsewhere.iterdir()]
    monkeypatch.setattr(filesystems, "is_full", lambda _: True)
    with pytest.raises(DiskFull, match="cannot grow"):
        access.open(url)
    full = False
    with access.open(url) as opened:
        assert opened.counts()["queued"] == 3
