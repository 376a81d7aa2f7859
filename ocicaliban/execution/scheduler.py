"""Which job of a sweep starts when and where, and what becomes of it: events in, actions out; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from attrs import evolve, field, frozen

from ocicaliban.errors import UsageError
from ocicaliban.model.job import Status

REFUSALS = 3
"""So many starts in a row that podman refuses are no fault of the jobs: the others are left queued."""


@frozen(kw_only=True)
class Slot:
    """A place for one job at a time: its number, and the CDI devices on which that job is alone (maybe none)."""

    number: int
    devices: tuple[str, ...] = ()


def slots(devices: Sequence[str], jobs: int | None = None, per_job: int | None = None) -> tuple[Slot, ...]:
    """The places for `jobs` jobs at a time with `per_job` of the GPUs `devices` each, as CDI names.

    By default there is a job for each GPU, or one where there is none. GPUs that are left over are not used. Raises
    UsageError when there are too few GPUs, or a number is below one.
    """
    for option, number in (("--jobs", jobs), ("--gpus-per-job", per_job)):
        if number is not None and number < 1:
            raise UsageError(f"{option} {number}: at least 1 is needed", f"for example {option} 1")
    if not devices:
        if per_job is not None:
            hint = "leave it out, or see `ocicaliban doctor` for why none is found"
            raise UsageError(f"--gpus-per-job {per_job}: the jobs run on the CPU", hint)
        return tuple(Slot(number=number) for number in range(jobs or 1))
    there = "there is 1 GPU" if len(devices) == 1 else f"there are {len(devices)} GPUs"
    each = per_job or 1
    most = len(devices) // each
    if not most:
        raise UsageError(f"--gpus-per-job {each}: {there}", f"--gpus-per-job {len(devices)} is the most")
    if jobs is not None and jobs > most:
        hint = f"--jobs {most} is the most; --nogpu runs them on the CPU"
        raise UsageError(f"--jobs {jobs}: {there}, and each job has {each} for itself", hint)
    return tuple(
        Slot(number=number, devices=tuple(devices[number * each : (number + 1) * each]))
        for number in range(most if jobs is None else jobs)
    )


@frozen(kw_only=True)
class Adopted:
    """A job that already runs when the sweep is taken up: its devices, and how often it had failed before."""

    job: int
    devices: tuple[str, ...] = ()
    failures: int = 0


@frozen(kw_only=True)
class Running:
    """A job that runs or is being started.

    One that was adopted may have no slot of these, and `foreign` devices then.
    """

    job: int
    slot: Slot | None
    foreign: tuple[str, ...] = ()
    failures: int = 0


@frozen(kw_only=True)
class State:
    """Where a sweep stands.

    `queue` is never changed, only the `position` in it, so that a step costs the same for a hundred jobs and for
    100,000; `failures` tells how often some of it had failed before. `again` are jobs that have another try, with the
    number of their failures: they come first, having been submitted before the rest of the queue. `blocked`
    slots share a device with an adopted job. `interrupted` jobs were ended by us before they were done.

    The phase is "draining" when nothing more starts and what runs goes on, "stopping" when that was asked to end, and
    "killing" when it was not asked.
    """

    slots: tuple[Slot, ...]
    queue: Sequence[int]
    position: int = 0
    again: tuple[tuple[int, int], ...] = ()
    failures: Mapping[int, int] = field(factory=dict, repr=False)
    free: tuple[Slot, ...] = ()
    blocked: tuple[Slot, ...] = ()
    running: tuple[Running, ...] = ()
    retries: int = 0
    fail_fast: bool = False
    phase: Literal["going", "draining", "stopping", "killing"] = "going"
    refusals: int = 0
    succeeded: int = 0
    failed: int = 0
    stopped: int = 0
    interrupted: int = 0

    @property
    def queued(self) -> int:
        """How many jobs wait, or were interrupted: what is to do when the sweep is taken up again."""
        return len(self.queue) - self.position + len(self.again) + self.interrupted

    @property
    def done(self) -> bool:
        """Whether nothing runs and nothing will start."""
        return not self.running and (self.phase != "going" or not self.queued)


@frozen(kw_only=True)
class Started:
    """The job's container runs."""

    job: int


@frozen(kw_only=True)
class CouldNotStart:
    """The job's container could not be made or started."""

    job: int
    reason: str


@frozen(kw_only=True)
class Withdrawn:
    """The job was not queued any more when its turn came: somebody stopped it meanwhile."""

    job: int


@frozen(kw_only=True)
class Ended:
    """The job's container ended; `stopped` by somebody else, who meant this job and not the sweep.

    A `lost` one is as if it had never been tried: the machine went down with it.
    """

    job: int
    outcome: Literal["succeeded", "failed", "stopped", "lost"]
    reason: str = ""


@frozen(kw_only=True)
class Interrupted:
    """The user wants the sweep to end: the first time in order, the second time at once."""


@frozen(kw_only=True)
class GraceOver:
    """The time is over that jobs have to end after they were asked to."""


Event = Started | CouldNotStart | Withdrawn | Ended | Interrupted | GraceOver


@frozen(kw_only=True)
class Start:
    """Start the job on the devices of its slot; Started, CouldNotStart or Withdrawn says what came of it."""

    job: int
    slot: Slot


@frozen(kw_only=True)
class Terminate:
    """Ask the job to end (SIGTERM), also one that is being started, as soon as it is there."""

    job: int


@frozen(kw_only=True)
class Kill:
    """End the job at once (SIGKILL)."""

    job: int


@frozen(kw_only=True)
class Finish:
    """Put on record how the attempt ended; with `again` the job itself is queued again."""

    job: int
    status: Status
    reason: str = ""
    again: bool = False


Action = Start | Terminate | Kill | Finish


def begin(
    queue: Sequence[int],
    places: tuple[Slot, ...],
    *,
    adopted: Iterable[Adopted] = (),
    failures: Mapping[int, int] | None = None,
    retries: int = 0,
    fail_fast: bool = False,
) -> tuple[State, tuple[Action, ...]]:
    """The state of a sweep of the jobs `queue`, in this order, and the first jobs to start.

    `adopted` run already; `failures` tells of queued jobs how often they had failed before, where they had.
    """
    free, running = places, []
    for one in adopted:
        own = next((slot for slot in free if set(slot.devices) == set(one.devices)), None)
        free = tuple(slot for slot in free if slot != own)
        running.append(
            Running(job=one.job, slot=own, foreign=() if own else one.devices, failures=one.failures),
        )
    state = State(
        slots=places,
        queue=queue,
        failures=failures or {},
        running=tuple(running),
        retries=retries,
        fail_fast=fail_fast,
    )
    return _fill(_freed(state, free))


def step(state: State, event: Event) -> tuple[State, tuple[Action, ...]]:
    """What an event changes, and what is to be done then, in this order.

    An event of a job that does not run is none: containers may be told of twice.
    """
    match event:
        case Interrupted():
            return _stop(state, kill=state.phase in ("stopping", "killing"))
        case GraceOver():
            return _stop(state, kill=True) if state.phase == "stopping" else (state, ())
    one = next((running for running in state.running if running.job == event.job), None)
    if one is None:
        return state, ()
    actions: tuple[Action, ...] = ()
    match event:
        case Started():
            return evolve(state, refusals=0), ()
        case Withdrawn():
            state = evolve(_without(state, one), stopped=state.stopped + 1)
        case CouldNotStart():
            state = evolve(state, refusals=state.refusals + 1)
            state, actions = _failed(_without(state, one), one, event.reason)
            if state.refusals >= REFUSALS and state.phase == "going":
                state = evolve(state, phase="draining")
        case Ended(outcome="succeeded"):
            state = evolve(_without(state, one), succeeded=state.succeeded + 1)
            actions = (Finish(job=one.job, status="succeeded"),)
        case Ended(outcome="stopped"):
            state = evolve(_without(state, one), stopped=state.stopped + 1)
            actions = (Finish(job=one.job, status="stopped", reason=event.reason),)
        case Ended(outcome="lost"):
            state = _without(state, one)
            state = evolve(state, again=(*state.again, (one.job, one.failures)))
            actions = (Finish(job=one.job, status="lost", reason=event.reason, again=True),)
        case Ended():
            state, actions = _failed(_without(state, one), one, event.reason)
    state, more = _fill(state)
    return state, (*actions, *more)


def _failed(state: State, one: Running, reason: str) -> tuple[State, tuple[Action, ...]]:
    if state.phase in ("stopping", "killing"):
        # It was told to end, so that its failing says nothing; whoever takes the sweep up runs it again.
        finish = Finish(job=one.job, status="stopped", reason=f"interrupted: {reason}", again=True)
        return evolve(state, interrupted=state.interrupted + 1), (finish,)
    if one.failures < state.retries:
        state = evolve(state, again=(*state.again, (one.job, one.failures + 1)))
        return state, (Finish(job=one.job, status="failed", reason=reason, again=True),)
    state = evolve(state, failed=state.failed + 1)
    finish = Finish(job=one.job, status="failed", reason=reason)
    if not state.fail_fast:
        return state, (finish,)
    state, actions = _stop(state, kill=False)
    return state, (finish, *actions)


def _stop(state: State, *, kill: bool) -> tuple[State, tuple[Action, ...]]:
    """Nothing more starts, and what runs is asked to end, or killed."""
    act = Kill if kill else Terminate
    state = evolve(state, phase="killing" if kill else "stopping")
    return state, tuple(act(job=one.job) for one in state.running)


def _without(state: State, one: Running) -> State:
    running = tuple(other for other in state.running if other != one)
    free = (*state.free, one.slot) if one.slot else state.free
    return _freed(evolve(state, running=running), (*free, *state.blocked) if one.foreign else free)


def _freed(state: State, free: tuple[Slot, ...]) -> State:
    """The state in which of the slots `free` those can be used that share no device with an adopted job."""
    taken = {device for one in state.running for device in one.foreign}
    if not taken:
        return evolve(state, free=free, blocked=())
    blocked = tuple(slot for slot in dict.fromkeys((*state.blocked, *free)) if taken.intersection(slot.devices))
    return evolve(state, free=tuple(slot for slot in free if slot not in blocked), blocked=blocked)


def _fill(state: State) -> tuple[State, tuple[Action, ...]]:
    """Start what can be started."""
    if state.phase != "going":
        return state, ()
    # An adopted job without a slot of ours counts too: never more at a time than there are slots.
    room = min(len(state.free), len(state.slots) - len(state.running))
    starts: list[Running] = []
    again, position = state.again, state.position
    for slot in state.free[: max(room, 0)]:
        if again:
            (job, failures), again = again[0], again[1:]
        elif position < len(state.queue):
            job = state.queue[position]
            failures, position = state.failures.get(job, 0), position + 1
        else:
            break
        starts.append(Running(job=job, slot=slot, failures=failures))
    if not starts:
        return state, ()
    state = evolve(
        state,
        again=again,
        position=position,
        free=state.free[len(starts) :],
        running=(*state.running, *starts),
    )
    return state, tuple(Start(job=one.job, slot=one.slot) for one in starts if one.slot)
