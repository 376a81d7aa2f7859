"""Each job is submitted once: what one submission does with the answers that it gets, in virtual time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.errors import OcicalibanError
from ocicaliban.reporter import Reporter
from ocicaliban.targets import submit_once
from ocicaliban.targets.backend import Refused
from ocicaliban.targets.submit_once import CreateRequest, Limits, Record
from tests.unit.targets.fake_service import FakeClient, FakeService, Outcome, counts
from tests.unit.targets.virtual_time import VirtualClock

GROUP = "brave-otter"


def requests(count: int, attempt: int = 1) -> list[CreateRequest]:
    return [request(f"job-{number}", attempt) for number in range(count)]


def request(key: str, attempt: int = 1, **more: object) -> CreateRequest:
    return CreateRequest(key=key, attempt=attempt, body={"key": key, "attempt": attempt, "group": GROUP, **more})


class World:
    """A service, a connection to it, and what a submission told."""

    def __init__(self, creates: Sequence[Outcome] = (), looks: Sequence[Outcome] = (), seed: int = 0) -> None:
        self.clock = VirtualClock(seed)
        self.service = FakeService(clock=self.clock, creates=[*creates], looks=[*looks])
        self.client = FakeClient(self.service)
        self.told: list[tuple[str, str]] = []
        self.said: list[str] = []
        self.withdrawn: set[str] = set()
        self.on_accepted: Callable[[str], None] = lambda key: None

    def _accepted(self, one: CreateRequest, name: str) -> None:
        self.told.append((one.key, name))
        self.on_accepted(one.key)

    def submit(self, asked: Sequence[CreateRequest], *, settle: bool = False) -> None:
        record = Record(accepted=self._accepted, withdrawn=lambda: self.withdrawn)
        submit_once.submit(
            self.client, asked, GROUP, record, settle=settle, reporter=Reporter(self.said.append), clock=self.clock
        )

    def check(self) -> None:
        """Nothing is there twice, and what was told is there."""
        assert set(counts(self.service.jobs).values()) <= {1}
        assert len({key for key, _ in self.told}) == len(self.told)
        assert {(made.key, made.name) for made in self.service.jobs} >= {*self.told}

    def check_whole(self, count: int) -> None:
        self.check()
        assert {made.key for made in self.service.jobs} == {f"job-{number}" for number in range(count)}
        assert len(self.told) == count


PASSING: tuple[Outcome, ...] = ("accepted", "lost before", "lost after", "lost late", "throttled")


@given(
    st.integers(1, 8),
    st.lists(st.sampled_from(PASSING), max_size=12),
    st.lists(st.sampled_from(("accepted", "no answer")), max_size=4),
    st.integers(0, 999),
)
def test_whatever_passes_by_itself_every_job_is_there_once(
    count: int, creates: list[Outcome], looks: list[Outcome], seed: int
) -> None:
    world = World(creates, ["accepted", *looks], seed)
    world.submit(requests(count))
    world.clock.finish()
    world.check_whole(count)
    assert sum("more slowly" in line for line in world.said) == ("throttled" in creates[: len(world.service.sent)])


@given(
    st.integers(1, 6),
    st.lists(st.sampled_from((*PASSING, "refused", "nonsense")), max_size=10),
    st.lists(st.sampled_from(("accepted", "no answer", "refused")), max_size=6),
    st.integers(0, 999),
)
def test_a_submission_that_ends_early_can_be_repeated(
    count: int, creates: list[Outcome], looks: list[Outcome], seed: int
) -> None:
    world = World(creates, ["accepted", *looks], seed)
    try:
        world.submit(requests(count))
    except Refused:
        # It is known of every job whether it is there.
        world.clock.finish()
        assert {key for key, _ in world.told} == {made.key for made in world.service.jobs}
    except OcicalibanError:
        world.clock.finish()
    world.check()
    before = [*world.told]
    world.told.clear()
    world.service.creates.clear()
    world.service.looks.clear()
    world.submit(requests(count), settle=True)
    world.check_whole(count)
    assert {*before} <= {*world.told}


def test_a_job_is_looked_for_three_times_before_it_is_sent_again() -> None:
    world = World(["lost before"])
    world.submit(requests(1))
    (first, _), (second, _) = world.service.sent
    assert second - first == pytest.approx(5.0 + 4 * world.service.latency)
    assert world.service.asked == 4  # and once in the beginning


def test_looks_come_closer_first() -> None:
    limits = Limits()
    pauses: list[float] = []
    while (pause := limits.next_look(len(pauses))) is not None:
        pauses.append(pause)
    assert sum(pauses) == limits.settles and len(pauses) >= 3


def test_several_are_under_way_at_once_and_no_more_than_allowed() -> None:
    world = World()
    world.submit(requests(9))
    assert [Counter(at for at, _ in world.service.sent)[at] for at in (0.1,)] == [3]
    assert world.clock.monotonic() < 1.0


def test_a_service_that_never_answers_ends_it() -> None:
    world = World(["lost before"] * 999)
    with pytest.raises(OcicalibanError, match="no answer the job"):
        world.submit(requests(2))
    assert 600 < world.clock.monotonic() < 660


def test_a_job_whose_fate_cannot_be_asked_is_told_as_unknown() -> None:
    world = World(["lost after"], ["accepted", "refused"])
    with pytest.raises(OcicalibanError, match="it may be there") as fault:
        world.submit(requests(1))
    assert not isinstance(fault.value, Refused)
    world = World(["lost after"] * 2, ["accepted", "refused", "refused"])
    with pytest.raises(OcicalibanError, match="2 jobs may be there or not"):
        world.submit(requests(2))


def test_what_is_withdrawn_is_not_sent() -> None:
    world = World()
    world.service.latency = 3.0  # so that it is asked meanwhile
    world.withdrawn = {"job-5"}
    world.submit(requests(6))
    assert {made.key for made in world.service.jobs} == {f"job-{number}" for number in range(5)}
    assert not world.said


def test_a_refusal_stops_the_rest_and_says_how_many_were_accepted() -> None:
    world = World(["accepted", "refused"])
    with pytest.raises(Refused, match=r"refused a job, after \d of 50 were accepted: no such machine"):
        world.submit(requests(50))
    assert len(world.service.sent) < 10
    world.check()


def test_the_first_job_that_is_refused_is_told_as_such() -> None:
    with pytest.raises(Refused, match="refused the job: no such machine"):
        World(["refused"]).submit(requests(1))


def test_what_nobody_expects_in_a_thread_ends_it() -> None:
    world = World(["accepted", "nonsense"])
    with pytest.raises(OcicalibanError, match="unexpected: ValueError: closed channel"):
        world.submit(requests(20))
    world.check()


@given(st.integers(2, 30), st.lists(st.sampled_from(PASSING), max_size=8), st.integers(0, 999))
def test_a_ctrl_c_ends_it_with_all_that_was_accepted_told(tenths: int, creates: list[Outcome], seed: int) -> None:
    world = World(creates, seed=seed)
    world.clock.interrupt_at = tenths / 10
    try:
        world.submit(requests(20))
    except KeyboardInterrupt:
        assert "interrupted; the answers that are under way are waited for" in world.said
    world.clock.finish()
    world.check()
    assert {key for key, _ in world.told} == {made.key for made in world.service.jobs}


def test_after_a_ctrl_c_nobody_waits_for_a_service_that_does_not_answer() -> None:
    world = World(["lost after"], ["accepted", *["no answer"] * 99])  # type: ignore[list-item]
    world.clock.interrupt_at = 1.0
    with pytest.raises(KeyboardInterrupt):
        world.submit(requests(1))
    assert world.clock.monotonic() < 10


def test_a_fault_of_the_caller_ends_it_with_all_that_was_accepted_told() -> None:
    world = World()

    def accepted(key: str) -> None:
        if len(world.told) == 4:
            raise RuntimeError("the database is gone")

    world.on_accepted = accepted
    with pytest.raises(RuntimeError):
        world.submit(requests(20))
    world.check()
    assert {key for key, _ in world.told} == {made.key for made in world.service.jobs}


def test_what_the_service_cannot_take_is_told_before_anything_is_sent() -> None:
    world = World()
    with pytest.raises(OcicalibanError, match="bad"):
        world.submit([*requests(3), request("job-3", bad=True)])
    assert not world.service.sent


def test_what_is_there_is_told_and_not_sent_again_and_another_attempt_is_another_job() -> None:
    world = World()
    world.submit(requests(3))
    before = [*world.told]
    world.told.clear()
    world.clock.sleep(5)
    world.submit(requests(4))
    assert {*before} < {*world.told} and len(world.service.sent) == 4
    world.told.clear()
    world.submit(requests(4, attempt=2))
    assert set(counts(world.service.jobs).values()) == {1} and len(world.service.jobs) == 8


def test_an_earlier_call_that_was_killed_a_moment_ago_is_waited_for() -> None:
    world = World()
    world.submit(requests(1), settle=True)
    assert world.said == ["looking for 5 s whether some were on their way to the service already"]
    assert world.service.sent[0][0] > 5
