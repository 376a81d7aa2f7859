"""Decides which job starts when and where, and what follows from its end: events in, actions out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from attrs import evolve, field, frozen

from ocicaliban.errors import UsageError
from ocicaliban.model.job import Status

MOST = 10_000
"""Slots that a sweep can have: far more than a machine can serve. Each is a container with processes of its own."""
REFUSALS = 3
"""After so many starts in a row that podman refuses, the jobs are not to blame: the others stay queued."""


@frozen(kw_only=True)
class Slot:
    """A place for one job at a time: its number, and the CDI devices that the job has for itself, if any."""

    number: int
    devices: tuple[str, ...] = ()


def slots(devices: Sequence[str], jobs: int | None = None, per_job: int | None = None) -> tuple[Slot, ...]:
    """Return the slots for `jobs` jobs at a time, each with `per_job` of the GPUs `devices` (CDI names).

    By default, there is one job for each GPU, or one job without GPUs. GPUs that are left over are not used. Raises
    UsageError when there are too few GPUs, or a number is below one.
    """
    for option, number in (("--jobs", jobs), ("--gpus-per-job", per_job)):
        if number is not None and number < 1:
            raise UsageError(f"{option} {number}: it must be at least 1", f"for example {option} 1")
    if jobs is not None and jobs > MOST:
        raise UsageError(
            f"--jobs {jobs}: it must be at most {MOST}", "--jobs with the number of processor cores, or less"
        )
    if not devices:
        if per_job is not None:
            hint = "leave it out; `ocicaliban doctor` says why it finds no GPU"
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
    """A job that already runs when its submission is resumed: its devices, and how often it has failed before."""

    job: int
    devices: tuple[str, ...] = ()
    failures: int = 0


@frozen(kw_only=True)
class Running:
    """A job that runs or is being started.

    An adopted job may have devices of no slot: then `slot` is None, and `foreign` has the devices.
    """

    job: int
    slot: Slot | None
    foreign: tuple[str, ...] = ()
    failures: int = 0


@frozen(kw_only=True)
class State:
    """The state of a sweep.

    `queue` never changes, only the `position` in it: so a step costs the same for a hundred jobs and for 100,000.
    `failures` says how often some of its jobs have failed before. `again` are jobs to try again, with the number of
    their failures; they come before the rest of the queue. `blocked` slots share a device with an adopted job; the
    devices of `withheld` slots are not leased to us. `interrupted` jobs were ended by the scheduler before they were
    done, or the machine could not start them.

    In the phase "draining", nothing more starts, and what runs goes on. In "stopping", it was asked to end; in
    "killing", it is killed.
    """

    slots: tuple[Slot, ...]
    queue: Sequence[int]
    position: int = 0
    again: tuple[tuple[int, int], ...] = ()
    failures: Mapping[int, int] = field(factory=dict, repr=False)
    free: tuple[Slot, ...] = ()
    blocked: tuple[Slot, ...] = ()
    withheld: tuple[Slot, ...] = ()
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
        """The number of jobs that wait or were interrupted: those that `resume` will run."""
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
    """The job's container could not be made or started.

    `machine`: the machine can start no container now, and the job is not to blame.
    """

    job: int
    reason: str
    machine: bool = False


@frozen(kw_only=True)
class Withdrawn:
    """The job was not queued any more when its turn came: someone stopped it meanwhile."""

    job: int


@frozen(kw_only=True)
class PutBack:
    """The job was not begun, and is still queued. Nothing else can begin either, until `resume`."""

    job: int


@frozen(kw_only=True)
class ContainerEnded:
    """The job's container ended. `stopped`: someone stopped this job, and not the sweep.

    `lost`: the machine went down with it. That does not count as a try.
    """

    job: int
    outcome: Literal["succeeded", "failed", "stopped", "lost"]
    reason: str = ""


@frozen(kw_only=True)
class Interrupted:
    """The user interrupts the sweep: the first time the jobs are asked to end, the second time they are killed."""


@frozen(kw_only=True)
class GraceOver:
    """The jobs that were asked to end have had their time."""


@frozen(kw_only=True)
class SlotLeased:
    """The devices of a withheld slot are ours now."""

    slot: Slot


Event = Started | CouldNotStart | Withdrawn | PutBack | ContainerEnded | Interrupted | GraceOver | SlotLeased


@frozen(kw_only=True)
class Start:
    """Start the job on the devices of its slot; Started, CouldNotStart or Withdrawn follows."""

    job: int
    slot: Slot


@frozen(kw_only=True)
class Terminate:
    """Ask the job to end (SIGTERM); a job that is being started, as soon as it has started."""

    job: int


@frozen(kw_only=True)
class Kill:
    """Kill the job (SIGKILL)."""

    job: int


@frozen(kw_only=True)
class Finish:
    """Record how the attempt ended; with `again`, queue the job again."""

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
    withheld: tuple[Slot, ...] = (),
    failures: Mapping[int, int] | None = None,
    retries: int = 0,
    fail_fast: bool = False,
) -> tuple[State, tuple[Action, ...]]:
    """Return the state of a sweep of the jobs `queue`, in this order, and the first jobs to start.

    The `adopted` jobs already run. The devices of the `withheld` places are not ours yet. `failures` says how
    often queued jobs have failed before.
    """
    free, running = tuple(slot for slot in places if slot not in withheld), []
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
        withheld=withheld,
        retries=retries,
        fail_fast=fail_fast,
    )
    return _fill(_freed(state, free))


def step(state: State, event: Event) -> tuple[State, tuple[Action, ...]]:
    """Return the state after an event, and what to do then, in this order.

    The event of a job that does not run changes nothing: the end of a container may be reported twice.
    """
    match event:
        case Interrupted():
            return _stop(state, kill=state.phase in ("stopping", "killing"))
        case GraceOver():
            return _stop(state, kill=True) if state.phase == "stopping" else (state, ())
        case SlotLeased():
            return _leased(state, event.slot)
    one = next((running for running in state.running if running.job == event.job), None)
    if one is None:
        return state, ()
    actions: tuple[Action, ...] = ()
    match event:
        case Started():
            return evolve(state, refusals=0), ()
        case Withdrawn():
            state = evolve(_without(state, one), stopped=state.stopped + 1)
        case PutBack():
            state = evolve(_without(state, one), interrupted=state.interrupted + 1)
            state = evolve(state, phase="draining") if state.phase == "going" else state
        case CouldNotStart(machine=True):
            state = evolve(_without(state, one), interrupted=state.interrupted + 1)
            state = evolve(state, phase="draining") if state.phase == "going" else state
            actions = (Finish(job=one.job, status="lost", reason=event.reason, again=True),)
        case CouldNotStart():
            state = evolve(state, refusals=state.refusals + 1)
            state, actions = _failed(_without(state, one), one, event.reason)
            if state.refusals >= REFUSALS and state.phase == "going":
                state = evolve(state, phase="draining")
        case ContainerEnded(outcome="succeeded"):
            state = evolve(_without(state, one), succeeded=state.succeeded + 1)
            actions = (Finish(job=one.job, status="succeeded"),)
        case ContainerEnded(outcome="stopped"):
            state = evolve(_without(state, one), stopped=state.stopped + 1)
            actions = (Finish(job=one.job, status="stopped", reason=event.reason),)
        case ContainerEnded(outcome="lost"):
            state = _without(state, one)
            state = evolve(state, again=(*state.again, (one.job, one.failures)))
            actions = (Finish(job=one.job, status="lost", reason=event.reason, again=True),)
        case ContainerEnded():
            state, actions = _failed(_without(state, one), one, event.reason)
    state, more = _fill(state)
    return state, (*actions, *more)


def idle(state: State) -> tuple[State, tuple[Slot, ...]]:
    """Return the slots with devices that no queued job needs, and the state in which they are withheld."""
    if state.queued:
        return state, ()
    slots = tuple(slot for slot in state.free if slot.devices)
    free = tuple(slot for slot in state.free if not slot.devices)
    return evolve(state, free=free, withheld=(*state.withheld, *slots)), slots


def _leased(state: State, slot: Slot) -> tuple[State, tuple[Action, ...]]:
    if slot not in state.withheld:
        return state, ()
    withheld = tuple(other for other in state.withheld if other != slot)
    return _fill(_freed(evolve(state, withheld=withheld), (*state.free, *state.blocked, slot)))


def _failed(state: State, one: Running, reason: str) -> tuple[State, tuple[Action, ...]]:
    if state.phase in ("stopping", "killing"):
        # It was asked to end, so it did not fail by itself; `resume` runs it again.
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
    """Start nothing more, and ask what runs to end, or kill it."""
    act = Kill if kill else Terminate
    state = evolve(state, phase="killing" if kill else "stopping")
    return state, tuple(act(job=one.job) for one in state.running)


def _without(state: State, one: Running) -> State:
    running = tuple(other for other in state.running if other != one)
    free = (*state.free, one.slot) if one.slot else state.free
    return _freed(evolve(state, running=running), (*free, *state.blocked) if one.foreign else free)


def _freed(state: State, free: tuple[Slot, ...]) -> State:
    """Return the state in which those of the slots `free` are free that share no device with an adopted job."""
    taken = {device for one in state.running for device in one.foreign}
    if not taken:
        return evolve(state, free=free, blocked=())
    blocked = tuple(slot for slot in dict.fromkeys((*state.blocked, *free)) if taken.intersection(slot.devices))
    return evolve(state, free=tuple(slot for slot in free if slot not in blocked), blocked=blocked)


def _fill(state: State) -> tuple[State, tuple[Action, ...]]:
    """Start jobs in the free slots."""
    if state.phase != "going":
        return state, ()
    # An adopted job without a slot counts too: there are never more jobs at a time than slots.
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
