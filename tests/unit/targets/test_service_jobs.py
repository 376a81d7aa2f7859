"""The jobs of a real history at a service in memory: processes submit, look and stop, and are killed meanwhile."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve, field, frozen
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.errors import OcicalibanError
from ocicaliban.history import access
from ocicaliban.history.store import History
from ocicaliban.model.job import Job, JobSpec, Status, Submission
from ocicaliban.reporter import Reporter
from ocicaliban.targets.backend import Refused, stopped_unsent
from ocicaliban.targets.service_jobs import ServiceJobs
from ocicaliban.targets.submit_once import Limits
from tests.unit.targets.fake_service import FakeClient, FakeService, Made, Outcome, Steps, counts
from tests.unit.targets.virtual_time import Killed, VirtualClock

SUBMISSION = Submission(group="brave-otter", user="ada", host="here", target="vertex", project="p", mode="cloud")


@pytest.fixture(scope="module", autouse=True)
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty history, which each example gets a copy of, and a folder of state."""
    folder = tmp_path_factory.mktemp("history")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        with access.open(f"sqlite:///{folder}/empty.db"):
            pass
        yield folder


class KilledHistory:
    """The history as a process uses it that is killed before or after one of its calls."""

    def __init__(self, history: History, steps: Steps) -> None:
        self._history = history
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._history, name)

        def stepping(*args: object, **options: object) -> object:
            self._steps.step()
            returned = call(*args, **options)
            self._steps.step()
            return returned

        return stepping

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        with self._history.together():
            yield
            self._steps.step()
        self._steps.step()


@define
class FakeVertex:
    """What `ServiceJobs` needs to know of the service in memory."""

    service: FakeService
    steps: Steps = field(factory=Steps)
    title: str = "the service"
    limits: Limits = field(factory=Limits)

    def place(self, submission: Submission) -> Hashable:
        return submission.options.get("region", "")

    def region(self, submission: Submission) -> str:
        return "us-central1"

    def client(self, submission: Submission, patience: float | None = None) -> FakeClient:
        if submission.options.get("region") == "nowhere":
            raise OcicalibanError("no way", "try again")
        return FakeClient(self.service, self.steps)

    def body(self, job: Job, attempt: int) -> tuple[Mapping[str, object], tuple[str, ...]]:
        body = {"key": job.key, "attempt": attempt, "group": job.submission.group}
        return body, tuple(name for name, _ in job.parameters)

    def output(self, job: Job) -> str:
        return f"gs://bucket/{job.key}"


_NUMBERS = itertools.count()


class World:
    """One history and one service, which several processes use."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.clock = VirtualClock(seed)
        self.service = FakeService(clock=self.clock)
        file = folder / f"{next(_NUMBERS)}.db"
        shutil.copy(folder / "empty.db", file)
        self._url = f"sqlite:///{file}"
        self.history = access.open(self._url)
        self.said: list[str] = []
        self.accepted: list[int] = []
        self.cancelled: list[str] = []

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.history.close()

    def add(self, count: int, **changes: Any) -> Submission:
        return self.history.submit(evolve(SUBMISSION, **changes), [JobSpec()] * count)

    def jobs(self, steps: Steps | None = None) -> ServiceJobs:
        return ServiceJobs(service=FakeVertex(self.service, steps or Steps()), clock=self.clock)

    @property
    def reporter(self) -> Reporter:
        return Reporter(self.said.append)

    def submit(self, made: Submission, *, settle: bool = False, killed_at: int | None = None) -> None:
        """Submit what is queued, as one process, which may be killed."""
        steps = Steps(killed_at)
        history: Any = KilledHistory(self.history, steps)
        self.jobs(steps).submit(
            history, made, FakeClient(self.service, steps), lambda job, name: self.accepted.append(job.id),
            self.reporter, settle=settle,
        )  # fmt: skip

    def submit_elsewhere(self, made: Submission) -> None:
        """Submit in another thread."""
        with access.open(self._url) as history:
            self.jobs().submit(history, made, FakeClient(self.service), lambda job, name: None, self.reporter)

    def observe(self) -> None:
        with access.open(self._url) as history:
            self.jobs().observe(history, history.jobs(statuses=("queued", "pending", "running")), self.reporter)

    def stop(self, ids: list[int]) -> None:
        """Stop jobs, as the command does."""
        with access.open(self._url) as history:
            before = history.jobs(ids=ids)
            withdrawn = history.stop_queued(ids)
            rest = [job for job in history.jobs(ids=ids) if job.id not in withdrawn]
            [*self.jobs().cancel(history, rest, self.reporter)]
            late = [job for job in before if job.id in withdrawn]
            self.jobs().cancel_late(history, late, self.reporter, wait=self.reporter)

    def later(self, seconds: float, what: str, ids: list[int]) -> None:
        """Let another process look, stop jobs, or only withdraw those that are queued, so many seconds from now."""

        def process() -> None:
            self.clock.sleep(seconds)
            if what == "observe":
                self.observe()
            elif what == "stop":
                self.stop(ids)
            else:
                with access.open(self._url) as history:
                    history.stop_queued(ids)

        self.clock.start(process)

    def statuses(self) -> dict[int, Status]:
        return {job.id: job.status for job in self.history.jobs()}

    def one(self, number: int = 1) -> Job:
        [job] = self.history.jobs(ids=[number])
        return job

    def begun(self, **changes: Any) -> Made:
        """Submit one job; what the service has of it."""
        self.submit(self.add(1, **changes))
        self.clock.sleep(5)
        return self.service.jobs[-1]


@frozen(kw_only=True)
class Plan:
    """What happens: how the service answers, when a process is killed, and what others do meanwhile."""

    count: int
    creates: list[Outcome]
    looks: list[Outcome]
    kills: list[int]
    others: list[tuple[int, str, int]]
    seed: int


PLANS = st.builds(
    Plan,
    count=st.integers(1, 6),
    creates=st.lists(
        st.sampled_from(("accepted", "lost before", "lost after", "lost late", "throttled", "refused")), max_size=10
    ),
    looks=st.lists(st.sampled_from(("accepted", "no answer", "refused")), max_size=5),
    kills=st.lists(st.integers(0, 60), max_size=2),
    others=st.lists(st.tuples(st.integers(0, 90), st.sampled_from(("observe", "stop")), st.integers(1, 6)), max_size=3),
    seed=st.integers(0, 9999),
)


@given(PLANS)
def test_whatever_happens_each_job_is_submitted_once_and_what_is_stopped_ends(template: Path, plan: Plan) -> None:
    with World(template, plan.seed) as world:
        made = world.add(plan.count)
        world.service.creates, world.service.looks = [*plan.creates], ["accepted", *plan.looks]
        for tenths, what, number in plan.others:
            world.later(tenths / 10, what, [min(number, plan.count)])
        # One process after another, each killed somewhere, or ended by what the service says.
        for number, killed_at in enumerate([*plan.kills, None]):
            with contextlib.suppress(Killed, OcicalibanError):
                world.submit(made, settle=number > 0, killed_at=killed_at)
        world.clock.finish()
        world.service.creates, world.service.looks = [], []
        # Now all goes well: what is left goes out, and a second `stop` ends what the first one could not.
        world.submit(made, settle=True)
        stopped = [job for job in world.history.jobs() if job.status == "stopped"]
        world.jobs().cancel_late(world.history, stopped, world.reporter, wait=world.reporter)
        world.observe()
        check(world, plan)


def check(world: World, plan: Plan) -> None:
    jobs, there = world.history.jobs(), world.service.jobs
    assert set(counts(there).values()) <= {1}, "nothing runs twice"
    on_record = {attempt.handle: job for job in jobs for attempt in job.attempts}
    assert {made.name for made in there} == {*on_record}, "all that the service has is on record, and nothing else"
    assert all(len(job.attempts) <= 1 for job in jobs)
    stoppable = {min(number, plan.count) for _, what, number in plan.others if what == "stop"}
    for job in jobs:
        made = next((each for each in there if each.key == job.key), None)
        if job.status == "stopped":
            assert job.id in stoppable
            assert made is None or made.state == "cancelled", "what is stopped ends"
        else:
            assert job.status == "pending" and made is not None and made.state == "queued", "no job is lost"
            assert job.last and job.last.handle == made.name and job.out == f"gs://bucket/{job.key}"


@given(PLANS, st.integers(0, 60))
def test_what_is_stopped_and_submitted_again_runs_once(template: Path, plan: Plan, tenths: int) -> None:
    with World(template, plan.seed) as world:
        first = world.add(plan.count)
        world.service.creates, world.service.looks = [*plan.creates], ["accepted", *plan.looks]
        for later, what, number in plan.others:
            world.later(later / 10, what, [min(number, plan.count)])
        with contextlib.suppress(Killed, OcicalibanError):
            world.submit(first, killed_at=min(plan.kills, default=None))
        world.clock.sleep(tenths / 10)
        # What is stopped now may be on its way, and is wanted after all.
        stopped = world.history.jobs(statuses=("stopped",))
        second = world.history.resubmit(evolve(first, id=0, created=0.0), [job.id for job in stopped])
        world.service.creates, world.service.looks = [], []
        world.submit(second, settle=any(map(stopped_unsent, stopped)))
        world.clock.finish()
        for made in (first, second):
            world.submit(made, settle=True)
        again = world.history.jobs(statuses=("stopped",))
        world.jobs().cancel_late(world.history, again, world.reporter, wait=world.reporter)
        world.observe()
        assert set(counts(world.service.jobs).values()) <= {1}, "no attempt is there twice"
        on_record = {attempt.handle for job in world.history.jobs() for attempt in job.attempts}
        assert {made.name for made in world.service.jobs} == on_record
        for job in world.history.jobs():
            live = [made for made in world.service.jobs if made.key == job.key and made.state != "cancelled"]
            assert len(live) == (0 if job.status == "stopped" else 1), "each job that is wanted runs once"
            assert not live or (job.last and job.last.handle == live[0].name)


# --- submitting ---


def test_a_job_that_is_stopped_on_its_way_is_recorded_and_cancelled(template: Path) -> None:
    with World(template) as world:
        made = world.add(1)
        world.service.latency = 1.0
        world.later(1.5, "withdraw", [1])
        world.submit(made)
        assert world.accepted == [] and world.service.jobs[0].state == "cancelled"
        assert world.one().status == "pending"  # until somebody looks
        world.clock.sleep(5)
        world.observe()
        assert world.one().status == "stopped"


def test_a_job_that_cannot_be_cancelled_then_is_told(template: Path) -> None:
    with World(template) as world:
        made = world.add(1)
        world.service.latency, world.service.cancels = 1.0, ["refused"]
        world.later(1.5, "withdraw", [1])
        world.submit(made)
        assert world.said == ["job 1 was stopped on its way, and still runs: denied; ocicaliban stop 1"]


def test_parameters_without_room_are_told(template: Path) -> None:
    with World(template) as world:
        world.submit(world.history.submit(SUBMISSION, [JobSpec(parameters=(("lr", 0.1),))]))
        assert "no room among the labels for lr" in world.said[0] and world.accepted == [1]


def test_what_another_process_has_recorded_counts_as_accepted(template: Path) -> None:
    with World(template) as world:
        made = world.add(2)
        world.service.latency = 3.0
        world.later(8.0, "observe", [])
        world.submit(made)
        world.clock.finish()
        assert sorted(world.accepted) == [1, 2] and set(world.statuses().values()) == {"pending"}


def test_what_is_refused_stays_queued(template: Path) -> None:
    with World(template) as world:
        made = world.add(3)
        world.service.creates = ["refused"] * 3
        with pytest.raises(Refused):
            world.submit(made)
        assert set(world.statuses().values()) == {"queued"}


# --- observing ---


@pytest.mark.parametrize(
    ("state", "status", "on_record", "word"),
    [
        ("queued", "pending", "pending", "queued"),
        ("pending", "pending", "pending", "pending"),
        ("running", "running", "running", ""),
        ("cancelling", "running", "running", "cancelling"),
        ("updating", "running", "running", "updating"),
    ],
)
def test_a_state_is_recorded_with_the_services_own_word(
    template: Path, state: str, status: Status, on_record: Status, word: str
) -> None:
    with World(template) as world:
        made = world.begun()
        made.state, made.status, made.started = state, status, 123.0
        world.observe()
        job = world.one()
        assert job.last and (job.status, job.last.status, job.last.backend_state) == (on_record, on_record, word)
        assert job.last.reason == "" and job.last.started == 123.0


@pytest.mark.parametrize(
    ("state", "status", "reason", "told"),
    [
        ("succeeded", "succeeded", "", ""),
        ("failed", "failed", "exit code 3", "exit code 3"),
        ("expired", "failed", "", "expired"),
        ("cancelled", "stopped", "", "cancelled"),
    ],
)
def test_an_end_is_recorded_with_its_reason(template: Path, state: str, status: Status, reason: str, told: str) -> None:
    with World(template) as world:
        made = world.begun()
        made.state, made.status, made.reason, made.started, made.ended = state, status, reason, 5.0, 9.0
        world.observe()
        job = world.one()
        assert job.last and (job.status, job.last.reason, job.last.started, job.last.ended) == (status, told, 5.0, 9.0)
        assert job.last.backend_state == ""


def test_a_job_that_is_not_listed_keeps_its_status_and_is_lost_after_a_while(template: Path) -> None:
    with World(template) as world:
        made = world.begun()
        made.state = made.status = "running"
        world.observe()
        world.service.jobs.clear()
        world.observe()
        job = world.one()
        assert job.last and (job.status, job.last.backend_state) == ("running", "not listed by the service")
        world.clock.sleep(700)
        world.observe()
        job = world.one()
        assert job.last and (job.status, job.last.reason) == ("lost", "the service does not know it any more")


def test_a_queued_job_that_the_service_has_is_recorded(template: Path) -> None:
    with World(template) as world:
        world.add(1)
        made = world.service.make(world.one().key, 1, SUBMISSION.group)
        made.state = made.status = "running"
        world.clock.sleep(5)
        world.observe()
        job = world.one()
        assert job.last and (job.status, job.last.handle, job.last.started) == ("running", made.name, made.created)
        assert job.out == f"gs://bucket/{job.key}"


def test_without_an_answer_the_record_stays_and_that_is_said(template: Path) -> None:
    with World(template) as world:
        world.begun()
        world.begun(options={"region": "nowhere"})
        world.service.looks = ["no answer"]
        world.said.clear()
        world.observe()
        assert [line.partition(":")[2].strip() for line in world.said] == [
            "no news of brave-otter from us-central1: no answer; this is what was known before",
            "no news of brave-otter from us-central1: no way (try again); this is what was known before",
        ]
        assert set(world.statuses().values()) == {"pending"}


def test_few_jobs_are_looked_up_by_their_keys_and_many_by_their_group(template: Path) -> None:
    with World(template) as world:
        world.submit(world.add(20))
        world.clock.sleep(5)
        world.service.asked = 0
        world.observe()
        assert world.service.asked == 1
        # A group of its own, of which few are asked for: one more look.
        world.begun(group="calm-crow")
        world.service.asked = 0
        world.observe()
        assert world.service.asked == 2


# --- cancelling ---


def test_accepted_jobs_are_cancelled(template: Path) -> None:
    with World(template) as world:
        world.submit(world.add(3))
        jobs = world.history.jobs()
        assert [job.id for job in world.jobs().cancel(world.history, jobs, world.reporter)] == [1, 2, 3]
        assert {made.state for made in world.service.jobs} == {"cancelled"} and not world.said


def test_a_job_that_cannot_be_cancelled_is_told(template: Path) -> None:
    with World(template) as world:
        world.submit(world.add(3))
        world.begun(options={"region": "nowhere"})
        world.service.cancels = ["refused"]
        world.service.jobs.pop(2)
        jobs = world.history.jobs()
        assert [job.id for job in world.jobs().cancel(world.history, jobs, world.reporter)] == [2]
        assert world.said[-3:] == [
            "nothing to stop: 3: the service does not know it",
            "job 1 cannot be stopped: denied",
            "cannot be stopped: 4: no way (try again)",
        ]
        assert world.statuses() == {1: "pending", 2: "pending", 3: "lost", 4: "pending"}


def test_what_is_submitted_again_meanwhile_goes_on(template: Path) -> None:
    with World(template) as world:
        first = world.add(1)
        world.history.stop_queued([1])
        late = world.history.jobs()
        made = world.history.resubmit(evolve(first, id=0, created=0.0), [1])
        world.clock.start(lambda: world.submit_elsewhere(made))
        assert world.jobs().cancel_late(world.history, late, world.reporter, wait=world.reporter) == ()
        assert world.statuses() == {1: "pending"} and world.service.jobs[0].state == "queued"


def test_a_service_that_cannot_be_asked_what_it_has_is_told(template: Path) -> None:
    with World(template) as world:
        world.add(2)
        world.history.stop_queued([1, 2])
        world.service.looks = ["no answer"]
        late = world.history.jobs()
        assert world.jobs().cancel_late(world.history, late, world.reporter, wait=None) == ()
        assert world.said == ["cannot ask the service whether it has 1, 2: no answer"]
        assert world.jobs().cancel_late(world.history, (), world.reporter, wait=None) == ()
