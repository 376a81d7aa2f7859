"""The image file on the shared disk: what a killed process left is removed, what another one makes is not."""

from __future__ import annotations

import fcntl
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ocicaliban.containers import image_file, image_store
from ocicaliban.model.image import Image
from ocicaliban.system import process

ONE = "1" * 64
OTHER = "2" * 64


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def run(argv: Sequence[str], **_: object) -> str:
        Path(argv[argv.index("--output") + 1]).write_text("an image")
        return ""

    monkeypatch.setattr(process, "run", run)
    monkeypatch.setattr(image_store, "image_config", lambda image: {})
    return tmp_path


def make(folder: Path) -> None:
    image_file.make(folder, cast(Image, SimpleNamespace(id=ONE)), "oci-archive")


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


MADE = {f"{ONE}.tar", f"{ONE}.json"}


def test_what_killed_processes_left_is_removed(folder: Path) -> None:
    for name in (f".{ONE}.0123abcd.sqfs", f".{ONE}.0123abce.tar", f".{OTHER}.0123abcd.sqfs", f"{ONE}.lock"):
        (folder / name).touch()
    (folder / f"{OTHER}.sqfs").touch()
    (folder / ".mine.sqfs").touch()
    make(folder)
    assert names(folder) == {*MADE, f"{OTHER}.sqfs", ".mine.sqfs"}


def test_what_another_process_makes_stays(folder: Path) -> None:
    half, lock = folder / f".{OTHER}.0123abcd.sqfs", folder / f"{OTHER}.lock"
    half.touch()
    with open(lock, "ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        make(folder)
    assert names(folder) == {*MADE, half.name, lock.name}


def test_without_locks_nothing_is_removed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: Any) -> None:
        raise OSError(95, "not supported")

    monkeypatch.setattr(fcntl, "flock", flock)
    (folder / f".{ONE}.0123abcd.sqfs").touch()
    make(folder)
    assert f".{ONE}.0123abcd.sqfs" in names(folder)


def test_a_lock_that_its_holder_removed_is_no_lock(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While we waited, the holder has removed the file, and another process may have locked a new one."""
    lock, waits = folder / f"{ONE}.lock", [True]
    flock = fcntl.flock

    def late(file: Any, how: int) -> None:
        flock(file, how)
        if waits and waits.pop():
            lock.unlink()

    monkeypatch.setattr(fcntl, "flock", late)
    make(folder)
    assert not waits and names(folder) == MADE
