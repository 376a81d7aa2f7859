"""A shell or a notebook on a node: its script and its command line."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from attrs import evolve

from ocicaliban.containers.image_file import ImageFile
from ocicaliban.model.image import Launch
from ocicaliban.targets.slurm import terminal
from ocicaliban.targets.slurm.options import Options
from ocicaliban.targets.slurm.terminal import Session

SESSION = Session(
    key="ab12",
    options=Options(partition="gpu", time="1:00:00", gres="gpu:a100:2", slurm_args=("--exclusive",), memory="1g"),
    image=ImageFile(path="/s/1.sqfs", command=("python",), workdir="/usr/app"),
    launch=Launch(command=("/bin/sh", "-c", "it's $HOME"), env=(("A", "b"),), mounts=("/p:/usr/app",)),
    folder=Path("/s/sessions/ab12"),
)


def test_srun_gets_what_the_job_needs() -> None:
    assert terminal.argv(SESSION) == (
        "srun", "--ntasks=1", "--job-name=ocicaliban-ab12", "--quit-on-interrupt", "--partition=gpu", "--time=1:00:00",
        "--gres=gpu:a100:2", "--mem=1024M", "--exclusive", "bash", "/s/sessions/ab12/script",
    )  # fmt: skip
    assert "--pty" in terminal.argv(evolve(SESSION, terminal=True))


def _ran(tmp_path: Path, runtime: str) -> subprocess.CompletedProcess[str]:
    """Run the script with an apptainer that prints its words, one a line."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "apptainer").write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\nexit 7\n")
    (tools / "apptainer").chmod(0o755)
    (tmp_path / "1.sqfs").touch()
    (tmp_path / "local").mkdir()
    made = evolve(
        SESSION,
        options=Options(runtime=runtime, local=str(tmp_path / "local")),
        image=evolve(SESSION.image, path=str(tmp_path / "1.sqfs")),
    )
    env = {"PATH": f"{tools}:{os.environ['PATH']}", "SLURM_JOB_ID": "7", "TERM": "vt100"}
    return subprocess.run(
        ["bash", "-c", terminal.script(made)], env=env, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_the_container_gets_the_command_and_the_mounts_and_nothing_is_left(tmp_path: Path) -> None:
    done = _ran(tmp_path, "apptainer")
    assert done.returncode == 7, done.stderr
    words = done.stdout.splitlines()
    assert words[words.index("--bind") + 1] == "/p:/usr/app"
    assert {"TERM=vt100", "A=b", "SLURM_JOB_ID=7"} <= {*words} and words[-3:] == ["/bin/sh", "-c", "it's $HOME"]
    assert not [*(tmp_path / "local").glob("*/*")]


def test_charliecloud_is_refused(tmp_path: Path) -> None:
    done = _ran(tmp_path, "charliecloud")
    assert done.returncode == 125 and "--runtime podman" in done.stderr
