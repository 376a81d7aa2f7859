"""The rules of a sweep, whatever its jobs do and in whatever order they do it."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ocicaliban.errors import UsageError
from ocicaliban.execution import scheduler
from ocicaliban.execution.scheduler import (
    Adopted,
    ContainerEnded,
    CouldNotStart,
    Finish,
    GraceOver,
    Interrupted,
    Kill,
    PutBack,
    Slot,
    SlotLeased,
    Start,
    Started,
    State,
    Terminate,
    Withdrawn,
    slots,
    step,
)

GPUS = tuple(f"nvidia.com/gpu={number}" for number in range(4))


def _ends(state: State, *jobs: int, outcome: str = "succeeded") -> tuple[State, tuple[scheduler.Action, ...]]:
    actions: tuple[scheduler.Action, ...] = ()
    for job in jobs:
        state, actions = step(state, ContainerEnded(job=job, outcome=outcome, reason="exit code 1"))  # type: ignore[arg-type]
    return state, actions


def test_more_jobs_at_a_time_than_any_machine_serves_are_refused() -> None:
    with pytest.raises(UsageError, match="--jobs 30000000: it must be at most"):
        slots((), 30_000_000)


def test_by_default_there_is_a_slot_for_each_gpu_or_one() -> None:
    assert [slot.devices for slot in slots(GPUS[:2])] == [(GPUS[0],), (GPUS[1],)]
    assert slots(()) == (Slot(number=0),)
    assert len(slots((), jobs=3)) == 3
    assert [slot.devices for slot in slots(GPUS, jobs=1, per_job=3)] == [GPUS[:3]]
    assert len(slots(GPUS[:3], per_job=2)) == 1


@pytest.mark.parametrize(
    ("devices", "jobs", "per_job", "message"),
    [
        (GPUS, 5, None, "--jobs 5: there are 4 GPUs, and each job has 1 for itself"),
        (GPUS, 3, 2, "--jobs 3: there are 4 GPUs, and each job has 2 for itself"),
        (GPUS[:1], None, 2, "--gpus-per-job 2: there is 1 GPU"),
        ((), None, 1, "--gpus-per-job 1: the jobs run on the CPU"),
        ((), 0, None, "--jobs 0: it must be at least 1"),
        (GPUS, None, -1, "--gpus-per-job -1: it must be at least 1"),
    ],
)
def test_more_than_the_gpus_allow_is_refused(
    devices: tuple[str, ...], jobs: int | None, per_job: int | None, message: str
) -> None:
    with pytest.raises(UsageError) as raised:
        slots(devices, jobs, per_job)
    assert raised.value.message == message
    assert raised.value.hint


def test_jobs_start_in_the_order_of_submission_as_slots_become_free() -> None:
    state, actions = scheduler.begin([7, 8, 9], slots((), 2))
    assert [action.job for action in actions if isinstance(action, Start)] == [7, 8]
    state, actions = _ends(state, 8)
    assert actions == (Finish(job=8, status="succeeded"), Start(job=9, slot=Slot(number=1)))
    state, actions = _ends(state, 9, 7)
    assert state.done
    assert (state.succeeded, state.queued) == (3, 0)


def test_a_failing_job_does_not_stop_the_others() -> None:
    state, _ = scheduler.begin([1, 2], slots(()))
    state, actions = _ends(state, 1, outcome="failed")
    assert actions[0] == Finish(job=1, status="failed", reason="exit code 1")
    assert isinstance(actions[1], Start)


def test_a_retry_comes_before_what_was_submitted_later() -> None:
    state, _ = scheduler.begin([1, 2], slots(()), retries=1)
    state, actions = _ends(state, 1, outcome="failed")
    assert actions == (
        Finish(job=1, status="failed", reason="exit code 1", again=True),
        Start(job=1, slot=Slot(number=0)),
    )
    state, actions = _ends(state, 1, outcome="failed")
    assert actions[0] == Finish(job=1, status="failed", reason="exit code 1")


def test_failures_before_a_sweep_was_taken_up_count() -> None:
    adopted = [Adopted(job=1, failures=1)]
    state, _ = scheduler.begin([2], slots((), 2), adopted=adopted, failures={2: 1}, retries=1)
    state, _ = _ends(state, 1, 2, outcome="failed")
    assert (state.failed, state.done) == (2, True)


def test_a_job_that_was_lost_is_run_again_as_if_it_had_not_been_tried() -> None:
    state, _ = scheduler.begin([1, 2], slots(()))
    state, actions = _ends(state, 1, outcome="lost")
    assert actions == (
        Finish(job=1, status="lost", reason="exit code 1", again=True),
        Start(job=1, slot=Slot(number=0)),
    )


def test_fail_fast_ends_what_runs_and_leaves_the_rest_queued() -> None:
    state, _ = scheduler.begin([1, 2, 3], slots((), 2), fail_fast=True)
    state, actions = _ends(state, 1, outcome="failed")
    assert actions == (Finish(job=1, status="failed", reason="exit code 1"), Terminate(job=2))
    state, actions = _ends(state, 2, outcome="failed")
    assert actions == (Finish(job=2, status="stopped", reason="interrupted: exit code 1", again=True),)
    assert (state.failed, state.queued, state.done) == (1, 2, True)


def test_fail_fast_waits_for_the_last_try() -> None:
    state, _ = scheduler.begin([1, 2], slots((), 1), fail_fast=True, retries=1)
    state, _ = _ends(state, 1, outcome="failed")
    assert state.phase == "going"
    state, _ = _ends(state, 1, outcome="failed")
    assert state.done


def test_an_interrupt_asks_first_and_kills_then() -> None:
    state, _ = scheduler.begin([1, 2, 3], slots((), 2), retries=5)
    state, actions = step(state, Interrupted())
    assert actions == (Terminate(job=1), Terminate(job=2))
    state, actions = _ends(state, 1)
    assert actions == (Finish(job=1, status="succeeded"),)
    state, actions = step(state, Interrupted())
    assert actions == (Kill(job=2),)


def test_when_the_grace_is_over_what_still_runs_is_killed() -> None:
    state, _ = scheduler.begin([1], slots(()))
    assert step(state, GraceOver()) == (state, ())
    state, _ = step(state, Interrupted())
    state, actions = step(state, GraceOver())
    assert actions == (Kill(job=1),)


def test_a_job_that_someone_stops_is_not_tried_again() -> None:
    state, _ = scheduler.begin([1, 2], slots(()), retries=3, fail_fast=True)
    state, actions = step(state, ContainerEnded(job=1, outcome="stopped", reason="stopped by ada"))
    assert actions == (Finish(job=1, status="stopped", reason="stopped by ada"), Start(job=2, slot=Slot(number=0)))
    state, actions = step(state, Withdrawn(job=2))
    assert (actions, state.done, state.stopped) == ((), True, 2)


def test_when_nothing_can_be_started_the_rest_stays_queued_and_what_runs_goes_on() -> None:
    state, _ = scheduler.begin(range(10), slots((), 2))
    state, _ = step(state, Started(job=0))
    for job in (1, 2, 3):
        state, actions = step(state, CouldNotStart(job=job, reason="no space"))
    assert actions == (Finish(job=3, status="failed", reason="no space"),)
    assert not state.done
    state, actions = _ends(state, 0, outcome="failed")
    assert actions == (Finish(job=0, status="failed", reason="exit code 1"),)
    assert (state.failed, state.queued, state.done) == (4, 6, True)


def test_a_machine_that_starts_nothing_costs_no_job_a_try() -> None:
    state, _ = scheduler.begin(range(10), slots((), 2), retries=3)
    state, _ = step(state, Started(job=0))
    state, actions = step(state, CouldNotStart(job=1, reason="no space", machine=True))
    assert actions == (Finish(job=1, status="lost", reason="no space", again=True),)
    state, actions = _ends(state, 0)
    assert actions == (Finish(job=0, status="succeeded"),)
    assert (state.succeeded, state.failed, state.queued, state.done) == (1, 0, 9, True)


def test_a_job_that_could_not_begin_is_still_queued_and_nothing_else_begins() -> None:
    state, _ = scheduler.begin([1, 2, 3], slots((), 2))
    state, actions = step(state, PutBack(job=1))
    assert actions == () and not state.done
    state, _ = _ends(state, 2)
    assert (state.succeeded, state.queued, state.done) == (1, 2, True)


def test_a_start_that_works_makes_up_for_those_that_did_not() -> None:
    state, _ = scheduler.begin(range(100), slots((), 2))
    for _ in range(30):
        state, _ = step(state, CouldNotStart(job=state.running[-1].job, reason="?"))
        state, _ = step(state, Started(job=state.running[-1].job))
        assert state.phase == "going"


def test_an_adopted_job_keeps_its_devices_to_itself() -> None:
    places = slots(GPUS, per_job=2)
    adopted = [Adopted(job=1, devices=(GPUS[1],)), Adopted(job=2, devices=(GPUS[0],))]
    state, actions = scheduler.begin([3, 4], places, adopted=adopted)
    assert actions == ()  # two at a time
    state, actions = _ends(state, 1)
    assert actions[1:] == (Start(job=3, slot=places[1]),)
    state, actions = _ends(state, 2)
    assert actions[1:] == (Start(job=4, slot=places[0]),)


def test_an_adopted_job_takes_the_slot_with_its_devices() -> None:
    places = slots(GPUS[:2])
    _, actions = scheduler.begin([3, 4], places, adopted=[Adopted(job=1, devices=(GPUS[1],))])
    assert actions == (Start(job=3, slot=places[0]),)


def test_each_job_of_the_queue_is_looked_at_once() -> None:
    looked_at = Counter[str]()

    class Queue(list[int]):
        def __getitem__(self, index):  # type: ignore[no-untyped-def]
            looked_at["get"] += 1
            return super().__getitem__(index)

        def __iter__(self):  # type: ignore[no-untyped-def]
            looked_at["iter"] += 1
            return super().__iter__()

    number = 2_000
    state, _ = scheduler.begin(Queue(range(number)), slots((), 4))
    while not state.done:
        state, _ = step(state, ContainerEnded(job=state.running[0].job, outcome="succeeded"))
    assert state.succeeded == number
    assert looked_at == {"get": number}


class Sweep(RuleBasedStateMachine):
    """Anything may happen at any time; what holds, holds always."""

    @initialize(
        count=st.integers(0, 12),
        places=st.one_of(
            st.builds(slots, st.just(()), st.integers(1, 4)),
            st.builds(slots, st.just(GPUS), st.none(), st.integers(1, 4)),
        ),
        adopted=st.lists(st.sampled_from([(), *((gpu,) for gpu in GPUS)]), max_size=3, unique=True),
        withheld=st.integers(0, 4),
        retries=st.integers(0, 2),
        fail_fast=st.booleans(),
    )
    def begin(
        self,
        count: int,
        places: tuple[Slot, ...],
        adopted: list[tuple[str, ...]],
        withheld: int,
        retries: int,
        fail_fast: bool,
    ) -> None:
        self.queue = list(range(count))
        self.places = places
        self.withheld = places[:withheld]
        self.retries = retries
        self.devices = {100 + number: devices for number, devices in enumerate(adopted)}
        self.adopted = set(self.devices)
        self.starts: list[int] = []
        self.tries = Counter[int](self.devices)
        for job in self.adopted:
            self.tries[job] = 1
        self.final: dict[int, str] = {}
        self.asked = False
        begun = [Adopted(job=job, devices=devices) for job, devices in self.devices.items()]
        self.state, actions = scheduler.begin(
            self.queue, places, adopted=begun, withheld=self.withheld, retries=retries, fail_fast=fail_fast
        )
        self.act(actions)

    def act(self, actions: tuple[scheduler.Action, ...]) -> None:
        for action in actions:
            match action:
                case Start(job=job, slot=slot):
                    assert not self.asked, "nothing starts after an interrupt"
                    assert job not in self.devices and job not in self.final
                    assert not any(set(slot.devices) & set(other) for other in self.devices.values())
                    assert slot not in self.withheld, "another program uses it"
                    self.devices[job] = slot.devices
                    assert len(self.devices) <= len(self.places)
                    if job not in self.starts and job not in self.adopted:
                        self.starts.append(job)
                    self.tries[job] += 1
                    assert self.tries[job] <= self.retries + 1
                case Finish(job=job, again=again):
                    assert job not in self.final
                    del self.devices[job]
                    if not again:
                        self.final[job] = action.status
                case Terminate(job=job) | Kill(job=job):
                    assert job in self.devices

    def happens(self, event: scheduler.Event) -> None:
        self.state, actions = step(self.state, event)
        self.act(actions)

    @precondition(lambda self: self.devices)
    @rule(data=st.data(), outcome=st.sampled_from(["succeeded", "failed", "stopped", "lost"]))
    def ends(self, data: st.DataObject, outcome: str) -> None:
        job = data.draw(st.sampled_from(sorted(self.devices)))
        self.tries[job] -= outcome == "lost"
        self.happens(ContainerEnded(job=job, outcome=outcome, reason="why"))  # type: ignore[arg-type]

    @precondition(lambda self: self.devices)
    @rule(data=st.data(), event=st.sampled_from([Started, CouldNotStart, Withdrawn]), machine=st.booleans())
    def answers(self, data: st.DataObject, event: type, machine: bool) -> None:
        job = data.draw(st.sampled_from(sorted(self.devices)))
        if event is Withdrawn:
            del self.devices[job]
            self.final[job] = "withdrawn"
        if event is CouldNotStart:
            self.tries[job] -= machine
            self.happens(CouldNotStart(job=job, reason="why", machine=machine))
            return
        self.happens(event(job=job))

    @precondition(lambda self: self.devices)
    @rule(data=st.data())
    def cannot_begin(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.devices)))
        del self.devices[job]
        self.tries[job] -= 1
        self.asked = True  # nothing else begins either
        self.happens(PutBack(job=job))

    @rule()
    def is_told_of_a_job_that_does_not_run(self) -> None:
        before = self.state
        self.happens(ContainerEnded(job=-1, outcome="failed"))
        assert self.state == before

    @precondition(lambda self: self.withheld)
    @rule(data=st.data())
    def gets_a_slot(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(self.withheld))
        self.withheld = tuple(other for other in self.withheld if other != slot)
        self.happens(SlotLeased(slot=slot))

    @rule()
    def gives_back_what_nothing_needs(self) -> None:
        self.state, over = scheduler.idle(self.state)
        assert not over or not self.state.queued
        self.withheld = (*self.withheld, *over)

    @rule()
    def interrupt(self) -> None:
        self.asked = True
        self.happens(Interrupted())

    @rule()
    def grace_is_over(self) -> None:
        self.happens(GraceOver())

    @invariant()
    def counts_are_right(self) -> None:
        ended = Counter(self.final.values())
        assert self.state.succeeded == ended["succeeded"]
        assert self.state.failed == ended["failed"]
        assert self.state.stopped == ended["stopped"] + ended["withdrawn"]
        assert {one.job for one in self.state.running} == set(self.devices)
        total = len(self.queue) + len(self.adopted)
        assert total == len(self.final) + len(self.devices) + self.state.queued

    @invariant()
    def first_starts_are_in_the_order_of_submission(self) -> None:
        assert self.starts == self.queue[: len(self.starts)]

    @invariant()
    def a_sweep_is_done_or_goes_on(self) -> None:
        assert self.state.withheld == self.withheld
        if not self.devices and not self.withheld:
            assert self.state.done
        if self.state.done and self.state.phase == "going":
            assert set(self.final) == {*self.queue, *self.adopted}, "all ended"


Sweep.TestCase.settings = settings(max_examples=2 * settings().max_examples, stateful_step_count=30)
TestSweep = Sweep.TestCase


@given(st.integers(1, 9), st.integers(1, 9), st.one_of(st.none(), st.integers(1, 9)))
def test_no_device_is_in_two_slots(gpus: int, per_job: int, jobs: int | None) -> None:
    names = tuple(f"nvidia.com/gpu={number}" for number in range(gpus))
    try:
        places = slots(names, jobs, per_job)
    except UsageError:
        assert per_job * (jobs or 1) > gpus
        return
    used = [device for slot in places for device in slot.devices]
    assert len(used) == len(set(used)) == per_job * len(places)
    assert len(places) == (jobs or gpus // per_job)
