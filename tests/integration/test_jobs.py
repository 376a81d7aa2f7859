"""Jobs as users have them: `run` of sweeps and of one job, `status`, `logs`, `stop`, `resume`, `resubmit`, `clean`."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pexpect
import pytest
from attrs import evolve, field, frozen

from ocicaliban.history import access
from ocicaliban.model.job import JobSpec
from tests.folders import write
from tests.integration import postgres
from tests.integration.program import Done, built_project, call, command, environment

# Each start is a line in the job's own folder, which all attempts share: by it a job that ran twice is found out.
JOB = """\
import argparse, json, os, sys, time
parser = argparse.ArgumentParser()
for name in ("x", "y", "fail", "fine-from", "go"):
    parser.add_argument("--" + name, default="")
parser.add_argument("--flag", action="store_true")
parser.add_argument("--sleep", type=float, default=0)
given = parser.parse_args()
tries = 0
if os.path.isdir("/out"):
    with open("/out/ran", "a") as file:
        file.write(json.dumps({"args": sys.argv[1:], "uid": os.getuid(), "env": dict(os.environ)}) + "\\n")
    tries = len(open("/out/ran").readlines())
print("arguments", *sys.argv[1:], flush=True)
while given.go and not os.path.exists(given.go):
    time.sleep(0.02)
time.sleep(given.sleep)
print("the end of attempt", tries, flush=True)
if given.fail and not (given.fine_from and tries >= int(given.fine_from)):
    sys.exit(int(given.fail))
"""


@pytest.fixture(scope="module")
def source(base_lock: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose image is built; the tests' own ones are copies of it, and so have the same image."""
    return built_project(tmp_path_factory.mktemp("source") / "digits", base_lock, JOB)


@frozen(kw_only=True)
class World:
    """A project with a history of its own."""

    folder: Path
    state: Path
    env: Mapping[str, str] = field(factory=dict)

    @property
    def own(self) -> Path:
        return self.state / "ocicaliban"

    def call(self, *args: str, at: Path | None = None, env: Mapping[str, str] | None = None) -> Done:
        return call(at or self.folder, *args, env={**self.env, **(env or {})})

    def ok(self, *args: str, at: Path | None = None, env: Mapping[str, str] | None = None) -> Done:
        done = self.call(*args, at=at, env=env)
        assert done.returncode == 0, done.stderr
        return done

    def refused(self, *args: str, env: Mapping[str, str] | None = None) -> str:
        done = self.call(*args, env=env)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        assert done.stderr.splitlines()[-1].startswith((" hint: ", "error: ")), done.stderr
        return done.stderr

    def begun(self, *args: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command(*args), cwd=self.folder, env=environment({**self.env, **(env or {})}), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def terminal(self, *args: str) -> pexpect.spawn[str]:
        argv = command(*args)
        env = environment({**self.env, "TERM": "xterm-256color"})
        return pexpect.spawn(
            argv[0], argv[1:], cwd=str(self.folder), env=env, dimensions=(30, 120), timeout=60, encoding="utf-8"
        )

    def sweep(self, group: str, points: object, *args: str, script: tuple[str, ...] = ()) -> tuple[str, ...]:
        """The arguments of `run` for a sweep of these points."""
        file = self.folder.parent / f"{group}.json"
        file.write_text(json.dumps(points))
        rest = ("--", *script) if script else ()
        return "run", "--experiment-config", str(file), "--group", group, *args, "job.py", *rest

    def jobs(self, *args: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.ok("status", "--json", "--max-jobs", "0", *args).stdout)
        return found

    def statuses(self, *args: str) -> list[str]:
        return [job["status"] for job in self.jobs(*args)]

    def ran(self, job: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What each start of a job was given."""
        with contextlib.suppress(FileNotFoundError):
            return [json.loads(line) for line in Path(job["out"] or "/nowhere", "ran").read_text().splitlines()]
        return []

    def starts(self) -> int:
        """How many jobs have begun to run, by what they wrote."""
        return sum(len(path.read_text().splitlines()) for path in self.own.glob("jobs/*/*/out/ran"))

    def containers(self) -> list[str]:
        with access.open(f"sqlite://{self.own}/history.db") as known:  # not by `status`, which would change it
            keys = {job.key for job in known.jobs()}
        argv = ["podman", "ps", "--all", "--format", "json", "--filter", "label=ocicaliban.job"]
        found = json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout or "[]")
        return [each["Names"][0] for each in found if each["Labels"]["ocicaliban.job"] in keys]


def until(holds: Callable[[], object]) -> None:
    for _ in range(600):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("it never came to hold")


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and what it wrote to stderr."""
    _, said = process.communicate(timeout=60)
    return process.returncode, said


@pytest.fixture
def world(source: Path, tmp_path: Path) -> Iterator[World]:
    folder = tmp_path / "digits"
    shutil.copytree(source, folder)
    state = tmp_path / "state"
    # /go is seen by the jobs: they can be let wait until it has the file that they are told.
    (tmp_path / "go").mkdir()
    made = World(folder=folder, state=state, env={"XDG_STATE_HOME": str(state)})
    yield made
    for name in made.containers() if (made.own / "history.db").exists() else ():
        subprocess.run(["podman", "rm", "--force", "--time", "0", name], capture_output=True)


def waiting(world: World) -> tuple[str, ...]:
    """Options by which jobs with `--go /go/NAME` wait for that file, and the folder in which it is to be made."""
    return "--podman-args", f"-v {world.folder.parent}/go:/go"


def let_go(world: World, name: str = "all") -> None:
    (world.folder.parent / "go" / name).touch()


# --- run ---


def test_each_point_runs_once_with_its_arguments(world: World) -> None:
    out = world.folder.parent / "results"
    points = {"x": [1, "two words"], "flag": [True, False], "[y,fine-from]": [["a", 1], ["b", 2]]}
    done = world.ok(*world.sweep("g", points, "-j", "4", "--out", str(out), script=("--sleep", "0")))
    assert "g: 8 succeeded" in done.stderr
    assert done.stdout == ""
    jobs = world.jobs("--group", "g")
    expected = [
        ["--sleep", "0", "--x", x, *flag, "--y", y, "--fine-from", n]
        for x in ("1", "two words") for flag in (["--flag"], []) for y, n in (("a", "1"), ("b", "2"))
    ]  # fmt: skip
    assert [job["args"] for job in jobs] == expected
    for job, args in zip(jobs, expected, strict=True):
        assert job["out"] == str(out / "g" / str(job["id"]))
        [ran] = world.ran(job)
        assert ran["args"] == args
        assert ran["env"]["OCICALIBAN_JOB"] == str(job["id"])
        assert ran["env"]["OCICALIBAN_GROUP"] == "g"
        assert {"sleep": 0, **json.loads(ran["env"]["OCICALIBAN_PARAMETERS"])} == job["parameters"]
        assert Path(job["out"], "ran").stat().st_uid == os.getuid()
        assert Path(job["log"]).read_text() == f"arguments {' '.join(args)}\nthe end of attempt 1\n"
    assert world.containers() == []


def test_a_sweep_may_come_by_stdin_and_add_to_a_group(world: World) -> None:
    for option, group in (("--experiment_config", "--xgroup"), ("--experiment-config", "--group")):
        done = subprocess.run(
            command("run", option, "stdin", group, "g", "job.py"), cwd=world.folder, env=environment(world.env),
            input='{"x": [1, 2]}  # both', capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert [(job["args"], job["status"]) for job in world.jobs()] == [
        (["--x", value], "succeeded") for value in ("1", "2", "1", "2")
    ]


def test_a_group_is_named_after_the_folder(world: World) -> None:
    file = world.folder / "sweep.json"
    file.write_text('{"x": 1}')
    world.ok("run", "--experiment-config", "sweep.json", "job.py")
    [job] = world.jobs()
    assert re.fullmatch("digits-[a-z]+-[a-z]+", job["group"])


def test_a_job_that_fails_stops_no_other_and_is_tried_again(world: World) -> None:
    points = [{"x": 1, "fail": 3}, {"x": 2}, {"x": 3, "fail": 4, "fine-from": 2}]
    done = world.call(*world.sweep("g", points, "--retries", "1"))
    assert done.returncode == 1
    assert "2 succeeded, 1 failed" in done.stderr
    failed, fine, late = world.jobs()
    assert [job["status"] for job in (failed, fine, late)] == ["failed", "succeeded", "succeeded"]
    assert [(each["status"], each["exit_code"], each["reason"]) for each in failed["attempts"]] == [
        ("failed", 3, "exit code 3"), ("failed", 3, "exit code 3")
    ]  # fmt: skip
    assert [(each["status"], each["reason"]) for each in late["attempts"]] == [
        ("failed", "exit code 4"), ("succeeded", "")
    ]  # fmt: skip
    number = str(failed["id"])
    assert world.ok("logs", number).stdout.endswith("the end of attempt 2\n")
    assert world.ok("logs", number, "--attempt", "1").stdout.endswith("the end of attempt 1\n")
    assert "has no attempt 7" in world.refused("logs", number, "--attempt", "7")
    assert "there is no job 77" in world.refused("logs", "77")
    shown = world.ok("status").stdout
    assert re.search(rf"^{number} +g +failed \(3\), attempt 2 .* job\.py --x 1 --fail 3$", shown, re.M)
    assert "g: 2 succeeded, 1 failed" in shown


def test_fail_fast_leaves_the_rest(world: World) -> None:
    done = world.call(*world.sweep("g", {"fail": [3, 4, 5]}, "--fail-fast"))
    assert done.returncode == 1
    assert world.statuses() == ["failed", "queued", "queued"]
    assert world.starts() == 1
    assert "ocicaliban resume g" in done.stderr


def test_a_dry_run_is_a_script_and_does_nothing(world: World) -> None:
    out = world.folder.parent / "results"
    before = sorted(world.folder.rglob("*"))
    done = world.ok(*world.sweep("g", {"x": [1, "two words"]}, "--dry-run", "--retries", "1"))
    assert not (world.own / "history.db").exists()
    assert not out.exists()
    assert sorted(world.folder.rglob("*")) == before
    env = environment(world.env)
    # The script calls the program by its name.
    text = f'#!/bin/sh\nexec {command("x")[0]} -m ocicaliban "$@"\n'
    there = write(world.folder.parent / "bin", {"ocicaliban": text})
    (there / "ocicaliban").chmod(0o755)
    env["PATH"] = f"{there}:{env['PATH']}"
    ran = subprocess.run(["sh", "-c", done.stdout], cwd=world.folder, env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert [line for line in ran.stdout.splitlines() if "arguments" in line] == [
        "arguments --x 1", "arguments --x two words"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--group", "a/b"), "is not a valid name for a group"),
        (("--jobs", "0"), "--jobs 0"),
        (("--jobs", "-2"), "--jobs -2"),
        (("--memory", "x"), "--memory x"),
        (("--memory", "0"), "--memory 0"),
        (("--cpus", "0"), "--cpus 0"),
        (("--cpus", "nan"), "--cpus nan"),
        (("--retries", "-1"), "--retries -1"),
        (("--gpus-per-job", "0"), "--gpus-per-job 0"),
        (("--gpus-per-job", "1"), "--gpus-per-job 1"),
        (("--podman-args", "--name mine"), "--name"),
        (("--podman-args", "-d --rm"), "-d cannot be given"),
        (("--podman-args", "-e NOT_SET_ANYWHERE"), "NOT_SET_ANYWHERE"),
        (("--cloud-key", "nowhere.json"), "there is no file"),
        (("--out", "/proc/there"), "you cannot write in /proc"),
        (("--out", "job.py/there"), "is not a folder"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_is_refused_before_anything_is_done(world: World, options: tuple[str, ...], said: str) -> None:
    assert said in world.refused(*world.sweep("g", {"x": [1, 2]}, *options))
    # A group without jobs, or jobs that nobody runs, would be left.
    assert not (world.own / "history.db").exists() or world.jobs() == []


def test_a_dry_run_refuses_what_a_run_would(world: World) -> None:
    for options in (("--jobs", "0"), ("--podman-args", "--rm"), ("--group", "a/b")):
        assert options[1] in world.refused(*world.sweep("g", {"x": [1, 2]}, *options, "--dry-run"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--jobs", "0"), "--jobs needs a sweep"),
        (("--retries", "1"), "--retries needs a sweep"),
        (("--group", "a b"), "is not a valid name for a group"),
    ],
)
def test_what_is_for_sweeps_is_refused_for_a_single_run(world: World, options: tuple[str, ...], said: str) -> None:
    assert said in world.refused("run", *options, "job.py")


def test_a_folder_of_results_that_cannot_be_is_told_at_once(world: World) -> None:
    file = world.folder / "job.py"
    for out, why in ((str(file), f"{file} is not a folder"), ("/nowhere/out", "you cannot write in /"), ("/", "")):
        for args in (world.sweep("g", {"x": 1}), ("run", "job.py")):
            assert f"--out {out}: {why}" in world.refused(*args[:1], "--out", out, *args[1:])
    assert not world.own.joinpath("history.db").exists()


def test_a_wrong_sweep_file_is_told_with_its_place(world: World) -> None:
    said = world.refused(*world.sweep("g", {"x": {"y": 1}}))
    assert "g.json:1:2: 'x' holds an object" in said
    assert "nowhere.json" in world.refused("run", "--experiment-config", "nowhere.json", "job.py")
    assert not world.own.joinpath("history.db").exists()


def test_no_secret_is_kept(world: World, tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    key.write_text('{"private_key": "k3y-s3cret"}')
    cache = tmp_path / "cache"
    env = {"XDG_CACHE_HOME": str(cache), "PASSED_ON": "s3cret-passed", "TOKEN": "s3cret-t0ken"}
    given = ("--podman-args", f"-v {tmp_path}/go:/go -e TOKEN=s3cret-t0ken --env=OTHER=s3cret-other -e PASSED_ON")
    file = tmp_path / "sweep.json"
    file.write_text('{"x": [1]}')
    options = (*given, "--cloud-key", str(key))
    world.ok("run", "--experiment-config", str(file), "--group", "g", *options, "job.py", env=env)
    world.ok("run", "--group", "g", *options, "job.py", env=env)
    world.ok("run", *options, "job.py", env=env)
    world.ok("run", *options, "job.py", env=env)
    env["OTHER"] = "s3cret-other"
    world.ok("resubmit", "--group", "g", "--all-jobs", env=env)
    jobs = world.jobs("--group", "g")
    assert [len(world.ran(job)) for job in jobs] == [2, 2]
    for job in jobs:
        for ran in world.ran(job):
            given_env = ran["env"]
            assert given_env["TOKEN"] == "s3cret-t0ken"
            assert given_env["OTHER"] == "s3cret-other"
            assert given_env["PASSED_ON"] == "s3cret-passed"
            assert given_env["GOOGLE_APPLICATION_CREDENTIALS"] == "/run/secrets/cloud-key.json"
    for job in world.jobs():
        Path(job["out"], "ran").unlink()  # the job itself wrote them there
    found = subprocess.run(["grep", "-rlaE", "s3cret", str(world.state), str(cache)], capture_output=True, text=True)
    assert found.stdout == ""
    shown = world.ok("status", "--json", env=env).stdout
    assert "s3cret" not in shown
    del env["TOKEN"]
    said = world.refused("resubmit", "--group", "g", "--all-jobs", env=env)
    assert "TOKEN, which is not set" in said
    assert set(world.statuses("--group", "g")) == {"succeeded"}


def test_the_state_folder_may_have_any_name(world: World) -> None:
    state = world.folder.parent / 'täte: a, "b"'
    other = World(folder=world.folder, state=state, env={"XDG_STATE_HOME": str(state)})
    other.ok(*other.sweep("g", {"x": [1, 2]}))
    other.ok(*other.sweep("h", {"x": [1, 2]}, "--podman-args", "--env A=1"))
    assert [len(other.ran(job)) for job in other.jobs()] == [1] * 4


def test_a_projects_path_may_have_bytes_that_are_no_text(world: World) -> None:
    folder = Path(os.fsdecode(os.fsencode(world.folder.parent) + b"/p\xff"))
    shutil.copytree(world.folder, folder)
    world.ok("run", "job.py", "--", "--x", "1", at=folder)
    assert [job["status"] for job in world.jobs()] == ["succeeded"]
    assert "job.py --x 1" in world.ok("status").stdout


# --- status, and single runs ---


def test_status_tells_what_there_is(world: World) -> None:
    assert world.ok("status").stdout == "no jobs yet\n"
    assert world.ok("status", "--json").stdout == "[]\n"
    world.ok(*world.sweep("digits-one", {"x": [1, 2, 3]}, "-j", "3"))
    world.ok("run", "--group", "other", "job.py", "--", "--x", "4")
    newest = world.ok("status").stdout
    assert "other: 1 succeeded" in newest and "digits-one" not in newest
    lines = world.ok("status", "--all").stdout.splitlines()
    assert lines[0].split() == ["JOB", "GROUP", "STATUS", "TIME", "STARTED", "ARGUMENTS"]
    assert [line.split()[1] for line in lines[1:5]] == ["digits-one"] * 3 + ["other"]
    assert lines[-2:] == ["", "digits-one: 3 succeeded"]
    assert len(world.ok("status", "--max-jobs", "2").stdout.splitlines()) == 5
    assert [job["group"] for job in world.jobs("--group", "other")] == ["other"]
    assert len(world.jobs("--all-users")) == 4
    said = world.refused("status", "--group", "digits-on")
    assert "there is no group 'digits-on'" in said
    assert "digits-one" in said.splitlines()[-1]
    assert "exclude" in world.refused("status", "--watch", "--json")
    at_terminal = world.terminal("status", "--watch", "--all")
    at_terminal.expect("digits-one: 3 succeeded")
    at_terminal.sendcontrol("c")
    at_terminal.expect(pexpect.EOF)
    at_terminal.close()
    assert at_terminal.exitstatus == 130
    piped = world.begun("status", "--watch", "--group", "other")
    assert piped.stdout
    seen = [piped.stdout.readline() for _ in range(4)]
    assert "other: 1 succeeded\n" in seen
    piped.send_signal(signal.SIGINT)
    code, said = ended(piped)
    assert (code, said) == (130, "")
    closed = world.begun("status", "--watch")
    assert closed.stdout
    closed.stdout.readline()
    closed.stdout.close()
    closed.stdout = None
    assert closed.wait(timeout=60) in (1, 141, 120, -13)
    assert "Traceback" not in closed.stderr.read() if closed.stderr else True


def test_single_runs_turn_up(world: World) -> None:
    world.ok("run", "job.py", "--", "--x", "1")
    time.sleep(2.1)  # files that are younger cannot be trusted: only then a run is replayed
    world.ok("run", "job.py", "--", "--x", "1")
    world.ok("run", "job.py", "--", "--x", "2")
    assert world.call("run", "job.py", "--", "--fail", "3").returncode == 3
    jobs = world.jobs()
    assert [(job["args"], job["status"], job["exit_code"]) for job in jobs] == [
        (["--x", "1"], "succeeded", 0),
        (["--x", "1"], "succeeded", 0),
        (["--x", "2"], "succeeded", 0),
        (["--fail", "3"], "failed", 3),
    ]
    assert jobs[0]["submission"]["module"] == "job.py"
    assert jobs[0]["submission"]["image"] == jobs[1]["submission"]["image"]
    assert {job["group"] for job in jobs} == {jobs[0]["group"]}
    for job, x in zip(jobs, ("1", "1", "2"), strict=False):
        assert job["parameters"] == {"x": int(x)}
        assert world.ok("logs", str(job["id"])).stdout.startswith(f"arguments --x {x}\n")
        assert Path(job["out"]).is_dir()
    assert len({job["out"] for job in jobs}) == 4
    ran = json.loads(Path(jobs[1]["out"], "ran").read_text())["env"]  # a replay
    assert ran["OCICALIBAN_JOB"] == jobs[1]["key"] and ran["OCICALIBAN_GROUP"] == jobs[1]["group"]
    assert ran["OCICALIBAN_IMAGE"] == jobs[1]["submission"]["image"] and int(ran["MASTER_PORT"]) > 1024
    assert world.ok("logs", "--failed").stdout.startswith(f"==> job {jobs[3]['id']}, failed (3)")
    assert world.ok("get", "last", "copy").stdout == "copy\n" and (world.folder / "copy/ran").is_file()


def test_a_single_run_is_seen_while_it_runs_and_after_a_kill(world: World) -> None:
    """A Ctrl-C is the script's; a kill leaves its container, whose result nobody hears of."""
    first = world.begun("run", *waiting(world), "job.py", "--", "--go", "/go/all")
    assert first.stdout
    assert "arguments" in first.stdout.readline()
    until(lambda: world.statuses() == ["running"])
    os.killpg(first.pid, signal.SIGINT)
    assert ended(first)[0] == 130
    assert world.jobs()[0]["status"] == "failed"
    assert world.jobs()[0]["exit_code"] == 130

    second = world.begun("run", *waiting(world), "job.py", "--", "--go", "/go/all")
    assert second.stdout
    assert "arguments" in second.stdout.readline()
    until(lambda: world.statuses()[1:] == ["running"])
    second.kill()
    second.wait()
    assert world.statuses()[1:] == ["running"]
    let_go(world)
    until(lambda: world.statuses()[1:] == ["lost"])
    assert "nothing will start" not in world.ok("status").stdout


def test_a_job_whose_container_was_removed_by_hand_does_not_run(world: World) -> None:
    sweep = world.begun(*world.sweep("g", {"x": [1]}, *waiting(world), script=("--go", "/go/all")))
    until(world.starts)
    sweep.kill()
    sweep.wait()
    [name] = world.containers()
    assert world.statuses() == ["running"]
    subprocess.run(["podman", "rm", "--force", "--time", "0", name], check=True, capture_output=True)
    assert world.statuses() == ["queued"]
    shown = world.ok("status").stdout
    assert "has queued jobs that nothing will start" in shown
    assert "g has queued jobs that nothing will start; to start them: ocicaliban resume g" in shown
    let_go(world)
    world.ok("resume", "g")
    [job] = world.jobs()
    assert [each["status"] for each in job["attempts"]] == ["lost", "succeeded"]


# --- logs ---


def test_following_a_log_ends_with_the_job(world: World) -> None:
    sweep = world.begun(*world.sweep("g", {"x": [1]}, *waiting(world), script=("--go", "/go/all")))
    until(world.starts)
    number = str(world.jobs()[0]["id"])
    follower = world.begun("logs", "-f", number)
    assert follower.stdout
    assert follower.stdout.readline() == "arguments --go /go/all --x 1\n"
    assert world.ok("logs", number).stdout == "arguments --go /go/all --x 1\n"
    let_go(world)
    assert follower.stdout.read() == "the end of attempt 1\n"
    assert follower.wait(timeout=30) == 0
    assert ended(sweep)[0] == 0


# --- stop ---


def test_stopping_while_another_process_runs_the_sweep(world: World) -> None:
    points = {"x": [1, 2, 3, 4]}
    sweep = world.begun(
        *world.sweep("g", points, "-j", "2", "--retries", "2", *waiting(world), script=("--go", "/go/all"))
    )
    until(lambda: world.starts() == 2)
    would = world.ok("stop", "--group", "g", "--dry-run").stdout
    assert [line.split(None, 1)[1] for line in would.splitlines()] == [
        "running, would be stopped", "running, would be stopped", "queued, would be stopped", "queued, would be stopped"
    ]  # fmt: skip
    first, *_, last = world.jobs()
    assert world.ok("stop", str(first["id"])).stdout == f"{first['id']}  stopped\n"
    until(lambda: world.starts() == 3)
    assert world.ok("stop", str(last["id"])).stdout == f"{last['id']}  stopped\n"
    world.ok("stop", "--group", "g")
    code, said = ended(sweep)
    assert code == 1
    assert "g: 4 stopped" in said
    jobs = world.jobs()
    assert [job["status"] for job in jobs] == ["stopped"] * 4
    assert [len(job["attempts"]) for job in jobs] == [1, 1, 1, 0]
    assert "stopped by" in jobs[0]["attempts"][0]["reason"]
    assert world.containers() == []
    assert "all of these jobs have ended" in world.ok("stop", "--group", "g").stderr
    assert "there is no group 'h'" in world.refused("stop", "--group", "h")
    assert "there is no job 99" in world.refused("stop", "99")
    assert "say which jobs" in world.refused("stop")


def test_stopping_what_a_killed_process_left(world: World) -> None:
    sweep = world.begun(*world.sweep("g", {"x": [1, 2, 3]}, "-j", "2", *waiting(world), script=("--go", "/go/all")))
    until(lambda: world.starts() == 2)
    sweep.kill()
    sweep.wait()
    stopped = world.ok("stop", "--group", "g").stdout.splitlines()
    assert sorted(line.split()[1] for line in stopped) == ["stopped"] * 3
    jobs = world.jobs()
    assert [job["status"] for job in jobs] == ["stopped"] * 3
    assert world.containers() == []
    assert world.ok("logs", str(jobs[0]["id"])).stdout == "arguments --go /go/all --x 1\n"
    assert "all jobs have ended" in world.ok("resume", "g").stderr


def test_a_single_run_can_be_stopped_from_elsewhere(world: World) -> None:
    for options in ((), ("--group", "g")):
        run = world.begun("run", *options, *waiting(world), "job.py", "--", "--go", "/go/all")
        assert run.stdout
        assert "arguments" in run.stdout.readline()
        until(lambda: "running" in world.statuses())
        number = str(world.jobs()[-1]["id"])
        assert world.ok("stop", number).stdout == f"{number}  stopped\n"
        assert ended(run)[0] == 143
        assert world.jobs()[-1]["status"] == "stopped"
    assert world.containers() == []


def test_a_stop_that_is_killed_leaves_no_job_running(world: World) -> None:
    # The shell ignores SIGTERM, and says when it does.
    script = ("trap '' TERM; echo >>/out/ran; while :; do sleep 0.1; done",)
    (world.folder / "deaf.sh").write_text(f"#!/bin/sh\n{script[0]}\n")
    (world.folder / "deaf.sh").chmod(0o755)
    sweep = world.begun(*world.sweep("g", {"x": [1, 2]}, "-j", "2")[:-1], "deaf.sh")
    until(lambda: world.starts() == 2)
    stop = world.begun("stop", "--group", "g")
    until(lambda: "stopped" in world.statuses())
    time.sleep(0.5)  # in the midst of the ten seconds
    stop.kill()
    again = world.ok("stop", "--group", "g")
    assert "running" not in again.stdout
    code, _ = ended(sweep)
    assert (code, world.containers()) == (1, [])
    assert world.statuses() == ["stopped"] * 2
    assert "all of these jobs have ended" in world.ok("stop", "--group", "g").stderr


def test_what_runs_though_it_was_stopped_is_found_by_the_next_stop(world: World) -> None:
    sweep = world.begun(*world.sweep("g", {"x": [1, 2]}, "-j", "2", *waiting(world), script=("--go", "/go/all")))
    until(lambda: world.starts() == 2)
    sweep.kill()
    sweep.wait()
    with access.open(str(world.own / "history.db")) as known:  # as a stop that is killed at once leaves it
        for job in known.jobs():
            known.end(job.id, 1, "stopped", ended=time.time())
    numbers = [str(job["id"]) for job in world.jobs()]
    would = world.ok("stop", *numbers, "--dry-run").stdout.splitlines()
    assert would == [f"{number}  stopped, but it runs; would be stopped" for number in numbers]
    assert len(world.containers()) == 2
    assert "but it runs: stopped" in world.ok("stop", "--group", "g").stdout
    assert world.containers() == []


def test_numbers_that_no_job_can_have_are_told(world: World) -> None:
    for number in ("0", "9" * 30):
        assert f"there is no job {number}" in world.refused("stop", number)
        assert f"there is no job {number}" in world.refused("logs", number)
    assert world.ok("status", "--max-jobs", "9" * 30).stdout == "no jobs yet\n"


# --- resubmit ---


def test_what_failed_or_was_stopped_runs_again(world: World) -> None:
    points = [{"x": 1}, {"x": 2, "fail": 3, "fine-from": 2}, {"x": 3, "fail": 4}]
    assert world.call(*world.sweep("g", points)).returncode == 1
    elsewhere = world.folder.parent
    would = world.ok("resubmit", "--group", "g", "--dry-run", at=elsewhere).stdout
    assert [line.split(None, 1)[1] for line in would.splitlines()] == [
        "failed, would run again: job.py --x 2 --fail 3 --fine-from 2",
        "failed, would run again: job.py --x 3 --fail 4",
    ]
    assert world.starts() == 3
    assert world.call("resubmit", "--group", "g", at=elsewhere).returncode == 1
    first, second, third = world.jobs()
    assert [job["status"] for job in (first, second, third)] == ["succeeded", "succeeded", "failed"]
    assert [len(world.ran(job)) for job in (first, second, third)] == [1, 2, 2]
    (world.folder / "job.py").write_text("print('edited')\n")
    done = world.ok("resubmit", "--group", "g", "--rebuild", at=elsewhere)
    assert "1 job again" in done.stderr
    [_, _, now] = world.jobs()
    assert now["status"] == "succeeded"
    assert world.ok("logs", str(now["id"])).stdout == "edited\n"
    assert now["submission"]["plan_key"] != first["submission"]["plan_key"]
    assert "no job has failed" in world.ok("resubmit", "--group", "g").stderr
    assert "there is no group 'gg'" in world.refused("resubmit", "--group", "gg")
    assert "say which group" in world.refused("resubmit")


def test_without_its_image_a_job_needs_a_rebuild(world: World) -> None:
    (world.folder / "job.py").write_text("import sys\nsys.exit(3)  # " + str(random.random()) + "\n")
    assert world.call(*world.sweep("g", {"x": 1})).returncode == 1
    image = world.jobs()[0]["submission"]["image"]
    subprocess.run(["podman", "image", "rm", image], check=True, capture_output=True)
    said = world.refused("resubmit", "--group", "g")
    assert f"the image {image[:12]} of g does not exist any more" in said
    assert "resubmit --group g --rebuild" in said
    assert world.statuses() == ["failed"]
    (world.folder / "job.py").write_text("print('mended')\n")
    world.ok("resubmit", "--group", "g", "--rebuild")
    assert world.statuses() == ["succeeded"]


def test_the_image_that_was_named_is_kept_by_its_id(world: World) -> None:
    """A name may be another image's by the time jobs run again."""
    image = world.ok("build", "job.py").stdout.strip()
    name = f"localhost/named-{world.folder.parent.name.lower()}"
    subprocess.run(["podman", "tag", image, name], check=True)
    assert world.call(*world.sweep("g", {"fail": 3}, "--image-id", name)).returncode == 1
    subprocess.run(["podman", "untag", image, name], check=True)
    assert world.call("run", "--group", "g", "--image-id", image[:12], "job.py", "--", "--fail", "3").returncode == 3
    assert [job["submission"]["image"] for job in world.jobs()] == [image, image]
    assert world.call("resubmit", "--group", "g").returncode == 1
    assert [len(world.ran(job)) for job in world.jobs()] == [2, 2]
    assert "there is no image" in world.refused(*world.sweep("g", {"fail": 3}, "--image-id", name))


def test_an_image_that_has_lost_its_name_runs_again(world: World) -> None:
    image = world.ok("build", "job.py").stdout.strip()
    name = f"localhost/lost-{world.state.parent.name.replace('_', '-').lower()}:v1"
    subprocess.run(["podman", "tag", image, name], check=True)
    points = world.sweep("g", {"x": 1})
    assert world.call(*points[:-1], "--image-id", name, "--", "false").returncode == 1
    subprocess.run(["podman", "untag", image, name], check=True)
    assert world.jobs()[0]["submission"]["image"] == image
    assert "1 failed" in world.call("resubmit", "--group", "g").stderr


def test_a_single_run_can_run_again(world: World) -> None:
    assert world.call("run", "job.py", "--", "--fail", "3").returncode == 3
    [job] = world.jobs()
    assert world.call("resubmit", "--group", job["group"]).returncode == 1
    [job] = world.jobs()
    assert [each["exit_code"] for each in job["attempts"]] == [3, 3]
    assert world.ok("logs", str(job["id"])).stdout.startswith("arguments --fail 3\n")


# --- resume ---


def test_whatever_is_left_by_kills_is_taken_up_and_runs_once(world: World) -> None:
    args = world.sweep("g", {"x": list(range(8)), "sleep": 0.2}, "-j", "2")
    chance = random.Random(4)
    process = world.begun(*args)
    until(lambda: world.own.joinpath("history.db").exists())
    for _ in range(4):
        time.sleep(chance.uniform(0.2, 2.0))
        process.kill()
        process.wait()
        process = world.begun("resume", "g")
    code, said = ended(process)
    if "there is no group" in said:  # it was killed before anything was on record
        world.ok(*args)
    else:
        assert code == 0, said
    jobs = world.jobs()
    assert [job["status"] for job in jobs] == ["succeeded"] * 8
    assert sorted(ran["args"][1] for job in jobs for ran in world.ran(job)) == [str(n) for n in range(8)]
    assert world.containers() == []
    again = world.ok("resume", "g")
    assert "g: all jobs have ended" in again.stderr
    assert "there is no group 'x'" in world.refused("resume", "x")


def test_after_a_ctrl_c_the_rest_can_be_taken_up(world: World) -> None:
    sweep = world.begun(*world.sweep("g", {"x": [1, 2, 3]}, "-j", "2", *waiting(world), script=("--go", "/go/all")))
    until(lambda: world.starts() == 2)
    running = world.ok("resume", "g")
    assert "another ocicaliban runs 3 jobs of g" in running.stderr
    assert "all jobs have ended" not in running.stderr
    os.killpg(sweep.pid, signal.SIGINT)
    code, said = ended(sweep)
    assert code == 130
    assert "ocicaliban resume g" in said
    assert world.statuses() == ["queued"] * 3
    let_go(world)
    # Two at once: one does it, the other says so or comes too late.
    both = [world.begun("resume", "g") for _ in range(2)]
    told = [ended(each) for each in both]
    assert 0 in [code for code, _ in told], told
    assert world.statuses() == ["succeeded"] * 3
    assert [len(world.ran(job)) for job in world.jobs()] == [2, 2, 1]


def test_a_single_run_that_was_killed_before_it_began_can_be_taken_up(world: World) -> None:
    assert world.ok("run", "--group", "g", "job.py").returncode == 0
    database = f"sqlite://{world.own}/history.db"
    with access.open(database) as known:
        [made] = known.submissions()
        known.submit(evolve(made, id=0, created=0.0), [JobSpec(args=("--x", "2"))])
    assert "g has queued jobs that nothing will start; to start them: ocicaliban resume g" in world.ok("status").stdout
    world.ok("resume", "g")
    assert world.statuses() == ["succeeded", "succeeded"]
    assert world.ran(world.jobs()[1])[0]["args"] == ["--x", "2"]


# --- clean ---


def test_an_image_stays_that_jobs_wait_for(world: World) -> None:
    """By a dry run: what others have in the store is left alone."""
    (world.folder / "job.py").write_text(f"import time\ntime.sleep(60)  # {random.random()}\n")
    assert world.ok("clean", "--all", "--dry-run").stdout.endswith("would be freed\n")
    assert not (world.own / "history.db").exists()  # nobody made one by looking for it
    # With the source in the image, no other test has the same one.
    sweep = world.begun(*world.sweep("g", {"x": [1, 2]}), env={"OCICALIBAN_MOUNTED": "0"})
    until(world.containers)
    sweep.kill()
    sweep.wait()
    [name] = world.containers()
    subprocess.run(["podman", "rm", "--force", "--time", "0", name], check=True, capture_output=True)
    image = world.jobs()[0]["submission"]["image"]
    names = subprocess.run(
        ["podman", "image", "inspect", "--format", "{{index .RepoTags 0}}", image], capture_output=True, text=True
    ).stdout.strip()
    cleaned = world.ok("clean", "--all", "--dry-run")
    assert "note: jobs of g wait for their image, so it stays: ocicaliban resume g, or stop --group g" in cleaned.stderr
    assert names not in cleaned.stdout
    world.ok("stop", "--group", "g")
    cleaned = world.ok("clean", "--all", "--dry-run")
    assert cleaned.stderr == ""
    assert names in cleaned.stdout
    subprocess.run(["podman", "image", "rm", image], check=True, capture_output=True)


def test_cleaning_needs_no_history_that_can_be_read(world: World) -> None:
    world.own.mkdir(parents=True)
    (world.own / "history.db").write_text("no database, and long enough to be taken for one" * 100)
    done = world.ok("clean", "--all", "--dry-run")
    assert "note: " in done.stderr
    assert "cannot tell which images jobs wait for" in done.stderr
    (world.own / "history.db").unlink()


def test_a_single_run_that_was_killed_before_it_began_is_taken_up(world: World) -> None:
    world.ok("run", "--group", "g", "job.py", "--", "--x", "1")
    with access.open(str(world.own / "history.db")) as known:  # as one leaves it that is killed at once
        [made] = known.submissions()
        known.submit(evolve(made, id=0, group="h", created=0.0), [JobSpec(args=("--x", "2"))])
    assert "h has queued jobs that nothing will start" in world.ok("status").stdout
    world.ok("resume", "h")
    assert world.statuses("--group", "h") == ["succeeded"]


def test_a_job_at_a_terminal_is_not_taken_up_while_it_runs(world: World) -> None:
    run = world.begun("run", "--group", "g", *waiting(world), "job.py", "--", "--go", "/go/all")
    until(lambda: world.starts() == 1)
    said = world.ok("resume", "g").stderr
    assert "a job of g runs at a terminal of its own" in said and "all jobs have ended" not in said
    let_go(world)
    assert ended(run)[0] == 0
    assert world.statuses() == ["succeeded"]


def test_of_two_who_run_the_same_again_one_does_it(world: World) -> None:
    world.call(*world.sweep("g", {"x": [1, 2], "fail": 3, "fine-from": 2}))
    both = [world.begun("resubmit", "--group", "g") for _ in range(2)]
    codes = [ended(each)[0] for each in both]
    assert 0 in codes
    assert [len(world.ran(job)) for job in world.jobs()] == [2, 2]


# --- a team's database ---


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.server() as made:
        yield made


def test_a_teams_database_serves_as_well_and_its_password_is_never_shown(world: World, server: postgres.Server) -> None:
    url = server.database("jobs")
    team = World(folder=world.folder, state=world.state, env={**world.env, "OCICALIBAN_DB_URL": url})
    outputs = []
    points = [{"x": 1}, {"x": 2, "fail": 3, "fine-from": 2}]
    done = team.call(*team.sweep("g", points, "-j", "2"))
    assert done.returncode == 1, done.stderr
    outputs.append(done)
    outputs.append(team.ok("run", "job.py", "--", "--x", "3"))
    outputs.append(team.ok("resubmit", "--group", "g"))
    assert team.statuses() == ["succeeded"] * 3
    assert not (world.own / "history.db").exists()
    before = team.starts()
    sweep = team.begun(*team.sweep("h", {"x": [1, 2]}, *waiting(world), script=("--go", "/go/all")))
    until(lambda: team.starts() == before + 1)
    sweep.kill()
    sweep.wait()
    let_go(world)
    outputs.append(team.ok("resume", "h"))
    assert team.statuses("--group", "h") == ["succeeded"] * 2
    outputs += [team.ok("status"), team.ok("status", "--json"), team.ok("logs", str(team.jobs()[0]["id"]))]
    assert [len(team.ran(job)) for job in team.jobs("--group", "h")] == [1, 1]
    environments = [ran["env"] for job in team.jobs() for ran in team.ran(job)]
    assert environments
    shown = "".join(done.stdout + done.stderr for done in outputs) + json.dumps(environments)
    encoded = url.split(":")[2].split("@")[0]
    wrong = World(folder=world.folder, state=world.state, env={**world.env, "OCICALIBAN_DB_URL": server.url("nowhere")})
    shown += wrong.refused("status")
    shown += wrong.refused(*wrong.sweep("i", points))
    assert postgres.PASSWORD not in shown
    assert encoded not in shown
    kept = subprocess.run(["grep", "-rlaF", "-e", postgres.PASSWORD, "-e", encoded, str(world.state)],
                          capture_output=True, text=True)  # fmt: skip
    assert kept.stdout == ""
