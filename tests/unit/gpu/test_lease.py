from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.gpu import cdi, lease
from ocicaliban.gpu.cdi import Device
from ocicaliban.system import locks
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
    monkeypatch.setattr(lease, "SHARED", (tmp_path / "absent", tmp_path))
    before = os.umask(0o077)
    try:
        leases = lease.Leases()
        assert leases.take(["/dev/nvidia0"]) is None
    finally:
        os.umask(before)
    place = lease.folder()
    assert place.parent == tmp_path and place.stat().st_mode & 0o7777 == 0o1777
    assert (place / "dev-nvidia0.lock").stat().st_mode & 0o777 == 0o644


def test_a_place_that_is_not_for_everybody_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    roots_own, closed, linked, file, last = (tmp_path / name for name in ("root", "closed", "linked", "file", "last"))
    for each in (roots_own, closed, linked, file, last):
        each.mkdir()
    roots_own.chmod(0o555)
    (closed / lease.OURS).mkdir(mode=0o700)
    (linked / lease.OURS).symlink_to(last)
    (file / lease.OURS).touch()
    monkeypatch.setattr(lease, "SHARED", (roots_own, closed, linked, file))
    assert lease.shared_folder() is None
    own = lease.folder()
    assert own == tmp_path / "state" / "ocicaliban" / lease.OURS and own.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(lease, "SHARED", (roots_own, last))
    assert lease.shared_folder() == lease.folder() == last / lease.OURS
    # An administrator makes the folder where users cannot.
    roots_own.chmod(0o755)
    (roots_own / lease.OURS).mkdir()
    (roots_own / lease.OURS).chmod(0o1777)
    roots_own.chmod(0o555)
    assert lease.folder() == roots_own / lease.OURS


def test_what_others_put_in_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "dev-a.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OcicalibanError):
        lease.Leases(tmp_path).take(["/dev/a"])
    os.mkfifo(tmp_path / "dev-b.lock")
    assert lease.Leases(tmp_path).take(["/dev/b"]) is None  # and it does not wait for a reader


def test_a_file_that_was_removed_is_not_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = locks.taken
    removed: list[int] = []

    def taken(file: int, how: int) -> bool:
        if not removed:
            removed.append(file)
            (tmp_path / "dev-a.lock").unlink()
        return real(file, how)

    monkeypatch.setattr(locks, "taken", taken)
    leases = lease.Leases(tmp_path)
    assert leases.take(["/dev/a"]) is None
    monkeypatch.undo()
    assert removed and lease.Leases(tmp_path).take(["/dev/a"])


def test_a_single_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "SHARED", (tmp_path,))
    with lease.leased(["/dev/nvidia0"]):
        with pytest.raises(UsageError) as caught:
            lease.leased(["/dev/nvidia0"])
        assert "/dev/nvidia0 is in use by" in caught.value.message and "--share-gpus" in caught.value.hint
    lease.leased(["/dev/nvidia0"]).close()


def test_sessions_share_and_jobs_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "SHARED", (tmp_path,))
    with lease.leased(["/dev/a"], shared=True) as first, lease.leased(["/dev/a", "/dev/b"], shared=True) as second:
        assert first.beside() == second.beside() == ()  # both are this process
        with pytest.raises(UsageError):
            lease.leased(["/dev/a"])
        first.close()
        with pytest.raises(UsageError):
            lease.leased(["/dev/a"])
    with lease.leased(["/dev/a"]), pytest.raises(UsageError) as caught:
        lease.leased(["/dev/a"], shared=True)
    assert "--nogpu" in caught.value.hint


def test_leases_outlive_their_process_beside_another_one(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as server:
        leases = lease.Leases(tmp_path, shared=True)
        assert leases.take(["/dev/a", "/dev/b"]) is None
        leases.kept_until(server.pid, ("ocicaliban", "notebook", "digits-8888"))
        with lease.Leases(tmp_path, shared=True) as second:
            assert second.take(["/dev/a"]) is None
            [line] = second.beside()
        assert line.startswith("note: /dev/a is in use by `ocicaliban notebook digits-8888` (process ")
        leases.close()
        holder = lease.Leases(tmp_path).take(["/dev/b"])
        assert holder and holder.words == "ocicaliban notebook digits-8888"
        keeper = os.pidfd_open(holder.process)
        server.kill()
        select.select([keeper], [], [])
    with lease.Leases(tmp_path) as job:
        assert job.take(["/dev/a", "/dev/b"]) is None


def test_a_lease_goes_on_in_the_program_that_replaces_ours(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from ocicaliban.gpu.lease import Leases\n"
        "leases = Leases(Path(sys.argv[1]), shared=True); leases.take(['/dev/a']); leases.hand_over()\n"
        "os.execvp('sh', ['sh', '-c', 'echo here; read line', 'podman', 'run', '--label', 'ocicaliban.session=shell'])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout and child.stdout.readline() == "here\n"
        holder = lease.Leases(tmp_path).take(["/dev/a"])
        assert holder and (holder.process, holder.words) == (child.pid, "ocicaliban shell")
