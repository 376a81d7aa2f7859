"""What is said about a full disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from ocicaliban.containers import disk_use, image_store
from ocicaliban.errors import DiskFull, OcicalibanError, ToolError, of_system


@pytest.fixture(autouse=True)
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A disk that is full: everything below tmp_path. Nothing else is, whatever this machine is like."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(image_store, "location", lambda: (tmp_path / "store", "overlay"))
    monkeypatch.setattr(image_store, "layer_sizes", lambda: {"a": 5_000_000, "b": 2_000_000})
    (tmp_path / "store").mkdir()
    full = SimpleNamespace(f_blocks=1000, f_bavail=0, f_frsize=4096, f_files=100, f_favail=50)
    other = SimpleNamespace(f_blocks=1 << 30, f_bavail=1 << 20, f_frsize=4096, f_files=100, f_favail=50)
    monkeypatch.setattr(os, "statvfs", lambda path: full if Path(path).is_relative_to(tmp_path) else other)
    return tmp_path


def write(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)


def no_space(path: str = "") -> OcicalibanError:
    return of_system(OSError(errno.ENOSPC, "No space left on device", path or None))


def test_what_is_large_on_the_full_disk_is_named_the_largest_first(disk: Path) -> None:
    state, cache = disk / "state" / "ocicaliban", disk / "cache" / "ocicaliban"
    write(state / "jobs" / "g" / "1" / "attempt-1.log.conmon", 9_000_000)
    write(state / "jobs" / "g" / "1" / "out" / "deep" / "model", 3_000_000)
    write(cache / "x", 1_500_000)
    told = disk_use.explained(no_space(f"{state}/jobs/g/1/attempt-1.log.half"))
    assert told.message == f"{state}/jobs/g/1/attempt-1.log.half: No space left on device (0 B free of 4.1 MB)"
    assert told.hint == (
        f"free disk space: logs 9.0 MB in {state}/jobs, images 7.0 MB in {disk}/store, results 3.0 MB in {state}/jobs, "
        f"the cache 1.5 MB in {cache}; `ocicaliban clean --all --dry-run` lists the images"
    )


@pytest.mark.parametrize(
    ("fault", "folders", "said"),
    [
        (no_space(), (), "No space left on device (DISK/state/ocicaliban: 0 B free"),
        (no_space("DISK/out/f"), (), "DISK/out/f: No space left on device (0 B free"),
        (OcicalibanError("podman: write DISK/store/l: no space left on device"), (), "on device (0 B free"),
        (ToolError("buildah failed", stderr="no space left on device"), (), "(DISK/state/ocicaliban: 0 B free"),
        (DiskFull("the history DISK/h.db cannot grow", "h", path="DISK/h.db"), (), "cannot grow (0 B free"),
        (OcicalibanError("disk quota exceeded"), ("", "DISK/out"), "exceeded (DISK/out: 0 B free"),
    ],
)
def test_the_full_folder_is_in_each_message(
    disk: Path, fault: OcicalibanError, folders: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if folders:
        monkeypatch.setenv("XDG_STATE_HOME", "/elsewhere")
        monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    fault.message = fault.message.replace("DISK", str(disk))
    if isinstance(fault, DiskFull):
        fault.path = fault.path.replace("DISK", str(disk))
    told = disk_use.explained(fault, [folder.replace("DISK", str(disk)) for folder in folders])
    assert said.replace("DISK", str(disk)) in told.message
    assert told.hint.startswith("free disk space: ")


def test_a_disk_that_can_have_no_more_files(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    none = SimpleNamespace(f_blocks=1000, f_bavail=900, f_frsize=4096, f_files=12_000, f_favail=0)
    monkeypatch.setattr(os, "statvfs", lambda _: none)
    assert "(none of 12,000 files is left on that disk)" in disk_use.explained(no_space(f"{disk}/x")).message


def test_other_faults_stay_as_they_are() -> None:
    fault = OcicalibanError("the image does not exist", "build it")
    assert disk_use.explained(fault) is fault


def test_nothing_of_ours_is_large(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_store, "layer_sizes", dict)
    write(disk / "out" / "model", 2_000_000)
    assert disk_use.explained(no_space(f"{disk}/out/x")).hint == f"free disk space: files 2.0 MB in {disk}/out"
