"""What a task does on its node, as far as a podman that only fails shows it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from ocicaliban.targets.slurm import arrays, shared


def ran(
    tmp_path: Path,
    *,
    key: str = "k1",
    settings: Mapping[str, str] = {},
    disk: str = "ext2/ext3",
    podman: str = "cat {0}/words >&2\nexit 125",
) -> subprocess.CompletedProcess[str]:
    """Run a task's script with a podman that prints the file `words` and fails. `disk` is what its disks are."""
    tools = tmp_path / "bin"
    tools.mkdir(exist_ok=True)
    (tools / "stat").write_text(f"#!/bin/sh\necho {disk}\n")
    (tools / "stat").chmod(0o755)
    (tools / "podman").write_text(f"#!/bin/sh\n{podman.format(tmp_path)}\n")
    (tools / "podman").chmod(0o755)
    (tmp_path / "image.tar").touch()
    values = {
        "ARRAY": "a1", "MARKS": f"{tmp_path}/marks", "IMAGE": f"{tmp_path}/image.tar", "IMAGE_NAME": "1",
        "RUNTIME": "podman", "LOCAL": f"{tmp_path}/local", "GRACE": "60", "RETRIES": "0", "WORKDIR": "/",
        "KEY": key, "FIRST": "1", "OUT": f"{tmp_path}/out", "FOLDER": f"{tmp_path}/folder", **settings,
    }  # fmt: skip
    head = "".join(f"{name}='{value}'\n" for name, value in values.items())
    text = f"{head}ENVIRONMENT=() MOUNTS=() COMMAND=(true) DEFAULTS=() ARGS=()\ntask() {{ :; }}\n{arrays.body()}"
    (tmp_path / "local").mkdir(exist_ok=True)
    env = {
        "PATH": f"{tools}:{os.environ['PATH']}", "SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "7",
        "SLURM_ARRAY_TASK_ID": "0", "SLURMD_NODENAME": "n1",
    }  # fmt: skip
    return subprocess.run(["bash", "-c", text], env=env, capture_output=True, text=True, errors="replace", check=False)


@pytest.mark.parametrize("name", ["OUT", "FOLDER", "MARKS"])
def test_a_shared_disk_that_takes_no_folder_is_a_failure(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    done = ran(tmp_path, settings={name: f"{tmp_path}/file/folder"})
    assert done.returncode == 125 and "shared disk" in done.stderr


def test_a_claim_that_cannot_be_made_is_a_failure(tmp_path: Path) -> None:
    done = ran(tmp_path, key="no/such")
    assert done.returncode == 125 and "cannot be claimed" in done.stderr


def test_the_second_task_of_an_attempt_does_nothing(tmp_path: Path) -> None:
    (tmp_path / "marks" / "k1.1.claim").mkdir(parents=True)
    done = ran(tmp_path)
    assert done.returncode == 0 and "another task runs" in done.stderr
    assert [each.name for each in (tmp_path / "marks").iterdir()] == ["k1.1.claim"]


@pytest.mark.parametrize(
    "words", [b"a\tb", b"\x1b[31mred\x1b[0m", b"cut \xe2\x82", "é".encode() * 600, b'"\\\n"', b"\0"]
)
def test_podmans_words_leave_a_mark_that_can_be_read(tmp_path: Path, words: bytes) -> None:
    (tmp_path / "words").write_bytes(words)
    assert ran(tmp_path).returncode == 125
    seen = shared.ended_from(json.loads((tmp_path / "marks" / "k1.1.ended").read_text(encoding="utf-8")))
    assert seen.code is None and seen.fault.startswith("podman cannot start the job: ")


def test_odd_folders_leave_a_mark_that_can_be_read(tmp_path: Path) -> None:
    assert ran(tmp_path, settings={"IMAGE": '/no/"such"\t\\image'}).returncode == 125
    assert "no/such image" in json.loads((tmp_path / "marks" / "k1.1.ended").read_text(encoding="utf-8"))["fault"]


@pytest.mark.parametrize("disk", ["nfs", "lustre", "gpfs", "fuseblk", "smb2"])
def test_podmans_layers_go_on_no_network_disk(tmp_path: Path, disk: str) -> None:
    assert ran(tmp_path, disk=disk).returncode == 125
    fault = json.loads((tmp_path / "marks" / "k1.1.ended").read_text(encoding="utf-8"))["fault"]
    assert f"/local is on {disk}" in fault and "[targets.slurm] local" in fault


@pytest.mark.parametrize(("disk", "words"), [("overlayfs", ""), ("tmpfs", "overlay: not supported")])
def test_where_the_kernels_overlay_does_not_work_fuse_overlayfs_does(tmp_path: Path, disk: str, words: str) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "fuse-overlayfs").symlink_to("/bin/true")
    # podman says what its settings are
    (tmp_path / "words").write_text(f"{words}\n")
    done = ran(tmp_path, disk=disk, podman='cat "$CONTAINERS_STORAGE_CONF" >&2; cat {0}/words >&2; exit 125')
    assert done.returncode == 125 and 'mount_program = "' in done.stderr


def test_a_long_fault_is_in_the_log_whole_and_in_the_mark_by_its_ends(tmp_path: Path) -> None:
    (tmp_path / "words").write_text(f"Error: begins {'x' * 3000} invalid argument\n")
    ran(tmp_path)
    fault = json.loads((tmp_path / "marks" / "k1.1.ended").read_text(encoding="utf-8"))["fault"]
    assert "Error: begins" in fault and fault.endswith("invalid argument") and len(fault) < 600
    assert "x" * 3000 in (tmp_path / "folder" / "attempt-1.log").read_text()
