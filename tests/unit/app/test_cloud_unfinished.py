"""Which submission an interrupted `cloud` goes on with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from ocicaliban.app import cloud_unfinished
from ocicaliban.app.cloud_unfinished import alike, goes_on, same_jobs
from ocicaliban.errors import UsageError
from ocicaliban.history.store import STATUSES
from ocicaliban.jobs import lease
from ocicaliban.model.job import Job, JobSpec, Status, Submission

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.unit.app.conftest import World

NEW = Submission(
    group="", user="ada", host="h", target="vertex", project="/p", mode="cloud", image="i", options={"a": (1,), "b": 2}
)


def counts(**some: int) -> Mapping[Status, int]:
    return dict.fromkeys(STATUSES, 0) | some  # type: ignore[return-value]


def test_submissions_are_alike_whatever_their_group_and_time() -> None:
    assert alike(NEW, evolve(NEW, id=3, group="g", created=5.0, options={"b": 2, "a": [1]}, commit="c", dirty=True))
    for change in ({"image": "j"}, {"host": "x"}, {"module": "m"}, {"project": "/q"}, {"options": {"a": [1]}}):
        assert not alike(NEW, evolve(NEW, **change))


def test_jobs_are_compared_in_the_order_of_their_numbers() -> None:
    specs = [JobSpec(parameters=(("x", 1),), args=("--x", "1")), JobSpec(args=("b",))]
    jobs = [
        Job(id=number, key=str(number), submission=NEW, parameters=spec.parameters, args=spec.args)
        for number, spec in enumerate(specs)
    ]
    assert same_jobs(reversed(jobs), specs)
    assert not same_jobs(jobs, specs[::-1])
    assert not same_jobs(jobs, specs[:1]) and not same_jobs(jobs[:1], specs)


@pytest.mark.parametrize(
    ("some", "killed", "expected"),
    [
        ({"queued": 1, "running": 2}, False, True),
        ({"running": 2}, True, True),
        ({"running": 2}, False, False),
        ({"succeeded": 2}, True, False),
        ({"queued": 1, "stopped": 1}, True, False),
    ],
)
def test_what_goes_on(some: dict[str, int], killed: bool, expected: bool) -> None:
    assert goes_on(counts(**some), lambda: killed) is expected


def test_the_interrupted_submission_is_found(world: World, submission: Submission) -> None:
    new = evolve(submission, target="vertex", group="")
    specs = [JobSpec(args=("1",)), JobSpec(args=("2",))]

    def find(count: int = 2, group: str = "", specs: list[JobSpec] = specs) -> int:
        with world.history() as history:
            found = cloud_unfinished.find_interrupted(history, evolve(new, group=group), count, lambda: specs)
        return found.id if found else 0

    world.submit(evolve(new, group="other", image="x"), ("1",), ("2",))
    assert find() == 0
    made = world.submit(evolve(new, group="g"), ("1",), ("2",))
    world.end(3, "succeeded")
    assert find() == 2
    assert find(group="other") == 0 and find(group="g") == 2
    assert find(count=3) == 0 and find(specs=specs[::-1]) == 0
    with world.history() as history:
        history.stop_queued([4])
    assert find() == 0
    assert made.id == 2


def test_another_process_that_submits_the_same_is_told(
    world: World, submission: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "ENDING", 0.0)
    new = evolve(submission, target="vertex")
    made = world.submit(new, ("1",))
    with (
        lease.held(made),
        world.history() as history,
        pytest.raises(UsageError, match="another ocicaliban is submitting the same jobs to 'digits'"),
    ):
        cloud_unfinished.find_interrupted(history, new, 1, lambda: [JobSpec(args=("1",))])
