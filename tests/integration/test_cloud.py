"""The command cloud and what comes after it, as users call them: against the emulator, a registry and podman."""

from __future__ import annotations

import collections
import contextlib
import functools
import getpass
import json
import os
import platform
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pexpect
import pytest
from attrs import evolve, frozen

from ocicaliban.emulator.faults import Faults
from ocicaliban.emulator.server import Emulator
from ocicaliban.history import access
from ocicaliban.jobs import lease
from ocicaliban.model.job import JobSpec, Submission
from ocicaliban.reporter import SILENT
from ocicaliban.targets.vertex import backend, labels
from tests.folders import notebook, write
from tests.integration.program import CONFIG, Done, call, command, environment, ok, until
from tests.integration.registries import Proxy
from tests.integration.test_vertex import Make, emulator, image, made, registry

__all__ = ["emulator", "image", "registry"]

TRAIN = """\
import argparse, os, sys
parser = argparse.ArgumentParser()
parser.add_argument("--lr", default="0")
parser.add_argument("--fail", default="0")
given = parser.parse_args()
print("version 1 learns at", given.lr)
if os.path.isdir("/out"):
    with open("/out/told", "w") as file:
        file.write(" ".join([os.environ["OCICALIBAN_JOB"], os.environ["OCICALIBAN_GROUP"], *sys.argv[1:]]))
sys.exit(int(given.fail))
"""
NO_GOOGLE = "import sys\nfor name in ('google.auth', 'google.cloud.aiplatform_v1', 'grpc'): sys.modules[name] = None\n"
OPEN = "--tls-verify=false"


@frozen(kw_only=True)
class World:
    """A project with a history of its own, and a registry that tells what it was sent."""

    folder: Path
    env: Mapping[str, str]
    proxy: Proxy

    @property
    def to(self) -> tuple[str, ...]:
        return "--to", f"{self.proxy.host}/me/digits", OPEN

    def call(self, *args: str, env: Mapping[str, str] | None = None) -> Done:
        return call(self.folder, *args, env={**self.env, **(env or {})})

    def ok(self, *args: str, env: Mapping[str, str] | None = None) -> Done:
        return ok(self.folder, *args, env={**self.env, **(env or {})})

    def refused(self, *args: str, env: Mapping[str, str] | None = None) -> str:
        """What is said of a command line that cannot be, when nothing was done."""
        done = self.call(*args, env=env)
        assert done.returncode in (1, 2) and not done.stdout, done.stderr
        assert "Traceback" not in done.stderr and "error: " in done.stderr and " hint: " in done.stderr
        assert not re.search("building|bootstrapping|pushing|submitted", done.stderr), done.stderr
        assert not self.proxy.sent
        with access.open(self.env["OCICALIBAN_DB_URL"]) as known:
            assert not known.submissions()
        return done.stderr

    def begun(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command(*args), cwd=self.folder, env=environment(self.env), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def sweep(self, points: object) -> tuple[str, ...]:
        file = self.folder.parent / "sweep.json"
        file.write_text(json.dumps(points))
        return "--experiment-config", str(file)

    def jobs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.ok("status", "--json", "--max-jobs", "0").stdout)
        return found

    def recorded(self) -> collections.Counter[str]:
        """The statuses as they are on record, without a look at the service."""
        with access.open(self.env["OCICALIBAN_DB_URL"]) as known:
            return collections.Counter(job.status for job in known.jobs())

    def ended(self) -> list[dict[str, Any]]:
        """The jobs, when they have all ended."""
        for _ in range(60):
            jobs = self.jobs()
            if not {"running", "pending", "queued"} & {job["status"] for job in jobs}:
                return jobs
            time.sleep(0.3)
        raise AssertionError(jobs)


def killed(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGKILL)
    child.communicate()


@pytest.fixture(scope="module")
def project(base_lock: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "digits"
    return write(folder, {"ocicaliban.toml": CONFIG, "ocicaliban.lock": base_lock, "train.py": TRAIN})


@pytest.fixture
def world(project: Path, registry: str, tmp_path: Path) -> Iterator[World]:
    folder = tmp_path / "digits"
    write(folder, {path.name: path.read_text() for path in project.iterdir() if path.is_file()})
    (tmp_path / "auth.json").write_text("{}")
    env = {
        "OCICALIBAN_DB_URL": f"sqlite:///{tmp_path}/history.db",
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "REGISTRY_AUTH_FILE": str(tmp_path / "auth.json"),
    }
    proxy = Proxy(registry)
    yield World(folder=folder, env=env, proxy=proxy)
    proxy.stop()


def asked(by: Emulator) -> list[Any]:
    """The jobs as the emulator got them, in their order."""
    return [entry.job for entry in by.jobs.records()]


def container(job: Any) -> Any:
    return job.job_spec.worker_pool_specs[0].container_spec


def _is_logged(logs: Path, words: str) -> bool:
    return words in [path.read_text() for path in logs.glob("*-workerpool0-0.log")]


# --- a job, a sweep ---


def test_an_edit_sends_its_layer_alone_though_the_image_was_pulled_into_the_same_store(
    world: World, tmp_path: Path
) -> None:
    argv = ["dev", "vertex-emulator", "--folder", str(tmp_path / "process")]
    with world.begun(*argv) as emulator_process:
        assert emulator_process.stdout is not None
        try:
            lines = [emulator_process.stdout.readline().removeprefix("export ").strip() for _ in range(6)]
            env = dict(line.split("=", 1) for line in lines)
            sent = []
            for version in range(1, 4):
                (world.folder / "train.py").write_text(TRAIN.replace("version 1", f"version {version}"))
                done = world.ok("cloud", *world.to, "train.py", "--", "--lr", "0.1", env=env)
                assert re.search(r"job \d: https://console\.cloud\.google\.com/vertex-ai/locations/us-c", done.stderr)
                sent.append(world.proxy.sent)
                world.proxy.forget()
                until(functools.partial(_is_logged, tmp_path / "process/logs", f"version {version} learns at 0.1\n"))
            again = world.ok("cloud", *world.to, "train.py", env=env)
            assert not world.proxy.sent and "sent 0" in again.stderr

            def statuses() -> set[str]:
                found = json.loads(world.ok("status", "--json", env=env).stdout)[:3]
                return {job["status"] for job in found}

            until(lambda: statuses() == {"succeeded"})
            assert sent[0] > 1_000_000 and max(sent[1:]) < 20_000
        finally:
            emulator_process.send_signal(signal.SIGINT)


def test_a_sweep_leaves_the_results_of_each_job_in_its_folder(world: World, emulator: Make, tmp_path: Path) -> None:
    by = emulator(parallel=2)
    sweep = world.sweep({"lr": [0.1, 0.2]})
    caliban = ("--project_id", "rehearsal", "--machine_type", "n1-standard-4", "--xgroup", "calm-otter", "--nogpu")
    more = (
        *("--network", "projects/1/global/networks/n", "--service-account", "me@p.iam.gserviceaccount.com"),
        *("--boot-disk", "200", "--spot", "--max-restarts", "0", "--timeout", "90m", "-l", "Team=Vision"),
        *("--name", "night", "--output-dir", "gs://bucket/results/"),
    )
    done = world.ok("cloud", *world.to, *caliban, *more, *sweep, "train.py")
    assert done.stdout == "calm-otter\n" and "calm-otter: submitted 2 of 2" in done.stderr
    jobs = world.ended()
    for job, lr in zip(jobs, (0.1, 0.2), strict=True):
        assert job["status"] == "succeeded" and job["parameters"] == {"lr": lr}
        assert job["out"] == f"gs://bucket/results/calm-otter/{job['key']}"
        told = tmp_path / "gcs" / job["out"].removeprefix("gs://") / "told"
        assert told.read_text() == f"{job['id']} calm-otter --lr {lr}"
    one = min(asked(by), key=lambda each: str(each.labels["lr"]))
    assert dict(one.labels) == {
        labels.JOB_LABEL: jobs[0]["key"], labels.ATTEMPT_LABEL: "1", labels.GROUP_LABEL: "calm-otter",
        "lr": "0_1", "team": "vision",
    }  # fmt: skip
    assert one.display_name == f"night-{jobs[0]['key']}"
    spec, [pool] = one.job_spec, one.job_spec.worker_pool_specs
    assert (spec.network, spec.service_account) == ("projects/1/global/networks/n", "me@p.iam.gserviceaccount.com")
    assert spec.scheduling.timeout.total_seconds() == 5400 and spec.scheduling.disable_retries
    assert spec.scheduling.strategy.name == "SPOT"
    assert (pool.machine_spec.machine_type, pool.disk_spec.boot_disk_size_gb) == ("n1-standard-4", 200)
    assert re.search(r"/me/digits@sha256:\w{64}$", pool.container_spec.image_uri)


def test_a_notebook_in_a_subfolder_runs_in_a_built_image_in_a_sweep_and_in_the_cloud(
    world: World, emulator: Make, tmp_path: Path
) -> None:
    study = notebook("import os; print('saw', lr, open('data.txt').read(), os.getcwd())")
    write(world.folder, {"work/data.txt": "42", "work/study.ipynb": study})
    inside = evolve(world, folder=world.folder / "work")
    image = inside.ok("build", "study.ipynb").stdout.strip()
    assert inside.ok("run", "--image-id", image, "--", "--lr", "3").stdout == "saw 3 42 /usr/app/work\n"
    inside.ok("run", *world.sweep({"lr": [0.5]}), "--out", str(tmp_path / "out"), "study.ipynb")
    [executed] = (tmp_path / "out").rglob("study.ipynb")
    assert "saw 0.5 42" in executed.read_text()
    emulator(parallel=1)
    inside.ok("cloud", *world.to, "--output-dir", "gs://bucket/r", "study.ipynb", "--", "--lr", "5")
    (job,) = (job for job in world.ended() if str(job["out"]).startswith("gs://"))
    assert job["status"] == "succeeded"
    assert "saw 5 42" in (tmp_path / "gcs" / job["out"].removeprefix("gs://") / "study.ipynb").read_text()


def test_what_runs_an_image_that_is_there_builds_and_pushes_nothing(world: World, emulator: Make, image: str) -> None:
    by = emulator()
    key = os.environ["GOOGLE_APPLICATION_CREDENTIALS"]
    gpus = ("--gpu_spec", "2xV100", "--replicas", "2", "--max-restarts", "3")
    done = world.ok(
        "cloud", "--image_tag", image, OPEN, *gpus, "--cloud_key", os.path.relpath(key, world.folder),
        "--output-dir", "gs://bucket/o", "--", "echo hi",
        env={"GOOGLE_CLOUD_PROJECT": ""},
    )  # fmt: skip
    assert "building" not in done.stderr and not world.proxy.asked
    [one] = asked(by)
    chief, rest = one.job_spec.worker_pool_specs
    assert (chief.replica_count, rest.replica_count, chief.container_spec.image_uri) == (1, 1, image)
    assert (chief.machine_spec.accelerator_type.name, chief.machine_spec.accelerator_count) == ("NVIDIA_TESLA_V100", 2)
    assert one.job_spec.scheduling.restart_job_on_worker_restart
    # The image's own entry point goes on after /out has been led to the bucket.
    assert list(chief.container_spec.args) == ["sh", "-c", "echo hi"]
    # What was given as a path from here holds from anywhere.
    with access.open(world.env["OCICALIBAN_DB_URL"]) as known:
        [job] = known.jobs()
    kept = job.submission.options
    assert os.path.isabs(str(kept["cloud_key"])) and os.path.samefile(str(kept["cloud_key"]), key)
    assert kept["project_id"] == "rehearsal"


def test_the_image_of_run_is_the_image_of_the_cloud_and_what_it_starts_goes_with_the_job(
    world: World, emulator: Make
) -> None:
    by = emulator()
    world.ok("run", "train.py", env={"PYTHONDONTWRITEBYTECODE": "1"})
    done = world.ok("cloud", *world.to, "train.py")
    assert "building" not in done.stderr
    write(world.folder, {"other.py": "print('hi')\n"})
    there = asked(by)[0].job_spec.worker_pool_specs[0].container_spec.image_uri
    # By its digest, and what is started is another module, or nothing at all.
    world.ok("cloud", "--image-tag", there, OPEN, "other.py", "--", "--n", "1")
    commands = [(list(spec.command), list(spec.args)) for spec in map(container, asked(by))]
    assert commands == [(["python3", "train.py"], []), (["python3", "other.py"], ["--n", "1"])]
    for args in ((), ("--", "--lr", "0.1")):
        done = world.call("cloud", "--image-tag", there, OPEN, *args)
        assert done.returncode == 2 and "the image has no entry point" in done.stderr and "MODULE" in done.stderr
    assert "no module" in world.call("cloud", "--image-tag", there, OPEN, "absent").stderr
    assert len(asked(by)) == 2


def test_no_credential_is_kept_anywhere(world: World, emulator: Make, tmp_path: Path) -> None:
    by = emulator()
    secret = json.loads(Path(os.environ["GOOGLE_APPLICATION_CREDENTIALS"]).read_text())["private_key"].split("\n")[1]
    done = world.ok("cloud", *world.to, "train.py")
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "key.json"]
    for path in left:
        assert secret.encode() not in path.read_bytes(), path
    assert secret not in done.stdout + done.stderr and "PRIVATE KEY" not in str(asked(by))
    assert not any("key.json" in str(path) for path in world.folder.rglob("*"))
    [one] = asked(by)
    names = {each.name for each in one.job_spec.worker_pool_specs[0].container_spec.env}
    told = ("JOB", "GROUP", "PARAMETERS", "COMMIT", "DIRTY", "IMAGE", "PORT")
    assert names == {f"OCICALIBAN_{name}" for name in told}


def test_without_the_key_that_a_job_was_submitted_with_the_users_own_credentials_count(
    world: World, emulator: Make, image: str
) -> None:
    by = emulator()
    own = Path(os.environ["GOOGLE_APPLICATION_CREDENTIALS"])
    key = world.folder / "robot.json"
    key.write_text(own.read_text())
    world.ok("cloud", "--image-tag", image, OPEN, "--cloud-key", str(key), "--group", "calm-otter", "--", "true")
    key.unlink()
    done = world.ok("status", "--group", "calm-otter")
    assert "no news" not in done.stderr
    world.ok("stop", "--group", "calm-otter")
    world.ok("resubmit", "--group", "calm-otter")
    assert sorted(_states(by)) == ["CANCELLED", "QUEUED"]


def test_a_group_that_another_version_wrote_down_is_told(world: World, emulator: Make, image: str) -> None:
    emulator()
    world.ok("cloud", "--image-tag", image, OPEN, "--group", "calm-otter", "--", "true")
    world.ok("stop", "--group", "calm-otter")
    with contextlib.closing(sqlite3.connect(world.env["OCICALIBAN_DB_URL"].removeprefix("sqlite:///"))) as database:
        for broken in ("json_remove(options, '$.vertex')", "json_set(options, '$.mode', json('[1]'))"):
            with database:
                database.execute(f"update submission set options = {broken}")
            done = world.call("resubmit", "--group", "calm-otter")
            assert done.returncode == 2 and "another version of ocicaliban" in done.stderr, done.stderr
            assert "Traceback" not in done.stderr


# --- never twice, never lost ---


def test_killed_at_any_moment_and_taken_up_again_each_job_is_there_once(
    world: World, emulator: Make, image: str
) -> None:
    by = emulator(Faults(latency=0.2))
    seed = random.randrange(1000)
    print("seed", seed)
    chance = random.Random(seed)
    sweep = world.sweep({"n": list(range(60))})
    child = world.begun("cloud", "--image-tag", image, OPEN, "--group", "calm-otter", *sweep, "--", "true")
    db = Path(world.env["OCICALIBAN_DB_URL"].removeprefix("sqlite:///"))
    # Between the history and the first create.
    until(lambda: db.exists() and world.recorded()["queued"], child)
    killed(child)
    assert world.recorded() == {"queued": 60}
    for goal in (chance.randrange(1, 20), chance.randrange(20, 40)):
        # The quota's refusals spread the creates out, over the time of a kill.
        by.faults.replace(Faults(latency=0.05, per_minute=goal + 3, lost_every=5))
        child = world.begun("resume", "calm-otter")
        until(lambda goal=goal: len(made(by)) >= goal, child)  # type: ignore[misc]
        time.sleep(chance.random() * 0.2)
        killed(child)
    by.faults.replace(Faults(latency=0.05, lost_every=9))
    done = world.ok("resume", "calm-otter")
    assert set(made(by).values()) == {1} and len(made(by)) == 60
    assert world.recorded() == {"pending": 60}
    assert "60 of 60" not in done.stderr  # what had been recorded is not counted again
    again = world.ok("resume", "calm-otter")
    assert "all jobs of calm-otter have been submitted to Vertex AI" in again.stderr and len(asked(by)) == 60
    with access.open(world.env["OCICALIBAN_DB_URL"]) as known:
        names = {job.key: job.last.handle for job in known.jobs() if job.last}
    assert names == {each.labels[labels.JOB_LABEL]: each.name for each in asked(by)}


@pytest.mark.parametrize("group", [("--group", "calm-otter"), ()])
def test_the_same_command_again_goes_on_where_it_was_killed(
    world: World, emulator: Make, image: str, group: tuple[str, ...]
) -> None:
    by = emulator(Faults(per_minute=8))
    argv = ("cloud", "--image-tag", image, OPEN, *group, *world.sweep({"n": list(range(20))}), "--", "true")
    child = world.begun(*argv)
    until(lambda: world.recorded() == {"pending": 8, "queued": 12}, child)
    killed(child)
    by.faults.replace(Faults())
    done = world.ok(*argv)
    [left] = re.findall("the ([0-9]+) jobs that are left are submitted now", done.stderr)
    # What was on its way to the service when the command was killed may have got there afterwards.
    assert 0 < int(left) <= 12 and f"submitted {left} of {left}" in done.stderr
    assert made(by).total() == len(made(by)) == 20 and world.recorded() == {"pending": 20}
    # Killed when it had submitted the last, and not yet told.
    with access.open(world.env["OCICALIBAN_DB_URL"]) as known:
        [one] = known.submissions()
    assert done.stdout == f"{one.group}\n"
    (world.folder.parent / f"state/ocicaliban/submissions/{one.id}-{int(one.created * 1000)}.lock").touch()
    done = world.ok(*argv)
    assert done.stdout == f"{one.group}\n" and "none is submitted twice" in done.stderr and made(by).total() == 20
    # A submission that is complete, or of another sweep, does not go on: these jobs are new.
    world.ok(*argv)
    assert made(by).total() == len(made(by)) == 40


def test_the_same_command_sends_nothing_twice_of_what_has_ended_since_it_was_killed(
    world: World, emulator: Make, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    by = emulator(Faults(latency=1.5), parallel=4)
    killed(_under_way(world, by, image, 4, monkeypatch))
    until(lambda: _states(by) == {"SUCCEEDED": 4})
    by.faults.replace(Faults())
    argv = ("cloud", "--image-tag", image, OPEN, "--group", "calm-otter", *world.sweep({"n": list(range(4))}))
    done = world.ok(*argv, "--", "true")
    assert "none is submitted twice" in done.stderr and "(4 succeeded)" in done.stderr and made(by).total() == 4
    world.ok(*argv, "--", "true")
    assert made(by).total() == len(made(by)) == 8


def test_another_sweep_image_or_a_stop_is_not_what_was_killed(world: World, emulator: Make, image: str) -> None:
    by = emulator(Faults(per_minute=2))
    group = ("--group", "calm-otter")
    argv = ("cloud", "--image-tag", image, OPEN, *group, *world.sweep({"n": [1, 2, 3]}), "--", "true")
    child = world.begun(*argv)
    until(lambda: world.recorded() == {"pending": 2, "queued": 1}, child)
    killed(child)
    by.faults.replace(Faults())
    world.sweep({"n": [1, 2, 4]})
    world.ok(*argv)
    world.sweep({"n": [1, 2, 3]})
    world.ok(*argv[:-1], "false")
    world.ok(*argv[:4], "--label", "a=b", *argv[4:])
    assert made(by).total() == 11 and world.recorded() == {"pending": 11, "queued": 1}
    world.ok("stop", *group)
    world.ok(*argv)
    assert made(by).total() == 14


def test_after_a_ctrl_c_the_rest_can_be_taken_up(world: World, emulator: Make, image: str) -> None:
    by = emulator(Faults(latency=0.1, per_minute=20))
    sweep = world.sweep({"n": list(range(40))})
    child = world.begun("cloud", "--image-tag", image, OPEN, "--group", "calm-otter", *sweep, "--", "true")
    until(lambda: len(made(by)) == 20, child)
    time.sleep(0.3)
    child.send_signal(signal.SIGINT)
    out, said = child.communicate(timeout=60)
    assert child.returncode == 130 and not out and "Traceback" not in said
    assert "20 of 40 jobs were submitted; the others wait: ocicaliban resume calm-otter" in said
    assert world.recorded() == {"pending": 20, "queued": 20}
    by.faults.replace(Faults())
    world.ok("resume", "calm-otter")
    assert set(made(by).values()) == {1} and len(made(by)) == 40 and world.recorded() == {"pending": 40}


def test_what_a_killed_process_had_submitted_is_seen_and_can_be_stopped(
    world: World, emulator: Make, image: str
) -> None:
    by = emulator(Faults(latency=0.5))
    sweep = world.sweep({"n": list(range(5))})
    child = world.begun("cloud", "--image-tag", image, OPEN, "--group", "calm-otter", *sweep, "--", "true")
    db = Path(world.env["OCICALIBAN_DB_URL"].removeprefix("sqlite:///"))
    until(lambda: db.exists() and world.recorded()["queued"], child)
    by.faults.replace(Faults(latency=1.0, per_minute=3))
    until(lambda: len(made(by)) == 3, child)
    killed(child)
    by.faults.replace(Faults())
    done = world.ok("stop", "--group", "calm-otter")
    assert len(done.stdout.splitlines()) == 5
    assert {each.state.name for each in asked(by)} == {"JOB_STATE_CANCELLED"}
    assert [job["status"] for job in world.jobs()] == ["stopped"] * 5


def test_what_takes_effect_after_its_process_was_killed_is_stopped_too(
    world: World, emulator: Make, image: str
) -> None:
    by = emulator(Faults(latency=0.3, lost_every=2, lost_late=2.5))
    sweep = world.sweep({"n": list(range(10))})
    child = world.begun("cloud", "--image-tag", image, OPEN, "--group", "calm-otter", *sweep, "--", "true")
    until(lambda: len(made(by)) > 2, child)
    killed(child)
    world.ok("stop", "--group", "calm-otter")
    assert {job["status"] for job in world.jobs()} == {"stopped"}
    assert len(asked(by)) > 5 and {each.state.name for each in asked(by)} == {"JOB_STATE_CANCELLED"}


def test_stopping_a_group_here_and_there_ends_what_is_here_though_the_cloud_is_away(
    world: World, emulator: Make, image: str
) -> None:
    by = emulator()
    (world.folder / "wait.py").write_text("import time\ntime.sleep(300)\n")
    world.ok("cloud", "--image-tag", image, OPEN, "--group", "calm-otter", *world.sweep({"n": [1, 2]}), "--", "true")
    child = world.begun("run", "--nogpu", "--group", "calm-otter", *world.sweep({"n": [1]}), "wait.py")
    until(lambda: world.recorded() == {"pending": 2, "running": 1}, child)
    away = {"GOOGLE_APPLICATION_CREDENTIALS": str(world.folder / "nowhere.json")}
    done = world.call("stop", "--group", "calm-otter", env=away)
    assert done.returncode == 1 and done.stdout == "3  stopped\n" and "Traceback" not in done.stderr
    assert "cannot be stopped: 1, 2: " in done.stderr and "nowhere.json" in done.stderr
    child.communicate(timeout=60)
    assert world.recorded() == {"pending": 2, "stopped": 1}
    by.jobs.forget()  # as if it had been started again
    assert world.call("stop", "--group", "calm-otter").returncode == 1
    assert world.recorded() == {"lost": 2, "stopped": 1}


_TOOLS = """
from ocicaliban.system import process
from ocicaliban.targets.vertex import client as vertex
for _ in range(30):
    vertex.connect("", "us-central1").look("calm-otter")
    process.run(("true",))
"""


def test_tools_start_after_the_service_was_asked(emulator: Make) -> None:
    # gRPC's own support of forks made a child hang for ever, about every twentieth time.
    emulator()
    env = {name: value for name, value in os.environ.items() if not name.startswith("GRPC_ENABLE")}
    env["PYTHONPATH"] = environment()["PYTHONPATH"]
    subprocess.run([sys.executable, "-c", _TOOLS], env=env, check=True, timeout=100)


def test_local_jobs_are_looked_at_without_a_question_to_the_cloud(world: World, emulator: Make, image: str) -> None:
    emulator()
    world.ok("cloud", "--image-tag", image, OPEN, "--group", "calm-otter", "--", "true")
    world.ok("run", "--nogpu", "--group", "shy-heron", *world.sweep({"lr": [1]}), "train.py")
    env = without_library(world)
    for argv in (("status", "--group", "shy-heron"), ("logs", "2"), ("report", "shy-heron"), ("resume", "shy-heron")):
        assert "Vertex" not in world.ok(*argv, env=env).stderr
    assert "google-cloud-aiplatform" in world.ok("status", "calm-otter", env=env).stderr


def test_what_is_stopped_while_another_process_submits_is_not_sent(world: World, emulator: Make, image: str) -> None:
    by = emulator(Faults(per_minute=5))
    sweep = world.sweep({"n": list(range(30))})
    child = world.begun("cloud", "--image-tag", image, OPEN, "--group", "calm-otter", *sweep, "--", "true")
    until(lambda: len(made(by)) == 5, child)
    until(lambda: world.recorded()["pending"] == 5, child)
    world.ok("stop", "--group", "calm-otter")
    _, said = child.communicate(timeout=30)
    assert child.returncode == 0 and "25 of 30 were stopped meanwhile" in said
    assert len(asked(by)) == 5 and [job["status"] for job in world.jobs()] == ["stopped"] * 30


def _under_way(
    world: World, by: Emulator, image: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> subprocess.Popen[str]:
    """A submission of so many jobs, of which the creates are with the service, which waits out its latency."""
    requests: list[Faults] = []
    now = by.faults.current
    monkeypatch.setattr(by.faults, "current", lambda: (requests.append(now()), now())[1])
    sweep = world.sweep({"n": list(range(count))})
    child = world.begun("cloud", "--image-tag", image, OPEN, "--group", "calm-otter", *sweep, "--", "true")
    until(lambda: len(requests) == 2 + count, child)  # two lists before: the check, and what is there
    return child


def _states(by: Emulator) -> collections.Counter[str]:
    return collections.Counter(each.state.name.removeprefix("JOB_STATE_") for each in asked(by))


def test_what_was_stopped_on_its_way_is_ended_and_can_be_submitted_again(
    world: World, emulator: Make, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    by = emulator(Faults(latency=1.5))
    child = _under_way(world, by, image, 8, monkeypatch)
    world.ok("stop", "--group", "calm-otter")
    child.communicate(timeout=60)
    assert child.returncode == 0 and _states(by) == {"CANCELLED": 8}
    by.faults.replace(Faults())
    world.ok("resubmit", "--group", "calm-otter")
    assert _states(by) == {"CANCELLED": 8, "QUEUED": 8} and world.recorded() == {"pending": 8}
    assert {each.labels[labels.ATTEMPT_LABEL] for each in asked(by)} == {"1", "2"}
    assert all(len(job["attempts"]) == 2 for job in world.jobs())


def test_what_was_stopped_on_its_way_is_ended_though_who_submits_it_is_killed(
    world: World, emulator: Make, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    by = emulator(Faults(latency=1.5))
    child = _under_way(world, by, image, 8, monkeypatch)
    stopping = world.begun("stop", "--group", "calm-otter")
    until(lambda: world.recorded()["stopped"] == 8, child)
    killed(child)
    stopping.communicate(timeout=60)
    assert stopping.returncode == 0 and _states(by)["CANCELLED"] == len(asked(by))
    assert [job["status"] for job in world.jobs()] == ["stopped"] * 8


def test_what_was_stopped_on_its_way_is_ended_by_the_next_stop_where_all_were_killed(
    world: World, emulator: Make, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two commands begin while a create is on its way, on a busy machine too.
    by = emulator(Faults(latency=5.0))
    child = _under_way(world, by, image, 8, monkeypatch)
    stopping = world.begun("stop", "--group", "calm-otter")
    until(lambda: world.recorded()["stopped"] == 8, child)
    killed(child)
    killed(stopping)
    until(lambda: len(asked(by)) == 8)
    assert _states(by) == {"QUEUED": 8}
    by.faults.replace(Faults())
    done = world.ok("stop", "--group", "calm-otter")
    assert len(done.stdout.splitlines()) == 8 and _states(by) == {"CANCELLED": 8}
    assert "all of these jobs have ended" in world.call("stop", "--group", "calm-otter").stderr


def test_what_is_put_on_record_by_who_looks_while_it_is_taken_up_goes_on(
    world: World, emulator: Make, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    by = emulator(Faults(latency=1.5))
    killed(_under_way(world, by, image, 8, monkeypatch))
    until(lambda: len(asked(by)) == 8)
    by.faults.replace(Faults(lists_late=1000))
    monkeypatch.setenv("XDG_STATE_HOME", world.env["XDG_STATE_HOME"])
    with access.open(world.env["OCICALIBAN_DB_URL"]) as known:
        [one] = known.submissions()
        child = world.begun("resume", "calm-otter")
        until(lambda: lease.is_held(one), child)
        # A `status` that asked who is at it a moment before.
        by.faults.replace(Faults())
        backend.BACKEND.observe(known, known.jobs(), SILENT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 0 and "stopped" not in said
    assert _states(by) == {"QUEUED": 8} and world.recorded() == {"pending": 8}


def test_what_is_submitted_again_while_a_stop_looks_for_what_was_on_its_way_goes_on(
    world: World, emulator: Make, image: str
) -> None:
    by = emulator(Faults(per_minute=3))
    points = world.sweep({"n": list(range(10))})
    child = world.begun("cloud", "--image-tag", image, OPEN, "--group", "calm-otter", *points, "--", "true")
    until(lambda: world.recorded()["pending"] == 3, child)
    killed(child)
    by.faults.replace(Faults())
    stopping = world.begun("stop", "--group", "calm-otter")
    until(lambda: _states(by)["CANCELLED"] == 3, stopping)
    stopping.send_signal(signal.SIGSTOP)
    world.ok("resubmit", "--group", "calm-otter")
    stopping.send_signal(signal.SIGCONT)
    _, said = stopping.communicate(timeout=60)
    assert stopping.returncode == 0 and "looking for 5 s" in said
    assert _states(by) == {"CANCELLED": 3, "QUEUED": 10} and len(made(by)) == 10
    assert world.recorded() == {"pending": 10}


def test_nothing_is_submitted_again_while_its_submission_is_under_way(world: World, emulator: Make, image: str) -> None:
    by = emulator(Faults(per_minute=5))
    sweep = world.sweep({"n": list(range(20))})
    child = world.begun("cloud", "--image-tag", image, OPEN, "--group", "calm-otter", *sweep, "--", "true")
    until(lambda: world.recorded()["pending"] == 5, child)
    child.send_signal(signal.SIGSTOP)
    world.ok("stop", "--group", "calm-otter")
    again = world.call("resubmit", "--group", "calm-otter")
    assert again.returncode == 2 and "another ocicaliban" in again.stderr and not again.stdout
    child.send_signal(signal.SIGCONT)
    child.communicate(timeout=60)
    by.faults.replace(Faults())
    world.ok("resubmit", "--group", "calm-otter")
    assert _states(by) == {"CANCELLED": 5, "QUEUED": 20} and len(made(by)) == 20


def test_the_same_command_is_refused_while_it_is_under_way(world: World, emulator: Make, image: str) -> None:
    by = emulator(Faults(per_minute=3))
    argv = ("cloud", "--image-tag", image, OPEN, *world.sweep({"n": list(range(6))}), "--", "true")
    child = world.begun(*argv)
    until(lambda: world.recorded()["pending"] == 3, child)
    child.send_signal(signal.SIGSTOP)
    time.sleep(0.5)  # what the service has already got is refused, too, before it takes everything
    by.faults.replace(Faults())
    again = world.call(*argv)
    assert again.returncode == 2 and "is submitting the same jobs" in again.stderr and not again.stdout
    assert len(asked(by)) == 3 and world.recorded().total() == 6
    child.send_signal(signal.SIGCONT)
    child.communicate(timeout=60)
    assert child.returncode == 0 and made(by).total() == 6
    # Now it has come to its end.
    world.ok(*argv)
    assert made(by).total() == len(made(by)) == 12


def test_a_job_of_which_nobody_can_tell_whether_it_is_there_waits_until_it_is_known(
    world: World, emulator: Make, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    by = emulator(Faults(lost_every=1, latency=0.5))
    child = _under_way(world, by, image, 1, monkeypatch)
    by.faults.replace(Faults(lists_denied=True))
    _, said = child.communicate(timeout=60)
    assert child.returncode == 1 and "it may be there" in said and "PERMISSION_DENIED" in said
    assert "no job of calm-otter" not in said and world.recorded() == {"queued": 1}
    by.faults.replace(Faults())
    world.ok("resume", "calm-otter")
    assert made(by).total() == 1 and world.recorded() == {"pending": 1}


# --- what became of them ---


def test_hundreds_are_seen_by_a_few_lists_and_without_the_service_what_is_known_stays(
    world: World, emulator: Make, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    by = emulator(Faults(latency=0.1))
    sweep = world.sweep({"n": list(range(500))})
    done = world.ok("cloud", "--image-tag", image, OPEN, "--group", "calm-otter", *sweep, "--", "true")
    assert len(asked(by)) == 500 and set(made(by).values()) == {1}
    assert len([line for line in done.stderr.splitlines() if "submitted" in line]) == 10
    pages: list[object] = []
    page = by.jobs.page
    monkeypatch.setattr(by.jobs, "page", lambda *args: (pages.append(args), page(*args))[1])
    shown = world.ok("status").stdout
    assert len(pages) == 5 and "pending (queued)" in shown and "calm-otter: 500 pending" in shown
    by.faults.replace(Faults(denied=True))
    away = world.ok("status")
    assert away.stdout.split("\n")[-2:] == shown.split("\n")[-2:]
    assert "note: no news of calm-otter from us-central1" in away.stderr and "PERMISSION_DENIED" in away.stderr


def test_a_service_out_of_reach_is_noted_and_what_is_known_is_shown(world: World, emulator: Make, image: str) -> None:
    by = emulator()
    world.ok("cloud", "--image-tag", image, OPEN, "--group", "calm-otter", "--", "true")
    by.stop()
    env = {"CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM": "https://localhost:9"}
    done = world.ok("status", env=env)
    assert "no news of calm-otter" in done.stderr and "pending" in done.stdout


def test_what_failed_is_submitted_again_and_with_what_was_edited(world: World, emulator: Make) -> None:
    by = emulator(parallel=2)
    sweep = world.sweep({"fail": [0, 3]})
    world.ok("cloud", *world.to, "--group", "calm-otter", *sweep, "train.py")
    assert [job["status"] for job in world.ended()] == ["succeeded", "failed"]
    assert "non-zero status of 3" in world.jobs()[1]["attempts"][0]["reason"]
    assert world.ok("logs", "2").stdout.startswith("version 1 learns at 0\n")
    world.ok("resubmit", "--group", "calm-otter")
    assert [job["status"] for job in world.ended()] == ["succeeded", "failed"]
    one = asked(by)[2]
    assert len(asked(by)) == 3 and (one.labels["fail"], one.labels[labels.ATTEMPT_LABEL]) == ("3", "2")
    write(world.folder, {"train.py": TRAIN.replace("sys.exit(int(given.fail))", "")})
    world.ok("resubmit", "--group", "calm-otter", "--rebuild")
    assert [job["status"] for job in world.ended()] == ["succeeded", "succeeded"]
    images = [each.job_spec.worker_pool_specs[0].container_spec.image_uri for each in asked(by)]
    assert len(images) == 4 and len({*images[:3]}) == 1 and images[3] != images[0]


def test_an_image_that_was_deleted_is_told_before_jobs_are_submitted_again(
    world: World, emulator: Make, image: str
) -> None:
    emulator()
    proxied = f"{world.proxy.host}/{image.partition('/')[2]}"
    world.ok("cloud", "--image-tag", proxied, OPEN, "--group", "calm-otter", "--", "true")
    world.ok("stop", "--group", "calm-otter")
    world.proxy.order = lambda method, path: 404 if "/manifests/" in path else None
    done = world.call("resubmit", "--group", "calm-otter")
    assert done.returncode == 2 and "the image of calm-otter is not in" in done.stderr
    assert "another --image-tag" in done.stderr
    assert world.recorded() == {"stopped": 1}


def test_of_jobs_that_wait_for_an_image_that_was_deleted_the_way_out_is_told_and_leads_out(
    world: World, emulator: Make
) -> None:
    by = emulator(Faults(latency=0.1, per_minute=3))
    argv = ("cloud", *world.to, "--group", "calm-otter", *world.sweep({"n": list(range(6))}), "train.py")
    child = world.begun(*argv)
    until(lambda: world.recorded() == {"pending": 3, "queued": 3}, child)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)
    by.faults.replace(Faults())
    world.proxy.order = lambda method, path: 404 if "/manifests/" in path else None
    done = world.call("resume", "calm-otter")
    assert done.returncode == 2 and "is not in" in done.stderr
    way = re.search("ocicaliban (stop --group calm-otter), and then ocicaliban (resubmit .*--rebuild)", done.stderr)
    assert way, done.stderr
    world.proxy.order = lambda method, path: None
    assert world.call(*way[1].split()).returncode == 0
    world.ok(*way[2].split())
    assert sorted(made(by).values()) == [1, 1, 1, 2, 2, 2]


def test_what_works_here_alone_needs_no_library(world: World, tmp_path: Path) -> None:
    write(tmp_path / "without", {"sitecustomize.py": NO_GOOGLE})
    env = {"PYTHONPATH": f"{tmp_path / 'without'}{os.pathsep}{environment()['PYTHONPATH']}"}
    here = Submission(
        target="local",
        group="here",
        user=getpass.getuser(),
        host=platform.node(),
        project=str(world.folder),
        mode="run",
    )
    with access.open(world.env["OCICALIBAN_DB_URL"]) as known:
        known.submit(here, [JobSpec()])
    assert "queued" in world.ok("status", env=env).stdout
    points = world.sweep({"lr": [0.1, 0.2]})
    dry = world.ok("cloud", "--dry-run", *points, "train.py", env=env)
    lines = dry.stdout.splitlines()
    jobs = [json.loads(line) for line in lines if not line.startswith("#")]
    assert [job["labels"]["lr"] for job in jobs] == ["0_1", "0_2"] and len({job["display_name"] for job in jobs}) == 2
    [container, _] = [job["job_spec"]["worker_pool_specs"][0]["container_spec"] for job in jobs]
    assert container["command"] == ["python3", "train.py"] and container["args"] == ["--lr", "0.1"]
    assert any("source-copy" in line for line in lines if line.startswith("#"))
    tpu = world.ok("cloud", "--dry-run", "--tpu_spec", "8xV3", "train.py", env=env).stdout.splitlines()[-1]
    assert json.loads(tpu)["job_spec"]["worker_pool_specs"][0]["machine_spec"]["accelerator_type"] == "TPU_V3"
    # But without it nothing is submitted, so nothing is built or pushed either.
    said = world.call("cloud", *world.to, "train.py", env=env).stderr
    assert "google-cloud-aiplatform" in said and not world.proxy.sent


# --- what cannot be ---


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--region", "us-centra1"), "no region 'us-centra1'"),
        (("--gpu-spec", "V100"), "for example --gpu-spec 2xV100"),
        (("--gpu-spec", "2xV100", "--nogpu"), "exclude each other"),
        (("--machine-type", "a2-highgpu-1g", "--gpu-spec", "2xA100"), "these take 2: a2-highgpu-2g"),
        (("--label", "a"), "not of the form KEY=VALUE"),
        (("--label", "Team=a", "--label", "team=b"), "collides with --label Team"),
        (("--label", "ocicaliban-job=a"), "collides with the job's key"),
        (("--timeout", "soon"), "not a length of time"),
        (("--timeout", "9999999999d"), "not a length of time"),
        (("--timeout", "9" * 5000), "not a length of time"),
        (("--network", "mynet"), "not a network's full name"),
        (("--service-account", "nobody"), "not an account's address"),
        (("--gpu-spec", f"{'9' * 20}xT4", "--force"), "not a number"),
        (("--output-dir", "results"), "not a folder in Cloud Storage"),
        (("--tls-verify=maybe",), "neither true nor false"),
        (("--cloud-key", "nowhere.json"), "there is no file"),
        (("--group", "a b"), "is not a valid name for a group"),
        (("--mode", "mounted"), "mounts folders of this machine"),
        (("--mount",), "the cloud cannot mount a folder of this machine"),
        (("--image-tag", "registry.example.org/me/digits"), "--image-tag and --to exclude each other"),
    ],
)
def test_what_cannot_be_is_told_at_once(world: World, args: tuple[str, ...], words: str) -> None:
    config = CONFIG + '[modes]\nmounted = ["base", "source-mount", "entrypoint"]\n'
    write(world.folder, {"ocicaliban.toml": config})
    assert words in world.refused("cloud", *world.to, *args, "train.py")


@pytest.mark.parametrize("option", ["--boot-disk=-5", f"--replicas={'9' * 20}"])
def test_a_number_that_the_service_has_no_room_for_is_wrong_usage(world: World, option: str) -> None:
    done = world.call("cloud", *world.to, option, "train.py")
    assert done.returncode == 2 and "is not in the range" in done.stderr and not world.proxy.asked


def test_an_accelerator_that_nobody_knows_is_told_before_anything_is_built(world: World, emulator: Make) -> None:
    emulator()
    assert "did you mean 'V100'?" in world.refused("cloud", *world.to, "--gpu-spec", "2xV1000", "train.py")


def test_a_job_that_is_larger_than_a_message_is_told(world: World, emulator: Make) -> None:
    emulator()
    said = world.call("cloud", *world.to, *world.sweep({"a": "x" * 6_000_000}), "train.py").stderr
    assert "larger than max" in said and "into a file" in said


def test_a_sweep_that_is_large_by_accident_wants_a_word(world: World) -> None:
    points = world.sweep({"a": list(range(100)), "b": list(range(100))})
    argv = ("cloud", *world.to, *points, "train.py")
    assert "10000 jobs" in world.refused(*argv)
    words = command(*argv)
    terminal = pexpect.spawn(words[0], words[1:], cwd=str(world.folder), env=environment(world.env), timeout=60)
    terminal.expect_exact("submit 10000 jobs?")
    terminal.sendline("n")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 1 and not world.proxy.asked


def test_too_few_replicas_are_none(world: World) -> None:
    done = world.call("cloud", *world.to, "--replicas", "0", "train.py")
    assert done.returncode == 2 and "--replicas" in done.stderr


SLOW = CONFIG + '[layers.apt]\npackages = ["there-is-no-such-package"]\n'


def no_project(world: World) -> dict[str, str]:
    account = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
    file = world.folder.parent / "account.json"
    file.write_text(json.dumps(account))
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(file), "GOOGLE_CLOUD_PROJECT": ""}


def malformed(world: World) -> dict[str, str]:
    file = world.folder.parent / "malformed.json"
    file.write_text("[1]")
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(file)}


def without_library(world: World) -> dict[str, str]:
    write(world.folder.parent / "without", {"sitecustomize.py": NO_GOOGLE})
    path = world.folder.parent / "without"
    return {"PYTHONPATH": f"{path}{os.pathsep}{environment()['PYTHONPATH']}"}


@pytest.mark.parametrize(
    ("faults", "setting", "slow", "words"),
    [
        (Faults(denied=True), None, True, ("PERMISSION_DENIED", "roles/aiplatform.user")),
        (Faults(denied=True), None, False, ("PERMISSION_DENIED", "roles/aiplatform.user")),
        (Faults(), no_project, True, ("no Google Cloud project", "--project-id")),
        (Faults(), malformed, True, ("malformed.json holds no usable credentials", "--cloud-key")),
        (Faults(expired=True), None, True, ("invalid authentication credentials", "--cloud-key")),
        (Faults(), without_library, True, ("client library", "google-cloud-aiplatform")),
    ],
)
def test_what_the_service_would_refuse_is_told_before_anything_is_built_or_sent(
    world: World,
    emulator: Make,
    faults: Faults,
    setting: Callable[[World], dict[str, str]] | None,
    slow: bool,
    words: tuple[str, ...],
) -> None:
    by = emulator(faults)
    if slow:
        write(world.folder, {"ocicaliban.toml": SLOW})
    else:
        world.ok("build", "--mode", "cloud", "train.py")
    said = world.refused("cloud", *world.to, "train.py", env=setting(world) if setting else None)
    assert all(word in said for word in words), said
    assert "pushed" not in said and "packing" not in said and not asked(by)


def test_who_is_refused_reads_of_no_push_though_the_image_is_there(world: World, emulator: Make) -> None:
    by = emulator()
    world.ok("cloud", *world.to, "train.py")
    by.faults.replace(Faults(denied=True))
    said = world.call("cloud", *world.to, "train.py").stderr
    assert "PERMISSION_DENIED" in said and "pushed" not in said


@pytest.mark.parametrize("option", [("-e", "dev"), ("-d", "data"), ("--no-cache",)])
def test_how_an_image_is_made_is_no_matter_of_one_that_is_there(world: World, option: tuple[str, ...]) -> None:
    said = world.refused("cloud", "--image-tag", "registry.example.org/me/digits", *option, "train.py")
    assert "--image-tag and --" in said and "exclude each other" in said


def test_an_accelerator_that_the_library_does_not_know_is_told_before_anything_is_built(
    world: World, emulator: Make
) -> None:
    emulator()
    write(world.folder, {"ocicaliban.toml": SLOW})
    assert "does not know 'NVIDIA_X900'" in world.refused("cloud", *world.to, "--gpu-spec", "1xNVIDIA_X900", "train.py")


@pytest.mark.parametrize(
    ("status", "words"),
    [(404, "does not exist"), (403, "no permission to push to"), (None, "cannot be reached")],
)
def test_what_the_registry_would_refuse_is_told_before_anything_is_built(
    world: World, emulator: Make, status: int | None, words: str
) -> None:
    by = emulator()
    write(world.folder, {"ocicaliban.toml": SLOW})
    world.proxy.order = lambda method, path: status if method == "POST" else None
    to = world.to if status else ("--to", "127.0.0.1:9/me/digits", OPEN)
    assert words in world.refused("cloud", *to, "train.py") and not asked(by)


def test_an_image_that_is_not_in_the_registry_is_told(world: World, emulator: Make, image: str) -> None:
    by = emulator()
    name = f"{world.proxy.host}/digits"
    for gone in (f"{name}@sha256:{'0' * 64}", f"{name}:v9", f"{world.proxy.host}/nothing"):
        assert "the registry has no such image" in world.refused("cloud", "--image-tag", gone, OPEN, "--", "true")
    for digest in ("sha256:12", ""):
        assert "is not a digest" in world.refused("cloud", "--image-tag", f"{name}@{digest}", OPEN, "--", "true")
    world.proxy.order = lambda method, path: 403 if "/manifests/" in path else None
    said = world.refused("cloud", "--image-tag", f"{name}:v9", OPEN, "--", "true")
    assert "no permission to read from" in said
    assert not asked(by)


def test_a_quota_of_nothing_stops_early_and_says_what_to_do(world: World, emulator: Make, image: str) -> None:
    by = emulator(Faults(no_quota=("NVIDIA_TESLA_V100",)))
    sweep = world.sweep({"n": list(range(200))})
    argv = ("--image-tag", image, OPEN, "--group", "calm-otter", "--gpu-spec", "1xV100", *sweep, "--", "true")
    done = world.call("cloud", *argv)
    assert done.returncode == 1 and not done.stdout and not asked(by)
    assert "exceed quota limits" in done.stderr and "iam-admin/quotas?project=rehearsal" in done.stderr
    assert "no job of calm-otter was submitted" in done.stderr and world.recorded() == {"stopped": 200}
    done = world.call("resubmit", "--group", "calm-otter")
    assert done.returncode == 1 and "no job of calm-otter was submitted" in done.stderr
    assert world.recorded() == {"stopped": 200}
    by.faults.replace(Faults())
    world.ok("resubmit", "--group", "calm-otter")
    assert len(made(by)) == 200


def test_what_the_table_contradicts_can_be_forced(world: World, emulator: Make, image: str) -> None:
    by = emulator()
    forced = ("--machine-type", "n1-standard-4", "--gpu-spec", "3xV100", "--force")
    done = world.call("cloud", "--image-tag", image, OPEN, *forced, "--", "true")
    assert "warning: " in done.stderr
    # It is the service's to say now.
    assert done.returncode == 1 and 'not supported for machine type "n1-standard-4"' in done.stderr and not asked(by)


def test_a_fault_that_is_found_while_the_library_is_imported_ends_it_cleanly(world: World, emulator: Make) -> None:
    emulator()
    for _ in range(5):
        done = world.call("cloud", "--to", "127.0.0.1:9/me/digits", OPEN, "train.py")
        assert done.returncode == 1 and "cannot be reached" in done.stderr
        assert done.stderr.rstrip().splitlines()[-1].startswith(" hint: ")


def test_the_project_may_be_gclouds(tmp_path: Path) -> None:
    tool = tmp_path / "gcloud"
    tool.write_text("#!/bin/sh\necho configured-there\n")
    tool.chmod(0o755)
    account = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
    named = tmp_path / "account.json"
    named.write_text(json.dumps(account))
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "GOOGLE_APPLICATION_CREDENTIALS": str(named)}
    code = "from ocicaliban.targets.vertex import client as vertex; print(vertex.connect('', 'us-central1').project)"
    done = subprocess.run([sys.executable, "-c", code], env=environment(env), capture_output=True, text=True)
    assert done.stdout == "configured-there\n", done.stderr
