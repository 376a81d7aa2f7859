"""A backend that is only a folder and a line in the registry: each command reaches it, and none knows it by name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from ocicaliban.app import logs, report, resubmit, resume, stop
from ocicaliban.app.requests import ReportRequest
from ocicaliban.app.submissions import Outcome
from ocicaliban.errors import UsageError
from ocicaliban.model.job import Attempt, Job, Submission
from ocicaliban.reporter import SILENT, Reporter
from ocicaliban.targets import registry
from ocicaliban.targets.backend import BatchBackend, Capabilities, Connection, Request

if TYPE_CHECKING:
    from ocicaliban.history.store import History
    from tests.unit.app.conftest import World


class Slurm(BatchBackend):
    """Keeps what it is asked in `calls`. Its submissions have options that no other backend has."""

    title = "Slurm"
    use_case = "ocicaliban.app.slurm_jobs"
    capabilities = Capabilities(
        schedules_itself=True, arrays=True, needs_registry=False, can_mount=True, image_form="squashfs"
    )

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[int, ...]]] = []

    def validate(self, request: Request) -> tuple[UsageError, ...]:
        return ()

    def observe(self, history: History, jobs: Sequence[Job], reporter: Reporter) -> None:
        self.calls.append(("observe", tuple(job.id for job in jobs)))

    def cancel(self, history: History, jobs: Sequence[Job], reporter: Reporter) -> Iterator[Job]:
        for job in jobs:
            assert job.last and history.end(job.id, job.last.number, "stopped", ended=3.0)
            yield job

    def cancel_ended(
        self,
        history: History,
        jobs: Sequence[Job],
        reporter: Reporter,
        *,
        wait: Reporter | None = None,
        dry_run: bool = False,
    ) -> tuple[Job, ...]:
        self.calls.append(("cancel_ended", tuple(job.id for job in jobs)))
        return ()

    def logs(
        self, job: Job, attempt: Attempt, goes_on: Callable[[], bool] | None, reporter: Reporter
    ) -> Iterator[bytes]:
        yield f"log of {job.id}".encode()

    def results(self, jobs: Iterable[Job], reporter: Reporter) -> Mapping[int, Path]:
        self.calls.append(("results", tuple(job.id for job in jobs)))
        return {}

    def connect(self, submission: Submission) -> Connection:
        raise NotImplementedError

    def submit(
        self,
        history: History,
        submission: Submission,
        accepted: Callable[[Job, str], None],
        reporter: Reporter,
        *,
        connection: Connection | None = None,
        settle: bool = False,
    ) -> None:
        raise NotImplementedError


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Slurm:
    """Register a backend and the module of `app` that submits to it."""
    backend = Slurm()
    monkeypatch.setitem(registry._MODULES, "slurm", "slurm_backend")
    monkeypatch.setitem(sys.modules, "slurm_backend", _module(BACKEND=backend))
    use_case = _module(
        resume=lambda history, made, batch: f"{made.group} resumed at {batch.title}",
        resubmit=lambda history, jobs, batch, rebuild: f"{[job.id for job in jobs]} again at {batch.title}",
    )
    monkeypatch.setitem(sys.modules, backend.use_case, use_case)
    return backend


def _module(**names: object) -> ModuleType:
    made = ModuleType("made")
    made.__dict__.update(names)
    return made


@pytest.fixture
def submitted(world: World, submission: Submission, slurm: Slurm) -> Submission:
    """Submit two jobs to it: the first runs, the second is queued."""
    made = world.submit(evolve(submission, target="slurm", options={"version": 1, "partition": "gpu"}), ("a",), ("b",))
    world.begin(1)
    return made


def test_the_state_and_the_log_come_from_it(world: World, submitted: Submission, slurm: Slurm) -> None:
    assert b"".join(logs.log_blocks("1")) == b"log of 1"
    assert slurm.calls == [("observe", (1,))]


def test_a_report_asks_it_for_results(world: World, submitted: Submission, slurm: Slurm) -> None:
    report.collect(ReportRequest(group="digits"))
    assert ("results", (1, 2)) in slurm.calls


def test_it_stops_its_jobs(world: World, submitted: Submission, slurm: Slurm) -> None:
    assert sorted(each.job.id for each in stop.stop((), "digits", SILENT)) == [1, 2]
    assert world.statuses() == ["stopped", "stopped"]
    assert ("cancel_ended", (2,)) in slurm.calls  # it may be on its way


def test_its_own_module_resumes_and_resubmits(world: World, submitted: Submission, slurm: Slurm) -> None:
    assert resume.resume("digits") == Outcome(groups=("digits resumed at Slurm",))
    with world.history() as history:
        assert history.end(1, 1, "failed", ended=2.0)
    again = resubmit.resubmit("digits", all_jobs=False, rebuild=False)
    assert again == Outcome(groups=("[1] again at Slurm",))
