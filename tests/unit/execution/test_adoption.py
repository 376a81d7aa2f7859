"""What is taken up of a submission that another process left; `test_runner` tests how its jobs go on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from ocicaliban.errors import OcicalibanError
from ocicaliban.execution import adoption
from ocicaliban.history.store import History
from ocicaliban.jobs import log_file
from ocicaliban.model.job import Job, JobSpec, Submission
from ocicaliban.targets.container_runner import ContainerState, ObservedContainer


class Containers:
    """The containers of a machine; `busy` ones are being started, and cannot be removed."""

    def __init__(self) -> None:
        self.found: dict[str, ObservedContainer] = {}
        self.busy: set[str] = set()

    def find(self, **labels: str) -> Mapping[str, ObservedContainer]:
        assert labels == {"submission": "1"}
        return self.found

    def remove(self, handle: str) -> None:
        if handle in self.busy:
            raise OcicalibanError("it runs")
        self.found.pop(handle, None)


@pytest.fixture
def containers() -> Containers:
    return Containers()


@pytest.fixture
def submission(history: History) -> Submission:
    made = Submission(target="local", group="g", user="ada", host="", project="/p", mode="run", created=10.0)
    return history.submit(made, [JobSpec()])


def begun(history: History, started: float = 20.0, log: str = "") -> Job:
    (job,) = history.jobs()
    assert history.begin(job.id, started=started, log=lambda _: log)
    return history.jobs()[0]


def adopt(history: History, submission: Submission, containers: Containers) -> adoption.Remains:
    return adoption.adopt(history, submission, containers)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "exit_code", "reason"),
    [
        (None, None, "its container is gone"),
        ("created", None, "it was never started, since ocicaliban was killed"),
        ("exited", None, adoption.MACHINE_DOWN),
    ],
)
def test_an_attempt_without_a_result_is_lost_and_its_job_queued(
    history: History,
    submission: Submission,
    containers: Containers,
    tmp_path: Path,
    state: ContainerState | None,
    exit_code: int | None,
    reason: str,
) -> None:
    job = begun(history, log=str(tmp_path / "1.log"))
    assert job.last
    log_file.raw(job.last.log).write_bytes(b"2026-01-01T00:00:00Z stdout F hello\n")
    if state:
        containers.found[job.last.handle] = ObservedContainer(handle=job.last.handle, state=state, exit_code=exit_code)
    assert adopt(history, submission, containers) == adoption.Remains()
    (job,) = history.jobs()
    assert job.last and (job.status, job.last.status, job.last.reason) == ("queued", "lost", reason)
    assert containers.found == {} and Path(job.last.log).read_bytes() == b"hello\n"


@pytest.mark.parametrize(("state", "exit_code"), [("running", None), ("exited", 0), ("exited", 3)])
def test_what_runs_or_has_a_result_is_adopted(
    history: History, submission: Submission, containers: Containers, state: ContainerState, exit_code: int | None
) -> None:
    job = begun(history)
    assert job.last
    containers.found[job.last.handle] = ObservedContainer(
        handle=job.last.handle, state=state, exit_code=exit_code, labels={"devices": "gpu=0,gpu=1"}
    )
    assert adopt(history, submission, containers) == adoption.Remains(
        running=(job,), devices={job.id: ("gpu=0", "gpu=1")}
    )
    assert history.jobs() == (job,)


def test_a_container_that_is_being_started_is_adopted(
    history: History, submission: Submission, containers: Containers
) -> None:
    job = begun(history)
    assert job.last
    containers.busy.add(job.last.handle)
    containers.found[job.last.handle] = ObservedContainer(handle=job.last.handle, state="created")
    assert adopt(history, submission, containers).running == (job,)


def test_failures_of_this_submission_count(history: History, submission: Submission, containers: Containers) -> None:
    for started in (5.0, 20.0, 30.0):  # the first one was before the job was resubmitted
        job = begun(history, started)
        history.end(job.id, len(job.attempts), "failed", exit_code=1, ended=started + 1, again=True)
    assert adopt(history, submission, containers) == adoption.Remains(failures={job.id: 2})
