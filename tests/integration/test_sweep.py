"""Sweeps with real containers, whose engine is killed, interrupted and taken up again."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pyte
import pytest

from ocicaliban.execution import runner
from ocicaliban.history import access
from ocicaliban.history.store import History
from ocicaliban.jobs import lease
from ocicaliban.model.image import Launch
from ocicaliban.model.job import JobSpec, Submission
from tests.folders import write
from tests.integration.program import CONFIG, REPOSITORY, environment, ok

JOB = """
exec 9>/shared/lock-$1
flock -n 9 || echo $1 >>/shared/twice
echo $1 >>/shared/begun
sleep $2
echo $1 >>/out/done
echo $1 >>/shared/done
echo "said by $1"
"""
ASKED = """
trap 'echo asked >>/shared/asked; exit 9' TERM
echo $1 >>/shared/begun
sleep 60 & wait
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, base_lock: str) -> str:
    folder = write(
        tmp_path_factory.mktemp("sweep"), {"ocicaliban.toml": CONFIG, "a.py": "", "ocicaliban.lock": base_lock}
    )
    return ok(folder, "build", "a.py").stdout.strip()


class Place:
    """A state folder of a test, with a folder that its jobs share."""

    def __init__(self, folder: Path, image: str, history: History) -> None:
        self.folder = folder
        self.shared = folder / "shared"
        self.image = image
        self.history = history
        self.group = f"test-{uuid.uuid4().hex[:8]}"

    def submitted(self, *args: tuple[str, ...]) -> Submission:
        launch = Launch(command=("sh",), mounts=(f"{self.shared}:/shared",))
        submission = Submission(target="local", 
            group=self.group, user="tester", host="", project=str(self.folder), mode="run", image=self.image,
            launch=launch,
        )  # fmt: skip
        return self.history.submit(submission, [JobSpec(args=each) for each in args])

    def engine(self, submission: Submission, jobs: int = 3, retries: int = 0) -> "subprocess.Popen[str]":
        argv = [sys.executable, "-m", "tests.integration.sweeper", str(submission.id), str(jobs), str(retries)]
        return subprocess.Popen(
            argv, cwd=REPOSITORY, env=environment(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def done(self, submission: Submission, jobs: int = 3, retries: int = 0) -> str:
        with self.engine(submission, jobs, retries) as engine:
            _, told = engine.communicate(timeout=240)
        assert engine.returncode == 0, told
        return told

    def lines(self, name: str) -> list[str]:
        path = self.shared / name
        return path.read_text().split() if path.exists() else []

    def containers(self) -> list[str]:
        argv = ["podman", "ps", "-aq", "--filter", f"label=ocicaliban.group={self.group}"]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()

    def until(self, name: str, count: int) -> None:
        end = time.monotonic() + 60
        while len(self.lines(name)) < count:
            assert time.monotonic() < end, f"{name}: {self.lines(name)}"
            time.sleep(0.02)


@pytest.fixture
def place(tmp_path: Path, image: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    write(tmp_path, {"shared/job.sh": JOB, "shared/asked.sh": ASKED})
    with access.open() as history:
        made = Place(tmp_path, image, history)
        yield made
        left = made.containers()
        if left:
            subprocess.run(["podman", "rm", "-f", "-t0", *left], capture_output=True, check=False)


def _all_is_well(place: Place, submission: Submission, names: list[str]) -> None:
    """Each job has succeeded once, nothing ran twice at a time, and no container is left."""
    jobs = place.history.jobs(submission=submission.id)
    assert Counter(job.status for job in jobs) == {"succeeded": len(names)}
    for job in jobs:
        assert [attempt.status for attempt in job.attempts].count("succeeded") == 1
        assert job.last and job.last.status == "succeeded"
        assert (runner.folder(job) / f"attempt-{job.last.number}.log").read_text() == f"said by {job.args[1]}\n"
    assert place.lines("twice") == []
    assert place.containers() == []


def test_killed_at_any_moment_each_job_runs_once(place: Place) -> None:
    seed = random.randrange(1000)
    print("seed", seed)
    chance = random.Random(seed)
    names = [f"job{number}" for number in range(40)]
    submission = place.submitted(*(("/shared/job.sh", name, f"{chance.uniform(0, 0.5):.2f}") for name in names))
    kills = 0
    while any(job.status != "succeeded" for job in place.history.jobs(submission=submission.id)) and kills < 25:
        engine = place.engine(submission)
        try:
            engine.wait(chance.uniform(0.3, 1.4))
        except subprocess.TimeoutExpired:
            engine.kill()
            kills += 1
        engine.communicate()
    print(f"killed {kills} times")
    assert kills
    place.done(submission)
    assert sorted(place.lines("begun")) == sorted(place.lines("done")) == sorted(names)
    assert all(Path(job.out, "done").read_text() == f"{job.args[1]}\n" for job in place.history.jobs())
    _all_is_well(place, submission, names)


def test_what_a_lost_machine_ran_is_run_again(place: Place) -> None:
    names = [f"job{number}" for number in range(6)]
    submission = place.submitted(*(("/shared/job.sh", name, "1") for name in names))
    engine = place.engine(submission)
    place.until("begun", 3)
    engine.kill()
    engine.communicate()
    for number in place.containers():  # with conmon goes whatever would know how it ended
        argv = ["podman", "inspect", "--format", "{{.State.ConmonPid}} {{.State.Pid}}", number]
        for pid in subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split():
            if pid != "0":
                os.kill(int(pid), signal.SIGKILL)
    place.done(submission)
    assert len(place.lines("begun")) > len(names)
    _all_is_well(place, submission, names)


def test_an_interrupted_sweep_asks_its_jobs_and_goes_on_later(place: Place) -> None:
    submission = place.submitted(*(("/shared/asked.sh", f"job{number}") for number in range(4)))
    engine = place.engine(submission, jobs=2)
    place.until("begun", 2)
    assert lease.is_held(submission)
    engine.send_signal(signal.SIGINT)
    _, told = engine.communicate(timeout=60)
    assert engine.returncode == 130
    assert place.lines("asked") == ["asked"] * 2
    assert place.containers() == []
    assert not lease.is_held(submission)
    assert "interrupted: 2 jobs asked to end; interrupt again to kill\n" in told
    assert f"{place.group}: 4 not finished\n  to continue: ocicaliban resume {place.group}\n" in told
    jobs = place.history.jobs(submission=submission.id)
    assert [job.status for job in jobs] == ["queued"] * 4
    assert [job.last.reason for job in jobs if job.last] == ["interrupted: exit code 9"] * 2
    write(place.shared, {"asked.sh": JOB})
    write(place.shared, {"asked.sh": JOB.replace("$2", "0")})
    place.done(submission, jobs=2)
    assert Counter(job.status for job in place.history.jobs(submission=submission.id)) == {"succeeded": 4}


def test_a_job_that_another_process_stops_is_stopped(place: Place) -> None:
    submission = place.submitted(("/shared/asked.sh", "a"), ("/shared/job.sh", "b", "0"))
    engine = place.engine(submission, jobs=1, retries=2)
    place.until("begun", 1)
    job = place.history.jobs(submission=submission.id)[0]
    assert job.last
    assert place.history.end(job.id, job.last.number, "stopped", reason="stopped by ada", ended=time.time())
    # The sweep may have seen the end on record before, and have ended the container itself.
    subprocess.run(["podman", "kill", "-s", "TERM", job.last.handle], check=False, capture_output=True)
    _, told = engine.communicate(timeout=60)
    assert engine.returncode == 1, told
    assert f"[{job.id}] stopped: stopped by ada" in told
    assert [job.status for job in place.history.jobs(submission=submission.id)] == ["stopped", "succeeded"]
    assert place.containers() == []


def test_a_failing_job_shows_why_and_is_tried_again(place: Place) -> None:
    write(place.shared, {"fails.sh": "echo one; echo two >&2; exit 3"})
    submission = place.submitted(("/shared/fails.sh",), ("/shared/job.sh", "b", "0"))
    with place.engine(submission, jobs=1, retries=1) as engine:
        _, told = engine.communicate(timeout=60)
    assert engine.returncode == 1
    first, second = place.history.jobs(submission=submission.id)
    assert [(each.status, each.reason, each.exit_code) for each in first.attempts] == [("failed", "exit code 3", 3)] * 2
    assert second.status == "succeeded"
    assert told.count(": exit code 3") == 2
    assert f"[{first.id}]   | one\n[{first.id}]   | two\n" in told
    assert f"ocicaliban logs {first.id}\n" in told
    assert "\x1b" not in told


def test_at_a_terminal_a_display_follows_its_size_and_ctrl_c_ends_the_sweep(place: Place) -> None:
    write(place.shared, {"talks.sh": 'trap "exit 9" TERM; echo "長い行 $2"; echo $1 >>/shared/begun; sleep 60 & wait'})
    submission = place.submitted(*(("/shared/talks.sh", f"job{number}", "x" * 150) for number in range(6)))
    argv = ["-m", "tests.integration.sweeper", str(submission.id), "2"]
    env = environment({"TERM": "xterm-256color"})
    child = pexpect.spawn(
        sys.executable, argv, cwd=str(REPOSITORY), env=env, dimensions=(12, 100), timeout=60, encoding="utf-8"
    )
    screen = pyte.HistoryScreen(100, 12)
    stream = pyte.Stream(screen)

    def shown(want: Callable[[list[str]], bool]) -> list[str]:
        end = time.monotonic() + 60
        while not want(lines := [line.rstrip() for line in screen.display]):
            assert time.monotonic() < end, lines
            with contextlib.suppress(pexpect.TIMEOUT, pexpect.EOF):
                stream.feed(child.read_nonblocking(10_000, timeout=0.2))
        return lines

    lines = shown(lambda lines: sum("0:0" in line and "長" in line for line in lines) == 2)
    assert lines[2].endswith("0/6, 2 running, 4 queued")
    for rows, columns in ((8, 44), (20, 120), (5, 24)):
        child.setwinsize(rows, columns)
        screen.resize(rows, columns)
        lines = shown(lambda lines: sum("[" in line for line in lines) == 2 and "0/6" in "".join(lines))
        assert [line for line in lines if line.strip()] == lines[:3], "nothing else is there"
    assert len(screen.history.top) == 0
    child.sendintr()
    shown(lambda lines: "6 not finished" in "".join(lines))
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert place.containers() == []
