"""The image file on the shared disk: what a killed process left is removed, what another one makes is not."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ocicaliban.containers import image_file, image_store
from ocicaliban.containers.image_file import FileForm
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
    image_file.make(folder, cast(Image, SimpleNamespace(id=ONE)), FileForm(form="oci-archive"))


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


def test_a_file_has_the_places_that_its_jobs_mount_something_at(folder: Path) -> None:
    plain, more = FileForm(), FileForm(points=("/data", "/etc/x"), files=frozenset({"/etc/x"}))
    same = FileForm(points=("/etc/x", "/data", "/data"), files=frozenset({"/etc/x"}))
    assert more.name(ONE) == same.name(ONE)
    kinds = {form.name(ONE) for form in (plain, more, FileForm(points=("/etc/x", "/data")))}
    assert len(kinds) == 3 and all(name.startswith(f"{ONE}-") for name in kinds)
    assert FileForm(form="oci-archive", points=("/data",)).name(ONE) == ONE
    assert image_file.stored(folder, ONE, more) is None
    (folder / f"{more.name(ONE)}.sqfs").touch()
    (folder / f"{ONE}.json").write_text("{}")
    found = image_file.stored(folder, ONE, more)
    assert found and found.name == ONE and image_file.stored(folder, ONE, plain) is None


def test_a_file_of_another_version_of_ours_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    before = FileForm().name(ONE)
    monkeypatch.setattr(image_file, "_POINTS", ("/out", "/new"))
    assert FileForm().name(ONE) != before


def test_places_that_an_image_lacks_are_made_in_its_file(tmp_path: Path) -> None:
    """With a podman that shows a folder as an image, and a mksquashfs that prints its words."""
    root, tools = tmp_path / "root", tmp_path / "bin"
    (root / "usr" / "app").mkdir(parents=True)
    (root / "run").mkdir()
    (root / "link").symlink_to("/etc")
    tools.mkdir()
    for name, text in (("podman", f"echo {root}"), ("mksquashfs", "printf '%s\\n' \"$@\"")):
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    points = ["d /out", "d /run/ocicaliban", "d /usr/app", "d /out/more", "f /a b/it's", "d /link/x"]
    argv = ["sh", "-c", image_file._SQUASH, "sh", ONE, "file", *points]
    done = subprocess.run(
        argv, env={"PATH": f"{tools}:{os.environ['PATH']}"}, capture_output=True, text=True, check=True
    )
    words = done.stdout.splitlines()
    assert words[:2] == [str(root), "file"]
    assert [word for word in words if word.endswith(("0 0", "true"))] == [
        "out d 755 0 0", "run/ocicaliban d 755 0 0", "out/more d 755 0 0", r"a\ b d 755 0 0",
        r"a\ b/it\'s f 644 0 0 true",
    ]  # fmt: skip
