from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ocicaliban.errors import UsageError
from ocicaliban.gpu import cdi, lease
from ocicaliban.gpu.cdi import Device
from tests.cdi_specs import UUID, write


def node(name: str, *paths: str) -> dict[str, object]:
    return {"name": name, "containerEdits": {"deviceNodes": [{"path": path} for path in paths]}}


def found(folder: Path, *devices: dict[str, object]) -> dict[str, Device]:
    write(folder, *devices)
    return {device.name: device for device in cdi.discover([folder]).devices}


def test_a_gpu_is_the_same_whatever_it_is_called(tmp_path: Path) -> None:
    gpus = found(
        tmp_path,
        node("0", "/dev/nvidia0"),
        node("1", "/dev/nvidia1"),
        node(UUID, "/dev/nvidia1"),
        node("all", "/dev/nvidia0", "/dev/nvidia1"),
    )
    assert lease.units([gpus["1"]]) == lease.units([gpus[UUID]]) == ("/dev/nvidia1",)
    assert lease.units([gpus["all"]]) == lease.units([gpus["0"], gpus["1"]]) == ("/dev/nvidia0", "/dev/nvidia1")


def test_a_single_gpu(tmp_path: Path) -> None:
    gpus = found(tmp_path, node("0", "/dev/nvidia0"), node("all", "/dev/nvidia0"))
    assert lease.units([gpus["0"]]) == lease.units([gpus["all"]]) == ("/dev/nvidia0",)


def test_what_all_gpus_share_does_not_count(tmp_path: Path) -> None:
    gpus = found(tmp_path, node("0", "/dev/kfd", "/dev/dri/renderD128"), node("1", "/dev/kfd", "/dev/dri/renderD129"))
    assert lease.units([gpus["0"]]) == ("/dev/dri/renderD128",)


def test_the_parts_of_a_divided_gpu_are_leased_apart(tmp_path: Path) -> None:
    caps = "/dev/nvidia-caps/nvidia-cap"
    gpus = found(
        tmp_path,
        node("0:0", "/dev/nvidia0", f"{caps}21"),
        node("0:1", "/dev/nvidia0", f"{caps}30"),
        node("1", "/dev/nvidia1"),
        node("all", "/dev/nvidia0", "/dev/nvidia1", f"{caps}21", f"{caps}30"),
    )
    assert lease.units([gpus["0:0"]]) == (f"{caps}21",)
    assert lease.units([gpus["0:1"]]) == (f"{caps}30",)
    assert {*lease.units([gpus["all"]])} >= {f"{caps}21", f"{caps}30", "/dev/nvidia1"}


def test_a_device_without_files_has_its_name(tmp_path: Path) -> None:
    gpus = found(tmp_path, node("0"), node("1"))
    assert lease.units(gpus.values()) == ("acme.example/gpu=0", "acme.example/gpu=1")


def test_all_or_none_is_leased_and_the_holder_is_told(tmp_path: Path) -> None:
    first, second = lease.Leases(tmp_path), lease.Leases(tmp_path)
    assert first.take(["/dev/nvidia1"]) is None and first.take(["/dev/nvidia1"]) is None
    holder = second.take(["/dev/nvidia0", "/dev/nvidia1"])
    assert holder and (holder.unit, holder.process) == ("/dev/nvidia1", os.getpid())
    assert f"process {os.getpid()} of " in holder.told
    assert first.take(["/dev/nvidia0"]) is None
    first.release(["/dev/nvidia1"])
    assert second.take(["/dev/nvidia1"]) is None
    first.close()
    assert second.take(["/dev/nvidia0"]) is None


def test_the_end_of_a_process_releases_its_leases_however_it_ends(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from ocicaliban.gpu.lease import Leases\n"
        "leases = Leases(Path(sys.argv[1])); print(leases.take(['/dev/nvidia0'])); sys.stdout.flush(); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout and child.stdout.readline() == "None\n"
        holder = lease.Leases(tmp_path).take(["/dev/nvidia0"])
        assert holder and holder.process == child.pid
        child.kill()
    assert lease.Leases(tmp_path).take(["/dev/nvidia0"]) is None


def test_every_user_can_lock_the_file_whatever_the_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "SHARED", tmp_path)
    before = os.umask(0o077)
    try:
        leases = lease.Leases()
        assert leases.take(["/dev/nvidia0"]) is None
    finally:
        os.umask(before)
    place = lease.folder()
    assert place.parent == tmp_path and place.stat().st_mode & 0o7777 == 0o1777
    assert (place / "dev-nvidia0.lock").stat().st_mode & 0o777 == 0o644


def test_a_single_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "SHARED", tmp_path)
    with lease.held(["/dev/nvidia0"]):
        with pytest.raises(UsageError) as caught, lease.held(["/dev/nvidia0"]):
            pass
        assert "/dev/nvidia0 is in use by" in caught.value.message and "--share-gpus" in caught.value.hint
    with lease.held(["/dev/nvidia0"]):
        pass
