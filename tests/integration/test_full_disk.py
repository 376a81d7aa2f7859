"""Sweeps on a machine that fails them: a disk that is full, too little memory, signals from nowhere."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, field, frozen

from ocicaliban.containers import podman
from tests.integration.program import Done, built_project, call, command, environment, until

SMALL = Path("/small")
"""A disk of the test container (./bootstrap) that tests may fill."""

JOB = """\
import ctypes, mmap, os, signal, sys, time
what = sys.argv[-1]
print(f"begins {what}", flush=True)
if what == "fill":
    with open("/out/big", "wb", buffering=0) as file:
        try:
            while file.write(b"x" * 65536):
                pass
        except OSError as fault:
            print(fault, flush=True)
if what.startswith("late "):
    what = what.removeprefix("late ")
    while not os.path.exists("/out/go"):
        time.sleep(0.02)
if what == "memory":
    keep = bytearray(1 << 30)
if what == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if what == "shm":
    with open("/dev/shm/big", "wb+") as file:
        file.truncate(200 << 20)
        space = mmap.mmap(file.fileno(), 0)
        for place in range(0, 200 << 20, 4096):
            space[place] = 1
"""


@pytest.fixture(scope="module")
def source(base_lock: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_project(tmp_path_factory.mktemp("source") / "digits", base_lock, JOB)


@frozen(kw_only=True)
class World:
    """A project, and the sweeps that were begun in it."""

    folder: Path
    children: list[subprocess.Popen[str]] = field(factory=list)
    env: Mapping[str, str] = field(factory=dict)

    def call(self, *args: str) -> Done:
        done = call(self.folder, *args, env=self.env)
        assert "Traceback" not in done.stderr
        return done

    def sweep(self, *what: str, options: tuple[str, ...] = ()) -> tuple[str, ...]:
        (self.folder.parent / "sweep.json").write_text(json.dumps([{"do": each} for each in what]))
        given = ("--experiment-config", str(self.folder.parent / "sweep.json"), "--group", "g", *options)
        return "run", *given, "job.py"

    def logs(self) -> list[Path]:
        """What conmon writes of the jobs that run."""
        return [*Path(self.env["XDG_STATE_HOME"]).glob("ocicaliban/jobs/g/*/attempt-1.log.conmon")]

    def begun(self, *what: str, options: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """A sweep whose first job waits."""
        child = subprocess.Popen(
            command(*self.sweep(*what, options=options)), cwd=self.folder, env=environment(self.env),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.children.append(child)
        while not any("begins late" in path.read_text() for path in self.logs()):
            assert child.poll() is None, child.communicate()
            time.sleep(0.02)
        return child

    def let_go(self) -> None:
        """Let the job that waits go on."""
        [late] = [job for job in self.jobs() if job["status"] == "running"]
        Path(late["out"], "go").touch()

    def jobs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.call("status", "--json", "--max-jobs", "0").stdout)
        return sorted(found, key=lambda job: int(job["id"]))


@pytest.fixture
def world(source: Path, tmp_path: Path) -> Iterator[World]:
    shutil.copytree(source, tmp_path / "digits")
    made = World(folder=tmp_path / "digits", env={"XDG_STATE_HOME": str(tmp_path / "state")})
    yield made
    for child in made.children:
        child.kill()
    argv = ["podman", "ps", "--all", "--quiet", "--filter", "label=ocicaliban.group=g"]
    if left := subprocess.run(argv, capture_output=True, text=True).stdout.split():
        subprocess.run(["podman", "rm", "--force", "--time", "0", *left], capture_output=True)


@pytest.fixture
def small() -> Iterator[Path]:
    if not SMALL.is_mount():
        pytest.skip("there is no small disk: ./bootstrap test has one")
    folder = Path(tempfile.mkdtemp(dir=SMALL))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def fill(path: Path) -> None:
    """Leave no room on a disk."""
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass


def test_on_a_full_disk_of_logs_jobs_go_on_and_status_works(world: World, small: Path) -> None:
    env = {"XDG_STATE_HOME": str(small), "OCICALIBAN_DB_URL": str(world.folder.parent / "h.db")}
    world = evolve(world, env=env)
    child = world.begun("late a", "b")
    fill(small / "full")
    world.let_go()
    _, said = child.communicate(timeout=200)
    assert child.returncode == 0, said
    assert said.count("so logs may lack lines") == 1 and f"{small}/" in said and " free disk space: " in said, said
    assert [job["status"] for job in world.jobs()] == ["succeeded"] * 2
    assert world.call("logs", "1").stdout == "begins late a\n"
    (small / "full").unlink()
    done = world.call(*world.sweep("c"))
    assert "may lack lines" not in done.stderr
    assert world.call("logs", str(world.jobs()[-1]["id"])).stdout == "begins c\n"


def test_a_folder_of_results_that_cannot_be_written_any_more_leaves_jobs_queued(world: World) -> None:
    out = world.folder.parent / "out"
    child = world.begun("late a", "b", "c", options=("--out", str(out)))
    (out / "g").chmod(0o500)
    world.let_go()
    _, said = child.communicate(timeout=200)
    (out / "g").chmod(0o700)
    assert child.returncode == 1
    assert said.count("error: ") == 1 and f"error: {out}/g/" in said and "Permission denied" in said, said
    assert "g: 1 succeeded, 2 not finished" in said and "ocicaliban resume g" in said
    done = world.call("resume", "g")
    assert done.returncode == 0, done.stderr
    assert [job["status"] for job in world.jobs()] == ["succeeded"] * 3


def test_a_job_that_fills_the_disk_of_the_history_stops_the_sweep_and_status_works(world: World, small: Path) -> None:
    world = evolve(world, env={"XDG_STATE_HOME": str(small)})
    done = world.call(*world.sweep("none", "fill", "b", "c"))
    assert done.returncode == 1
    assert done.stderr.count("error: ") == 1, done.stderr
    assert f"error: the history {small}/ocicaliban/history.db cannot grow: the disk is full (" in done.stderr
    assert " hint: free disk space: results 2" in done.stderr
    assert "1 job has no end on record" in done.stderr, done.stderr
    shown = world.call("status")
    assert shown.returncode == 0 and " fill" in shown.stdout, shown.stderr
    assert "so this may be out of date; free disk space: results" in shown.stderr
    logs = world.call("logs", str(world.jobs()[1]["id"]))
    assert logs.stdout.startswith("begins fill\n"), logs.stderr
    [big] = small.glob("ocicaliban/jobs/g/*/out/big")
    big.unlink()
    done = world.call("resume", "g")
    assert done.returncode == 0, done.stderr
    assert [job["status"] for job in world.jobs()] == ["succeeded"] * 4
    assert len(list(small.glob("ocicaliban/jobs/g/*/attempt-1.log"))) == 4
    assert not list(small.glob("ocicaliban/jobs/g/*/attempt-2.log"))


@pytest.fixture
def small_store(small: Path) -> Iterator[Mapping[str, str]]:
    """Variables of an image store on the small disk: it has links to the images of the usual one."""
    usual, own = Path.home() / ".local" / "share" / "containers" / "storage", small / "store"
    for name in ("overlay", "overlay/l", "overlay-images", "overlay-layers"):
        (own / name).mkdir(parents=True)
        for path in (usual / name).iterdir():
            if path.name in ("images.json", "layers.json"):
                shutil.copy(path, own / name)
            elif path.is_symlink():
                (own / name / path.name).symlink_to(os.readlink(path))
            elif path.name != "l" and path.suffix not in (".lock", ".json"):
                (own / name / path.name).symlink_to(path)
    runtime = Path(tempfile.mkdtemp(prefix="oc-"))
    roots = f'runroot = "{runtime}/c"\ngraphroot = "{own}"\nrootless_storage_path = "{own}"\n'
    conf = f'[storage]\ndriver = "overlay"\n{roots}'
    try:
        os.setxattr(own, "user.test", b"")
    except OSError:  # the kernel's overlay needs these
        conf += '[storage.options.overlay]\nmount_program = "/usr/bin/fuse-overlayfs"\n'
    (runtime / "storage.conf").write_text(conf)
    (runtime / "containers.conf").write_text('[engine]\nlock_type = "file"\n')  # else it shares the user's locks
    env = {
        "XDG_RUNTIME_DIR": str(runtime),
        "CONTAINERS_STORAGE_CONF": str(runtime / "storage.conf"),
        "CONTAINERS_CONF": str(runtime / "containers.conf"),
    }
    yield env
    subprocess.run(["podman", "rm", "-af", "-t", "0"], env={**os.environ, **env}, capture_output=True)
    subprocess.run(["podman", "unshare", "rm", "-rf", str(own), str(runtime)], capture_output=True)


def test_an_image_store_that_fills_up_in_a_sweep_leaves_jobs_queued(
    world: World, small: Path, small_store: Mapping[str, str]
) -> None:
    world = evolve(world, env={**world.env, **small_store})
    child = world.begun("late a", "b", "c")
    fill(small / "full")
    world.let_go()
    _, said = child.communicate(timeout=200)
    (small / "full").unlink()
    assert child.returncode == 1, said
    assert said.count("error: ") == 1 and "no space left on device" in said.lower(), said
    assert f"{small}/store" in said and " hint: free disk space" in said, said
    assert "g: 1 succeeded, 2 not finished" in said and "ocicaliban resume g" in said, said
    done = world.call("resume", "g")
    assert done.returncode == 0, done.stderr
    assert [job["status"] for job in world.jobs()] == ["succeeded"] * 3
    for job in world.jobs():
        assert world.call("logs", str(job["id"])).stdout.count("begins") == 1


def test_the_machines_faults_are_told_as_such(world: World) -> None:
    limited = "memory" in podman.cgroup_controllers()  # not in the test container of a machine with hybrid cgroups
    what = ["kill", "shm", *(["memory"] if limited else [])]
    options = ("--memory", "100m") if limited else ()
    done = world.call(*world.sweep(*what, options=options))
    assert done.returncode == 1
    expected = [
        "failed after * s: ended by SIGKILL (exit code 137), often for want of memory",
        "failed after * s: ended by SIGBUS (exit code 135), often since /dev/shm is full",
        *(["failed after * s: it ran out of memory (exit code 137)"] if limited else []),
    ]
    for line in expected:
        before, _, after = line.partition("*")
        assert any(before in each and after in each for each in done.stderr.splitlines()), done.stderr
    assert f"g: {len(what)} failed" in done.stderr
    shown = world.call("status").stdout
    assert "failed (137, SIGKILL)" in shown and "failed (135, SIGBUS)" in shown
    assert ("failed (137, out of memory)" in shown) == limited
    # The same where no process of ours sees the end.
    child = world.begun(f"late {what[-1]}", options=options)
    child.send_signal(signal.SIGKILL)
    child.wait()
    world.let_go()
    until(lambda: world.jobs()[-1]["status"] == "failed")
    told = "failed (137, out of memory)" if limited else "failed (135, SIGBUS)"
    assert world.call("status").stdout.count(told) == 2
