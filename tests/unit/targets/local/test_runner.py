"""What is asked of podman's API to run a job, and how its end is noticed."""

from __future__ import annotations

import os
import queue
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from ocicaliban.containers import podman
from ocicaliban.containers.podman_api import NoAnswer, PodmanApiError
from ocicaliban.errors import OcicalibanError, ToolError, UsageError
from ocicaliban.jobs import single_run
from ocicaliban.model.image import Launch
from ocicaliban.model.job import Attempt, Job, Submission
from ocicaliban.model.resources import Resources
from ocicaliban.targets.container_runner import ContainerExit, MachineFault, NameTaken
from ocicaliban.targets.local import exit_watcher, runner
from ocicaliban.targets.local.runner import LocalRunner, Setup
from tests.folders import write

SUBMISSION = Submission(target="local", id=3, group="p-calm-otter", user="u", host="h", project="/p", mode="run")
NEVER = "0001-01-01T00:00:00Z"


def refused(status: int, words: str) -> PodmanApiError:
    return PodmanApiError(words, status=status, words=words)


def eventually(true: Callable[[], bool]) -> None:
    since = time.monotonic()
    while not true():
        assert time.monotonic() < since + 30
        time.sleep(0.01)


class Api:
    """podman's API: an answer for each path, or a fault."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.answers: dict[str, list[Any]] = {}
        self.pid = 0
        self.ended = False

    def controllers(self) -> tuple[str, ...]:
        return ("cpu",)

    def call(self, method: str, path: str, **parameters: Any) -> Any:
        self.asked.append((method, path, parameters))
        for part, answers in self.answers.items():
            if part in f"{method} {path}" and answers:
                answer = answers.pop(0)
                if isinstance(answer, Exception):
                    raise answer
                return answer
        if path.endswith("/json"):
            return {
                "Id": "1d", "ConmonPidFile": "/nowhere",
                "State": {
                    "Status": "exited" if self.ended else "running", "Pid": 0 if self.ended else self.pid,
                    "ExitCode": 0, "StartedAt": "2026-01-01T00:00:00Z",
                    "FinishedAt": "2026-01-01T00:00:01Z" if self.ended else NEVER,
                },
            }  # fmt: skip
        return None

    call_once = call

    def paths(self) -> list[str]:
        return [f"{method} {path.rpartition('/')[2]}" for method, path, _ in self.asked if not path.endswith("json")]


@pytest.fixture
def api() -> Api:
    return Api()


Ends = queue.SimpleQueue[ContainerExit]


@pytest.fixture
def ends() -> Ends:
    return queue.SimpleQueue()


@pytest.fixture
def make(api: Api, ends: Ends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., LocalRunner]]:
    made: list[LocalRunner] = []
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

    def runner(**setup: Any) -> LocalRunner:
        whole = Setup(image="1d", launch=Launch(command=("python3",)), **setup)
        made.append(LocalRunner(api, whole, ends.put))  # type: ignore[arg-type]
        return made[-1]

    yield runner
    for each in made:
        each.close()


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that goes on until it is killed."""
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(id=1, key="k1", submission=SUBMISSION, args=("--lr", "1"), out=str(tmp_path / "out"))


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    return Attempt(number=1, handle="oc-k1-1", log=str(tmp_path / "logs" / "1.log"))


def test_a_job_is_created_started_and_its_end_told(
    api: Api, make: Callable[..., LocalRunner], ends: Ends, job: Job, attempt: Attempt, sleeper: subprocess.Popen[bytes]
) -> None:
    api.pid = sleeper.pid
    runner = make(resources=Resources(cpus=1.5))
    runner.start(job, attempt)
    assert api.paths()[:3] == ["post create", "post init", "post start"]
    body = api.asked[0][2]["body"]
    assert (body["name"], body["command"]) == ("oc-k1-1", ["--lr", "1"])
    assert body["resource_limits"] == {"cpu": {"period": 100_000, "quota": 150_000}}
    assert Path(job.out).is_dir() and Path(attempt.log).parent.is_dir()
    assert ends.empty()
    api.ended = True
    sleeper.kill()
    end = ends.get(timeout=10)
    assert (end.handle, end.exit_code, end.ended - end.started) == ("oc-k1-1", 0, 1.0)


def test_options_that_a_user_gives_go_by_the_command_line(
    api: Api, make: Callable[..., LocalRunner], job: Job, attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, ...]] = []
    monkeypatch.setattr(podman, "create", lambda argv, hooks=(): made.append(argv))
    make(given=("-v", "/a:/b:O")).start(job, attempt)
    assert "/a:/b:O" in made[0] and api.paths()[:2] == ["post init", "post start"]
    with pytest.raises(UsageError, match="--memory"):
        make(resources=Resources(memory=1))


@pytest.mark.parametrize(
    ("fault", "told", "hint"),
    [
        (refused(500, "image not known"), "cannot be started: image not known", "build it again"),
        (ToolError("podman failed", stderr="Error: no space left on device"), "no space left", "free disk space"),
        (refused(500, "something else"), "something else", ""),
    ],
)
def test_what_cannot_be_created_is_told(
    api: Api, make: Callable[..., LocalRunner], job: Job, attempt: Attempt, fault: Exception, told: str, hint: str
) -> None:
    api.answers["create"] = [fault]
    with pytest.raises(OcicalibanError, match=told) as caught:
        make().start(job, attempt)
    assert hint in caught.value.hint
    assert not [*Path(attempt.log).parent.glob(f"{Path(attempt.log).name}*")]


def test_a_name_that_is_taken_is_told_apart(
    api: Api, make: Callable[..., LocalRunner], job: Job, attempt: Attempt
) -> None:
    api.answers["create"] = [refused(500, "the container name is already in use")]
    with pytest.raises(NameTaken):
        make().start(job, attempt)


def test_what_is_created_and_does_not_start_is_removed(
    api: Api, make: Callable[..., LocalRunner], job: Job, attempt: Attempt
) -> None:
    api.answers["start"] = [refused(500, "executable file not found")]
    with pytest.raises(OcicalibanError) as caught:
        make().start(job, attempt)
    assert caught.value.hint == "the image has no such command" and "delete oc-k1-1" in api.paths()


def test_a_start_whose_answer_was_lost_is_a_start(
    api: Api, make: Callable[..., LocalRunner], job: Job, attempt: Attempt, sleeper: subprocess.Popen[bytes]
) -> None:
    api.pid = sleeper.pid
    api.answers["start"] = [OcicalibanError("podman's service is gone")]
    make().start(job, attempt)
    assert "delete oc-k1-1" not in api.paths()


def inspected(status: str, *, waits: bool = False) -> dict[str, Any]:
    return {"State": {"Status": status, "Pid": 0}, "waits": waits}


GONE = refused(404, "no such container")


@pytest.mark.parametrize(
    ("answers", "paths"),
    [
        # It made the container, and was killed before it said so.
        ({"create": [NoAnswer()], "json": [inspected("created")]}, "create init start"),
        # It was killed before it made anything.
        ({"create": [NoAnswer()], "json": [GONE]}, "create create init start"),
        # It left a part: podman's storage has the container, and its API does not know it.
        (
            {"create": [NoAnswer(), refused(500, "already in use")], "json": [GONE, GONE]},
            "create create oc-k1-1 create init start",
        ),
        # It may have made the process, which waits for its start, and has not saved that.
        ({"init": [NoAnswer()], "json": [inspected("created")]}, "create init oc-k1-1 create init start"),
        # What watches the container was killed.
        ({"init": [refused(500, "write child: broken pipe")]}, "create init oc-k1-1 create init start"),
        # It saved that, and was killed before it said so.
        ({"init": [NoAnswer()], "json": [inspected("initialized")]}, "create init start"),
        # It was killed before it started the process.
        ({"start": [NoAnswer()], "json": [inspected("initialized", waits=True)] * 2}, "create init start start"),
        # It started the process, and was killed before it saved that.
        ({"start": [NoAnswer()], "json": [inspected("initialized")] * 2}, "create init start"),
        # So it did a moment after we looked.
        (
            {
                "start": [NoAnswer(), refused(500, "not in created state")],
                "json": [inspected("initialized", waits=True)] * 3,
            },
            "create init start start",
        ),
        ({"start": [NoAnswer()], "json": [inspected("created")]}, "create init start"),
        # It started the process, which ended at once: podman would run it a second time.
        ({"start": [NoAnswer()], "json": [inspected("exited")]}, "create init start"),
    ],
)
def test_a_service_that_is_killed_meanwhile_starts_no_job_twice_and_none_never(
    api: Api,
    make: Callable[..., LocalRunner],
    job: Job,
    attempt: Attempt,
    monkeypatch: pytest.MonkeyPatch,
    answers: dict[str, list[Any]],
    paths: str,
) -> None:
    monkeypatch.setattr(podman, "remove_at_once", lambda name: True)
    monkeypatch.setattr(runner, "_waiting", lambda inspected: 1 << 22 if inspected.get("waits") else None)
    api.answers = {name: [*some] for name, some in answers.items()}
    make().start(job, attempt)
    assert " ".join(path.partition(" ")[2] for path in api.paths()) == paths


def test_a_service_that_ends_again_and_again_is_the_machines_fault(
    api: Api, make: Callable[..., LocalRunner], job: Job, attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(podman, "remove_at_once", lambda name: True)
    api.answers = {"create": [NoAnswer()] * 30, "json": [GONE] * 30}
    with pytest.raises(MachineFault, match="does not answer"):
        make().start(job, attempt)


def test_a_folder_that_cannot_be_made_is_the_machines_fault(
    make: Callable[..., LocalRunner], job: Job, attempt: Attempt
) -> None:
    with pytest.raises(MachineFault, match="/proc/nowhere: "):
        make().start(evolve(job, out="/proc/nowhere/1"), attempt)


def test_a_container_that_is_gone_has_ended_without_an_exit_code(
    api: Api, make: Callable[..., LocalRunner], ends: Ends
) -> None:
    api.answers["json"] = [
        OcicalibanError("away for a moment"),
        refused(500, "busy"),
        refused(404, "no such container"),
    ]
    make().watch("n")
    end = ends.get(timeout=10)
    assert (end.handle, end.exit_code) == ("n", None)


def test_podman_tells_the_end_where_it_knows_of_the_start(
    api: Api,
    make: Callable[..., LocalRunner],
    ends: Ends,
    tmp_path: Path,
) -> None:
    write(tmp_path / "libpod" / "tmp" / "exits", {"1d": "7\n"})
    api.answers["json"] = [
        {"Id": "1d", "State": {"Status": "running", "Pid": 0, "StartedAt": NEVER, "FinishedAt": NEVER}}
    ]
    api.ended = True
    make().watch("n")
    end = ends.get(timeout=10)
    assert (end.exit_code, end.started > 0) == (0, True)


def test_an_end_is_known_whose_file_podman_removes_before_anyone_asks(
    api: Api,
    make: Callable[..., LocalRunner],
    ends: Ends,
    tmp_path: Path,
) -> None:
    exits = tmp_path / "libpod" / "tmp" / "exits"
    write(exits, {})
    exits.mkdir(parents=True, exist_ok=True)
    target = make()
    write(tmp_path, {"new": "7"})
    (tmp_path / "new").rename(exits / "1d")  # as conmon does
    eventually(lambda: "1d" in target._watcher._written._ends)
    (exits / "1d").unlink()  # as `podman container cleanup` does
    state = {"Status": "created", "Pid": 0, "StartedAt": NEVER, "FinishedAt": NEVER}
    api.answers["json"] = [{"Id": "1d", "State": state}]
    target.watch("n")
    assert ends.get(timeout=10).exit_code == 7


def test_a_process_that_waits_for_its_start_is_known_by_the_runtimes_command_line(
    sleeper: subprocess.Popen[bytes],
) -> None:
    state = {"State": {"Status": "initialized", "Pid": sleeper.pid}}
    eventually(lambda: runner._waiting(state | {"Id": "sleep"}) == sleeper.pid)
    assert runner._waiting(state | {"Id": "1d"}) is None
    assert runner._waiting({"State": {"Pid": 0}, "PidFile": "/nowhere", "Id": "1d"}) is None


def test_a_container_whose_conmon_was_killed_has_ended_without_an_exit_code(
    make: Callable[..., LocalRunner], ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exit_watcher, "_PATIENCE", 0.01)
    make().watch("n")  # it runs by what podman says, and there is no process
    assert ends.get(timeout=10).exit_code is None


def test_a_process_with_a_number_that_was_given_again_is_another_one() -> None:
    assert exit_watcher.process_descriptor(0, 0.0) is None
    assert exit_watcher.process_descriptor(os.getpid(), 0.0) is None  # began after the machine did
    fd = exit_watcher.process_descriptor(os.getpid(), 1e12)
    assert fd is not None
    os.close(fd)


@pytest.mark.parametrize(
    ("fault", "delivered"),
    [(None, True), (refused(404, "gone"), False), (refused(500, "can only kill running containers"), False)],
)
def test_a_signal_is_delivered_or_not(
    api: Api, make: Callable[..., LocalRunner], fault: Exception | None, delivered: bool
) -> None:
    api.answers["kill"] = [fault]
    assert make().signal("n", "TERM") == delivered
    assert ("post", "/containers/n/kill", {"signal": "TERM"}) in api.asked
    api.answers["kill"] = [refused(500, "else")]
    with pytest.raises(PodmanApiError):
        make().signal("n", "TERM")


def test_a_port_is_free_again_when_its_container_is_removed(
    api: Api, make: Callable[..., LocalRunner], job: Job, attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single_run, "_PORTS", range(40000, 40002))
    monkeypatch.setattr(single_run, "_used", lambda: iter(()))
    runner = make()

    def port_of(number: int) -> str:
        runner.start(evolve(job, id=number, key=f"k{number}"), evolve(attempt, handle=f"oc-k{number}-1"))
        body = [more["body"] for _, path, more in api.asked if path.endswith("/create")][-1]
        return str(body["env"].get(single_run.PORT_VARIABLES[0]))

    first, second = port_of(1), port_of(2)
    assert {first, second} == {"40000", "40001"} and port_of(3) == "None"
    runner.remove("oc-k1-1")
    api.answers["start"] = [refused(500, "no such file")]
    with pytest.raises(OcicalibanError):
        port_of(4)
    assert port_of(5) == first
    runner.remove("oc-k2-1")
    assert port_of(6) == second


def test_what_is_removed_may_be_gone_or_need_force(
    api: Api, make: Callable[..., LocalRunner], sleeper: subprocess.Popen[bytes]
) -> None:
    runner = make()
    api.answers["delete"] = [refused(404, "gone")]
    runner.remove("n")
    api.answers["delete"] = [refused(500, "it runs"), refused(500, "it runs"), None]
    runner.remove("n")
    assert [parameters["force"] for method, _, parameters in api.asked if method == "delete"][-3:] == [
        "false", "true", "true",
    ]  # fmt: skip
    api.answers["delete"] = [refused(500, "it runs")] * 3
    with pytest.raises(PodmanApiError):
        runner.remove("n")
    api.pid = sleeper.pid  # it really runs
    api.answers["delete"] = [refused(500, "it runs"), None]
    with pytest.raises(PodmanApiError):
        runner.remove("n")


def test_containers_are_found_by_labels(api: Api, make: Callable[..., LocalRunner]) -> None:
    entry = {"Names": ["n"], "State": "running", "ExitCode": 0, "StartedAt": 1, "ExitedAt": -1, "Labels": {}}
    api.answers["get /containers/json"] = [[entry]]
    assert {*make().find(group="g", job="")} == {"n"}
    assert api.asked[-1][2]["filters"] == '{"label": ["ocicaliban.group=g", "ocicaliban.job"]}'
