"""What a task does on its node, as far as a podman that only fails shows it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from ocicaliban.jobs import log_parts
from ocicaliban.targets.slurm import arrays, shared


def ran(
    tmp_path: Path,
    *,
    key: str = "k1",
    settings: Mapping[str, str] = {},
    disk: str = "ext2/ext3",
    podman: str = "cat {0}/words >&2\nexit 125",
    lists: str = "ENVIRONMENT=() MOUNTS=() COMMAND=(true) ARGS=()",
    env: Mapping[str, str] = {},
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
        "LOG_SIZE": "1000000", "GIVEN_FILE": "", "OUT_POINT": "/out", "FILES": "",
        "KEY": key, "FIRST": "1", "OUT": f"{tmp_path}/out", "FOLDER": f"{tmp_path}/folder", **settings,
    }  # fmt: skip
    head = "".join(f"{name}='{value}'\n" for name, value in values.items())
    text = f"{head}GIVEN=() OWN=()\n{lists} DEFAULTS=()\ntask() {{ :; }}\n{arrays.body()}"
    (tmp_path / "local").mkdir(exist_ok=True)
    environ = {
        "PATH": f"{tools}:{os.environ['PATH']}", "SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "7",
        "SLURM_ARRAY_TASK_ID": "0", "SLURMD_NODENAME": "n1", "SHOWN_LATE": "0", **env,
    }  # fmt: skip
    return subprocess.run(
        ["bash", "-c", text], env=environ, capture_output=True, text=True, errors="replace", check=False
    )


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


SEEN = ["HOME=/root", "TERM=xterm", "container=oci", "HOSTNAME=node"]
SLURM = ["SLURM_ARRAY_JOB_ID=7", "SLURM_ARRAY_TASK_ID=0", "SLURM_JOB_GPUS=2", "SLURM_JOB_ID=7"]
AFTER = [
    "PATH=/bin", "A=two words", "OCICALIBAN_JOB=5", "CUDA_VISIBLE_DEVICES=2", "B=it's", "python", "train.py", "--lr",
    "0.1",
]  # fmt: skip


@pytest.mark.parametrize(
    ("runtime", "tool", "words"),
    [
        (
            "apptainer", "apptainer",
            ["exec", "--cleanenv", "--contain", "--no-home", "--writable-tmpfs", "--pwd", "/usr/app", "--bind",
             "{0}/out:/out", "--bind", "/data set:/data:ro", "--mount",
             'type=bind,"source=/a,""b"":c","destination=/c"', "--nv", "{0}/image.sqfs", "/usr/bin/env", "-i"],
        ),
        (
            "charliecloud", "ch-run",
            ["placed", "/data set", "{0}/local/mounts-0", "ro", '/a,"b":c', "{0}/local/mounts-3", "",
             "--uid=0", "--gid=0", "--no-passwd", "--cd=/usr/app", "-b", "{0}/out:/out", "-b",
             "{0}/local/mounts-0:/data", "-b", "{0}/local/mounts-3:/c", "{0}/image.sqfs", "--", "/usr/bin/env", "-i"],
        ),
    ],
)  # fmt: skip
def test_the_command_line_of_a_runtime(tmp_path: Path, runtime: str, tool: str, words: list[str]) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "image.sqfs").touch()
    placed = 'shift 7; echo placed; n=$(($1 * 3)); shift; printf "%s\\n" "${@:1:n}"; shift $n; exec "$@"'
    for name, text in ((tool, "printf '%s\\n' \"$@\""), ("uname", "echo node"), ("unshare", placed)):
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    done = ran(
        tmp_path,
        settings={"RUNTIME": runtime, "IMAGE": f"{tmp_path}/image.sqfs", "WORKDIR": "/usr/app"},
        lists="ENVIRONMENT=(PATH=/bin 'A=two words') COMMAND=(python train.py) ARGS=(--lr 0.1)"
        " MOUNTS=('/data set' /data ro '/a,\"b\":c' /c '') OWN=(OCICALIBAN_JOB=5) GIVEN=(\"B=it's\")",
        env={"SLURM_JOB_GPUS": "2", "CUDA_VISIBLE_DEVICES": "2"},
    )
    assert done.returncode == 0, done.stderr
    read = (tmp_path / "folder" / "attempt-1.log").read_text().splitlines()
    ports = [line for line in read if "PORT=" in line]
    assert [line.partition("=")[0] for line in ports] == ["OCICALIBAN_PORT", "MASTER_PORT"]
    read = [line for line in read if "PORT=" not in line and not line.startswith("TZ=")]
    place = next((tmp_path / "local").glob("ocicaliban-*")) / "7-1"
    read = [line.replace(str(place), f"{tmp_path}/local") for line in read]
    between = len(SEEN) + len(SLURM)
    assert sorted(read[-between - len(AFTER) : -len(AFTER)]) == sorted(SEEN + SLURM)  # these in any order
    assert read[-len(AFTER) :] == AFTER
    assert read[: -between - len(AFTER)] == [word.format(tmp_path) for word in words]


def test_a_podman_that_cannot_mount_the_image_leaves_it_to_another_runtime(tmp_path: Path) -> None:
    """Nodes of one cluster may differ."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "image.sqfs").touch()
    for name in ("bash", "mkdir", "mv", "cat", "ls", "date", "uname", "id", "tr", "tail", "head", "grep", "wc",
                 "rm", "sleep", "flock", "awk", "readlink", "df", "tee"):  # fmt: skip
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    (tmp_path / "bin" / "ch-run").write_text("#!/bin/bash\necho by charliecloud\n")
    (tmp_path / "bin" / "ch-run").chmod(0o755)
    settings = {"RUNTIME": "", "IMAGE": f"{tmp_path}/image.sqfs"}
    done = ran(tmp_path, settings=settings, env={"PATH": str(tmp_path / "bin")})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "folder" / "attempt-1.log").read_text() == "by charliecloud\n"
    (tmp_path / "bin" / "ch-run").unlink()
    done = ran(tmp_path, key="k2", settings=settings, env={"PATH": str(tmp_path / "bin")})
    assert done.returncode == 125 and "no squashfuse" in done.stderr


def _logged(tmp_path: Path, size: int, limit: int) -> bytes:
    """Return the log of a job that writes so many bytes, with a charliecloud that has so much space for it."""
    (tmp_path / "bin").mkdir(exist_ok=True)
    (tmp_path / "image.sqfs").touch()
    (tmp_path / "bin" / "ch-run").write_text(f"#!/bin/sh\nseq -w 0 9999999 | head -c {size}\n")
    (tmp_path / "bin" / "ch-run").chmod(0o755)
    settings = {"RUNTIME": "charliecloud", "IMAGE": f"{tmp_path}/image.sqfs", "LOG_SIZE": str(limit // 2)}
    done = ran(tmp_path, settings=settings)
    assert done.returncode == 0, done.stderr
    assert [each.name for each in (tmp_path / "folder").iterdir()] == ["attempt-1.log"]
    return (tmp_path / "folder" / "attempt-1.log").read_bytes()


def _written(size: int) -> bytes:
    return "".join(f"{number:07}\n" for number in range(size // 8 + 1)).encode()[:size]


def test_a_log_within_its_limit_is_whole_and_a_longer_one_keeps_its_ends(tmp_path: Path) -> None:
    limit, all_of_it = 16_000, _written(50_000)
    assert _logged(tmp_path, 8_000, limit) == all_of_it[:8_000]
    shutil.rmtree(tmp_path / "marks")
    shutil.rmtree(tmp_path / "folder")
    long = _logged(tmp_path, 50_000, limit)
    lines = [line for line in long.splitlines(keepends=True) if log_parts.is_ours(line.decode())]
    assert lines[1:] == [log_parts.GAP, log_parts.END]
    beginning, _, end = long.partition(lines[0])
    assert beginning == all_of_it[:8_000] and len(long) < limit + 1000
    assert all_of_it.endswith(end.partition(log_parts.GAP)[2].removesuffix(log_parts.END))
    shutil.rmtree(tmp_path / "marks")
    shutil.rmtree(tmp_path / "folder")
    whole = _logged(tmp_path, 15_000, limit).splitlines(keepends=True)
    assert b"".join(line for line in whole if not log_parts.is_ours(line.decode())) == all_of_it[:15_000]


def test_a_job_of_podman_gets_the_gpus_that_slurm_gave_it(tmp_path: Path) -> None:
    done = ran(
        tmp_path,
        podman='case "$*" in *"podman run"*) printf "%s\\n" "$@" >&2; exit 125;; esac',
        env={"SLURM_JOB_GPUS": "1,3"},
    )
    assert done.returncode == 125
    words = (tmp_path / "folder" / "attempt-1.log").read_text().splitlines()
    assert [words[n + 1] for n, word in enumerate(words) if word == "--device"] == [
        "nvidia.com/gpu=1", "nvidia.com/gpu=3",
    ]  # fmt: skip
    assert "CUDA_VISIBLE_DEVICES=0,1" in words  # in the container they are counted from 0


def test_a_command_that_does_not_exist_keeps_its_exit_code(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("Error: executable file `python` not found\n")
    done = ran(tmp_path, podman='case "$*" in *"podman run"*) cat {0}/words >&2; exit 127;; esac')
    assert done.returncode == 127
    seen = shared.ended_from(json.loads((tmp_path / "marks" / "k1.1.ended").read_text(encoding="utf-8")))
    assert seen.code == 127 and "executable file" in seen.fault


@pytest.mark.parametrize("code", [0, 3])
def test_a_job_that_has_ended_at_once_keeps_its_exit_code(tmp_path: Path, code: int) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "image.sqfs").touch()
    (tmp_path / "bin" / "ch-run").write_text(f"#!/bin/sh\nexit {code}\n")
    (tmp_path / "bin" / "ch-run").chmod(0o755)
    # The job has ended before the task looks for it.
    late = 'kill() { while [ "$(jobs -r)" ]; do sleep 0.01; done; builtin kill "$@"; }\n'
    done = ran(
        tmp_path,
        settings={"RUNTIME": "charliecloud", "IMAGE": f"{tmp_path}/image.sqfs"},
        lists=f"{late}ENVIRONMENT=() MOUNTS=() COMMAND=(true) ARGS=()",
    )
    assert done.returncode == code, done.stderr
    assert json.loads((tmp_path / "marks" / "k1.1.ended").read_text())["code"] == code
