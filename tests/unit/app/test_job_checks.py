"""What jobs may ask of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ocicaliban.app import job_checks
from ocicaliban.app.requests import JobsRequest, LaunchRequest
from ocicaliban.errors import UsageError
from ocicaliban.model.resources import Resources

if TYPE_CHECKING:
    from tests.unit.app.conftest import World

RUN = LaunchRequest(mode="run")


@pytest.mark.parametrize(
    ("text", "size"), [("8g", 8 << 30), ("500M", 500 << 20), ("3k", 3 << 10), ("17", 17), ("17b", 17)]
)
def test_memory_is_an_amount(text: str, size: int) -> None:
    assert job_checks.resources(JobsRequest(memory=text)) == Resources(memory=size)
    options = job_checks.resource_options(JobsRequest(memory=text, cpus=1.5))
    assert options == ("--cpus", "1.5", "--memory", str(size), "--memory-swap", str(size))


@pytest.mark.parametrize("text", ["0", "0g", "g", "-1g", "1.5g", "1 g", "1t"])
def test_other_texts_are_no_amount_of_memory(text: str) -> None:
    with pytest.raises(UsageError, match="not an amount of memory"):
        job_checks.resources(JobsRequest(memory=text))


@pytest.mark.parametrize("cpus", [0, -1, 1e6, float("nan")])
def test_cpus_are_a_positive_number(cpus: float) -> None:
    with pytest.raises(UsageError, match="not a positive number of cores"):
        job_checks.resources(JobsRequest(cpus=cpus))


def test_without_limits_there_are_no_options() -> None:
    assert job_checks.resource_options(JobsRequest()) == ()
    assert not JobsRequest(jobs=3).needs_number and JobsRequest(out="/o").needs_number


@pytest.mark.parametrize(
    ("jobs", "told"),
    [
        (JobsRequest(group="a b"), "'a b' is not a valid name for a group"),
        (JobsRequest(retries=-1), "--retries -1: a negative number"),
        (JobsRequest(out="train.py/x"), "train.py is not a folder"),
        (JobsRequest(out="closed/x"), "you cannot write in closed"),
    ],
)
def test_what_cannot_be_is_told(world: World, jobs: JobsRequest, told: str) -> None:
    (world.project / "closed").mkdir(mode=0o500)
    with pytest.raises(UsageError, match=told):
        job_checks.check(RUN, jobs, sweep=False)


def test_podman_options_are_checked_for_jobs_on_record(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKEN", raising=False)
    launch = LaunchRequest(mode="run", podman_args="--env TOKEN")
    job_checks.check(launch, JobsRequest(cpus=1), sweep=False)
    for jobs, sweep in ((JobsRequest(), True), (JobsRequest(group="g"), False)):
        with pytest.raises(UsageError, match="TOKEN"):
            job_checks.check(launch, jobs, sweep=sweep)


def test_limits_need_the_cgroups_of_the_user(world: World) -> None:
    job_checks.check(RUN, JobsRequest(memory="1g"), sweep=True)
    assert [argv for argv in world.tools if argv[:2] == ("podman", "info")]
