"""Jobs at a real Slurm: a cluster of two nodes on this machine, which belongs to the user and has no accounting."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import slurm as chaos
from tests.folders import notebook, write
from tests.integration import program
from tests.integration.slurm_cluster import Slurm, attempts_of, task_of, until


@pytest.fixture(scope="module")
def slurm(base_lock: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    made = Slurm(top=tmp_path_factory.mktemp("slurm"))
    made.start(base_lock)
    try:
        yield made
    finally:
        made.stop()


def test_a_sweep_is_one_array_and_each_end_has_its_status(slurm: Slurm) -> None:
    sweep = [{"what": what} for what in ("passes", "fails", "waits", "waits", "waits")]
    slurm.run("ends", "--retries", "1", sweep=sweep)
    slurm.wait("ends", lambda found: found[0] == "succeeded" and found[2:] == ["running"] * 3)
    passed, failed, requeued, cancelled, stopped = slurm.jobs("ends")
    assert len({task_of(job).split("_")[0] for job in slurm.jobs("ends")}) == 1
    for job in (requeued, cancelled, stopped):
        until(lambda job=job: (Path(str(job["out"])) / "seen").exists())  # type: ignore[misc]
    assert b"says passes 0" in slurm.ok("logs", str(passed["id"])).encode()

    slurm.tool("scontrol", "requeue", task_of(requeued))
    slurm.tool("scancel", task_of(cancelled))
    slurm.ok("stop", str(stopped["id"]))
    slurm.wait("ends", lambda found: found[2:] == ["pending", "stopped", "stopped"])
    for job in (failed, requeued):  # Slurm lets a requeued job wait for two minutes
        slurm.wait("ends", lambda found: found[1] in ("pending", "succeeded"))
        slurm.tool("scontrol", "update", f"JobId={task_of(job)}", "StartTime=now")
    slurm.wait("ends", lambda found: found[:3] == ["succeeded", "succeeded", "running"])
    until(lambda: (Path(str(requeued["out"])) / "runs").read_text() == "2")  # it has found its /out
    slurm.ok("stop", "--group", "ends")
    _, failed, requeued, cancelled, stopped = slurm.jobs("ends")
    for job, attempts in ((failed, ["failed", "succeeded"]), (requeued, ["lost", "stopped"]), (cancelled, ["stopped"])):
        assert attempts_of(job) == attempts
    # Each of them had time to save its state.
    until(lambda: all((Path(str(job["out"])) / "saved").exists() for job in (requeued, cancelled, stopped)))
    assert "length" in slurm.ok("report", "ends")
    # Nothing of the jobs is left on the node.
    root = Path(f"/tmp/ocicaliban-{os.geteuid()}")
    until(lambda: {path.name for path in root.iterdir()} <= {"images", "load.lock", "ports"})


def test_every_runtime_shows_a_job_the_same_and_one_without_a_folder_says_so(slurm: Slurm) -> None:
    config = slurm.project / "ocicaliban.toml"
    before = config.read_text()
    given = slurm.top / "given, two:words"
    given.mkdir()
    (given / "file").write_text("read")
    (slurm.project / "variables").write_text("B=from a file\n")
    (slurm.project / "work").mkdir()
    shutil.copy(slurm.project / "seen.py", slurm.project / "work")
    asked = ("--env", "A=two words\nand a line", "--env-file", "variables", "--workdir", "/usr/app/work",
             "--podman-args", f"--mount 'type=bind,\"source={given}\",target=/some/data,ro'",
             "-v", f"{slurm.project}/variables:/etc/made.d/file")  # fmt: skip
    ways = [("charliecloud", "squashfs"), ("podman", "oci-archive"), ("podman", "squashfs")]
    ways += [("apptainer", "squashfs")] if shutil.which("apptainer") else []
    for runtime, form in ways:
        config.write_text(f'{before}image = "{form}"\n')
        slurm.run(f"{runtime}-{form}", "--runtime", runtime, *asked)
    config.write_text(f'{before}local = "/proc"\n')
    slurm.run("nowhere", "--runtime", "podman")
    config.write_text(before)
    assert [slurm.ended(f"{runtime}-{form}") for runtime, form in ways] == [["succeeded"]] * len(ways)
    jobs = [slurm.jobs(f"{runtime}-{form}")[0] for runtime, form in ways]
    seen = [slurm.seen(job) for job in jobs]
    for one, job in zip(seen, jobs, strict=True):
        env = one["env"]
        assert isinstance(env, dict)
        assert env.pop("OCICALIBAN_JOB") == str(job["id"]) and env.pop("OCICALIBAN_GROUP") == job["group"]
        assert env.pop("OCICALIBAN_PORT") == env.pop("MASTER_PORT") and int(env.pop("OCICALIBAN_IMAGE"), 16)
        assert env.pop("OCICALIBAN_COMMIT") == "" and env.pop("OCICALIBAN_DIRTY") == "false"
        assert env.pop("OCICALIBAN_PARAMETERS") == "{}"
        assert (env["A"], env["B"]) == ("two words\nand a line", "from a file")
    for one in seen[3:]:
        one["uid"] = 0  # apptainer has the user's own id
    assert all(each == seen[0] for each in seen)
    assert seen[0]["args"] == ["two words", "one"] and seen[0]["cwd"] == "/usr/app/work"
    mounts = seen[0]["mounts"]
    assert isinstance(mounts, dict)
    assert mounts == {"/out": "rw", "/some/data": "ro", "/etc/made.d/file": "rw"} and seen[0]["data"] == ["file"]
    assert (given / "file").read_text() == "read"
    # A job that no container was started for says why.
    assert slurm.ended("nowhere") == ["failed"]
    for words in (slurm.ok("status", "nowhere"), slurm.ok("logs", str(slurm.jobs("nowhere")[0]["id"]))):
        assert "/proc" in words and "cannot be" in words
    # What a later run needs is in no record of values, and in no file that others can read.
    stored = next((slurm.top / "state").glob("ocicaliban/slurm/podman-squashfs.*/given"))
    assert stored.stat().st_mode & 0o777 == 0o600
    slurm.ok("resubmit", "podman-squashfs", "--all-jobs")
    assert slurm.ended("podman-squashfs") == ["succeeded"]
    again = slurm.seen(slurm.jobs("podman-squashfs")[0])["env"]
    assert isinstance(again, dict) and again["A"] == "two words\nand a line"


def test_a_notebook_in_a_subfolder_runs_there(slurm: Slurm) -> None:
    study = notebook("import os; print('saw', lr, open('data.txt').read(), os.getcwd())")
    write(slurm.project, {"work/data.txt": "42", "work/study.ipynb": study})
    options = ("--target", "slurm", "--group", "notebook")
    program.ok(slurm.project / "work", "run", *options, "study.ipynb", "--", "--lr", "7", env=slurm.env)
    assert slurm.ended("notebook") == ["succeeded"]
    job = slurm.jobs("notebook")[0]
    assert "saw 7 42 /usr/app/work" in slurm.ok("logs", str(job["id"]))
    assert "saw 7 42" in (Path(str(job["out"])) / "study.ipynb").read_text()


def test_a_submitter_that_is_killed_submits_each_job_once(slurm: Slurm) -> None:
    """Killed at random moments, and run again until it has submitted all; tests.chaos.slurm does that for longer."""
    assert chaos.one_round(slurm, random.Random(os.urandom(4)), "kills", jobs=8, kills=2)[1] == []
