"""Which file systems can hold images; `kind` is tested with its users."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ocicaliban.system import filesystems


def _mount(kind: str) -> str:
    return f"1 0 8:1 / / rw - {kind} server:/x rw\n"


@pytest.mark.parametrize(
    "kind",
    ["nfs", "nfs4", "lustre", "gpfs", "beegfs", "beegfs_nodev", "fuse", "fuseblk", "fuse.sshfs", "fuse.new", "overlay",
     "cifs", "smb3", "9p", "ceph", "autofs", "tmpfs without extended attributes", "ramfs", "exfat", "fuse.gpfs"],
)  # fmt: skip
def test_these_hold_no_images(kind: str) -> None:
    assert not filesystems.holds_images(kind)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "zfs", "", "something-new", "virtiofs"])
def test_these_do_or_are_given_a_try(kind: str) -> None:
    assert filesystems.holds_images(kind)


@pytest.mark.parametrize(
    ("listed", "number", "kind"),
    [
        ("ext4", 0x6969, "ext4"),  # nothing is asked
        ("nfs4", 0xEF53, "nfs4"),
        ("autofs", 0x6969, "nfs"),  # mounted when it was looked at
        ("autofs", 0x0187, "autofs"),
        ("autofs", 0xEF53, ""),
        ("vendorfs", 0x65735546, "fuse"),
        ("vendorfs", 0x47504653, "gpfs"),
        ("vendorfs", 0x1234, "vendorfs"),
    ],
)
def test_the_kernel_tells_what_a_name_leaves_open(
    listed: str, number: int, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystems, "magic", lambda path: number if path == tmp_path else 0)
    assert filesystems.kind_now(tmp_path / "not" / "there", _mount(listed)) == kind


def test_the_kernel_says_proc_of_proc() -> None:
    assert filesystems.magic(Path("/proc")) == 0x9FA0
    assert filesystems.magic(Path("/proc/nothing-here")) == 0


def test_a_tmpfs_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert filesystems.kind_now(tmp_path, _mount("tmpfs")) in ("tmpfs", "tmpfs without extended attributes")

    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", refuse)
    assert filesystems.kind_now(tmp_path, _mount("tmpfs")) == "tmpfs without extended attributes"
    assert filesystems.kind_now(tmp_path, _mount("ext4")) == "ext4"
