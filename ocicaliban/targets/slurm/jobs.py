"""The jobs of the history at Slurm: submit them in arrays, record what has become of them, cancel them."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from ocicaliban.containers.image_file import ImageFile
from ocicaliban.errors import OcicalibanError
from ocicaliban.history.store import NewAttempt
from ocicaliban.jobs import job_variables, lease, log_file, log_parts
from ocicaliban.model.job import ENDED, UNDER_WAY, Job, Submission, UnderWay
from ocicaliban.reporter import Reporter
from ocicaliban.targets import submit_once
from ocicaliban.targets.backend import Refused
from ocicaliban.targets.clock import SYSTEM, Clock
from ocicaliban.targets.slurm import arrays, client, clusters, copies, handles, shared, states
from ocicaliban.targets.slurm import options as slurm_options
from ocicaliban.targets.slurm.arrays import Array, Task
from ocicaliban.targets.slurm.client import LimitReached, SlurmClient
from ocicaliban.targets.slurm.handles import Handle
from ocicaliban.targets.slurm.shared import StoredArray
from ocicaliban.targets.slurm.states import Evidence, News
from ocicaliban.targets.submit_once import CreateRequest, Record

if TYPE_CHECKING:
    from ocicaliban.history.access import History

Accepted = Callable[[Job, str], None]

LOG_LIMIT = "log_limit"
"""The option of a submission with the largest log of an attempt in bytes, 0 for any."""


@frozen(kw_only=True)
class SlurmJobs:
    """The jobs of the history at Slurm."""

    clock: Clock = field(default=SYSTEM, repr=False)

    # --- submitting ---

    def submit(
        self,
        history: History,
        submission: Submission,
        image: ImageFile,
        accepted: Accepted,
        reporter: Reporter,
        *,
        settle: bool = False,
    ) -> None:
        """Submit the queued jobs of a submission in arrays, each once; `accepted` gets each job and its name there.

        Jobs that the user's limit does not let in stay queued. Raises Refused if Slurm refuses them, OcicalibanError if
        it does not answer, UsageError if another process submits them.
        """
        with lease.held(submission):
            if settle:
                self.settle([submission], reporter)
            self.recover(history, submission, accepted, reporter)
            for each in shared.arrays(submission):
                if not each.accepted:
                    shared.withdraw(submission, each.key)
            jobs = tuple(history.queued(submission.id))
            if not jobs:
                return
            waiting = {job.key: job for job in jobs}
            left = [task(submission, job) for job in jobs]
            most = clusters.checked(submission).largest_array
            while left:
                some = next(arrays.split(left, most))
                try:
                    self._submit_array(history, submission, image, some, waiting, accepted, reporter)
                except LimitReached as fault:
                    if len(some) > 1:
                        most = len(some) // 2
                        continue
                    reporter.note(
                        f"{len(left)} of {len(jobs)} jobs wait, since Slurm takes no more of yours now ({fault.words});"
                        f" later: ocicaliban resume {submission.group}"
                    )
                    return
                left = left[len(some) :]

    def _submit_array(
        self,
        history: History,
        submission: Submission,
        image: ImageFile,
        tasks: Sequence[Task],
        waiting: Mapping[str, Job],
        accepted: Accepted,
        reporter: Reporter,
    ) -> None:
        key = os.urandom(6).hex()
        made = evolve(array(submission, image, key), after=self._before(submission))
        jobs = tuple((task.key, task.attempt) for task in tasks)
        for each in tasks:
            if each.files:
                shared.store_parameters(submission, each.key, job_variables.parameters_text(waiting[each.key]))
        path = shared.store(submission, key, arrays.script(made, tasks), jobs)
        request = CreateRequest(key=key, body={"script": str(path)})

        def has(request: CreateRequest, number: str) -> None:
            there = StoredArray(key=request.key, jobs=jobs, accepted=number)
            self._record_array(history, submission, there, waiting, accepted, reporter)

        try:
            submit_once.submit(
                SlurmClient(), [request], submission.group, Record(accepted=has), reporter=reporter, clock=self.clock
            )
        except Refused:
            shared.withdraw(submission, key)
            raise

    def _before(self, submission: Submission) -> tuple[str, ...]:
        """Return the arrays that must end before another one begins: `--jobs` limits each array, and all jobs together.

        Arrays that Slurm has forgotten have ended, and it refuses to wait for them.
        """
        numbers = {each.accepted for each in shared.arrays(submission) if each.accepted}
        if not numbers or not slurm_options.recorded(submission).jobs:
            return ()
        alive = {task.array for task in client.tasks() if task.shown.state in states.ALIVE}
        return tuple(sorted(numbers & alive, key=int))

    def _record_array(
        self,
        history: History,
        submission: Submission,
        array: StoredArray,
        jobs: Mapping[str, Job],
        accepted: Accepted,
        reporter: Reporter,
    ) -> None:
        """Record that Slurm has an array. Tasks of jobs that were stopped meanwhile are recorded too, and cancelled."""
        shared.accept(submission, array.key, array.accepted)
        late: list[Handle] = []
        told: list[tuple[Job, str]] = []
        with history.together():
            made: dict[int, tuple[Job, Handle]] = {}
            for index, (key, first) in enumerate(array.jobs):
                job = jobs.get(key)
                if job is not None and len(job.attempts) < first:
                    made[job.id] = (job, Handle(array=array.accepted, index=index))
            new = [_new_attempt(job, handle.name) for job, handle in made.values()]
            begun = history.begin_all(new, started=self.clock.time(), status="pending")
            for id, (job, handle) in made.items():
                if id in begun:
                    told.append((job, handle.name))
                elif self._begin(history, job, handle.name, late=True):
                    late.append(handle)
        if late and (fault := client.cancel(_with_copies(submission, late))):
            reporter.say(f"{len(late)} jobs were stopped on their way, and still run: {fault}")
        for job, name in told:
            accepted(job, name)

    def _begin(self, history: History, job: Job, name: str, *, late: bool = False) -> bool:
        new = _new_attempt(job, name)
        begun = history.begin(
            job.id, log=new.log, out=new.out, started=self.clock.time(), named=name, late=late, status="pending"
        )
        return begun is not None

    def recover(self, history: History, submission: Submission, accepted: Accepted, reporter: Reporter) -> None:
        """Record the arrays that Slurm has, and that a process which was killed did not record.

        Raises OcicalibanError if Slurm does not answer.
        """
        stored = shared.arrays(submission)
        unknown = [each.key for each in stored if not each.accepted]
        found = self._find(submission, unknown) if unknown else {}
        jobs: dict[str, Job] = {}
        for each in stored:
            number = each.accepted or found.get(each.key, "")
            if not number:
                continue
            jobs = jobs or {job.key: job for job in history.jobs(submission=submission.id)}
            missing = any(len(jobs[key].attempts) < first for key, first in each.jobs if key in jobs)
            if missing or not each.accepted:
                self._record_array(history, submission, evolve(each, accepted=number), jobs, accepted, reporter)

    def _find(self, submission: Submission, keys: Iterable[str]) -> dict[str, str]:
        """Return the numbers of arrays at Slurm, by key: as squeue, their tasks or accounting tell them."""
        wanted = {*keys}
        found = {task.key: task.array for task in client.tasks() if task.key in wanted}
        if wanted - found.keys():
            found |= {key: number for key, number in shared.numbers(submission).items() if key in wanted - found.keys()}
        if wanted - found.keys():
            since = submission.created
            found |= {
                task.key: task.array for task in client.accounted_since(since) if task.key in wanted - found.keys()
            }
        return found

    def settle(self, submissions: Iterable[Submission], reporter: Reporter) -> None:
        """Wait for arrays that may be on their way, if there are some, and say so."""
        if any(not array.accepted for each in submissions for array in shared.arrays(each)):
            reporter.say(submit_once.looking("Slurm", SlurmClient.limits))
            self.clock.sleep(SlurmClient.limits.settles)

    # --- observing ---

    def observe(self, history: History, jobs: Sequence[Job], reporter: Reporter) -> None:
        """Record what has become of these jobs, by one call of squeue.

        A queued one was submitted by a process that was killed, perhaps. If Slurm does not answer, say so, and leave
        the record as it is.
        """
        if not (jobs := clusters.here(jobs, reporter)):
            return
        try:
            for submission in {job.submission.id: job.submission for job in jobs if job.status == "queued"}.values():
                with contextlib.suppress(OSError):
                    self.recover(history, submission, _untold, reporter)
            ids = [job.id for job in jobs]
            here = [job for job in history.jobs(ids=ids, statuses=UNDER_WAY) if job.last]
            shown = client.tasks() if here else ()
        except OcicalibanError as fault:
            reporter.note(f"no news from Slurm: {fault.message}; this is what was known before")
            return
        groups: dict[int, list[tuple[Job, Handle]]] = {}
        for job in here:
            if job.last and (handle := handles.parse(job.last.handle)):
                groups.setdefault(job.submission.id, []).append((job, handle))
        for some in groups.values():
            self._observe(history, some, shown, reporter)

    def _observe(
        self,
        history: History,
        recorded: Sequence[tuple[Job, Handle]],
        shown: Sequence[client.Task],
        reporter: Reporter,
    ) -> None:
        submission = recorded[0][0].submission
        deadline = float(slurm_options.recorded(submission).deadline)
        if not (place := shared.marks_folder(submission)).is_dir():
            reporter.note(f"{submission.group}: this machine does not see {place}, where its jobs say how they end")
            deadline = math.inf
        first = {job.key: job.last.number - handle.restarts for job, handle in recorded if job.last}
        marks = shared.marks(submission, first)
        all_shown = copies.queue_of(submission, shown)
        jobs = [(job, copies.holder(one, marks.began.get(job.key, {}), all_shown)) for job, one in recorded]
        queue = {job.key: all_shown.task(handle) for job, handle in jobs}
        alive = {key: task is not None and task.shown.state in states.ALIVE for key, task in queue.items()}
        now = self.clock.time()
        since = shared.absent_since(submission, alive, now)
        silent = {handle.array for job, handle in jobs if queue[job.key] is None and not marks.ended.get(job.key)}
        told = {(task.array, task.index): task for task in client.accounted(silent)}
        with history.together():
            for job, handle in jobs:
                task = queue[job.key]
                account = told.get((handle.array, handle.index)) or told.get((handle.array, client.WHOLE))
                seen = Evidence(
                    first=first[job.key],
                    began=marks.began.get(job.key, {}),
                    ended=marks.ended.get(job.key, {}),
                    queue=task.shown if task else None,
                    accounting=account.shown if account else None,
                    absent=now - since.get(job.key, now),
                    deadline=deadline,
                )
                self._record(history, job, handle, states.judge(seen), now)

    def _record(self, history: History, job: Job, handle: Handle, news: Sequence[News], now: float) -> None:
        """Record what has become of a job's newest attempt on record, and of those that came after it."""
        known = job.last
        if known is None:
            return
        first = known.number - handle.restarts
        for each in news:
            if each.number < known.number:
                continue
            if each.number > known.number:
                name = evolve(handle, restarts=each.number - first).name
                if not self._begin(history, job, name):
                    return  # another process has recorded it
            if each.status in ENDED:
                history.end(
                    job.id,
                    each.number,
                    each.status,
                    exit_code=each.exit_code,
                    reason=each.reason,
                    ended=each.ended or now,
                    started=each.started,
                    again=each is not news[-1],
                )
                with contextlib.suppress(OSError):
                    log_file.plain(shared.log(job.submission, job.key, each.number))
                continue
            status: UnderWay = "running" if each.status == "running" else "pending"
            if each.number > known.number or (status, each.state) != (known.status, known.backend_state):
                history.observed(job.id, each.number, status=status, backend_state=each.state, started=each.started)

    # --- cancelling ---

    def cancel(self, history: History, jobs: Sequence[Job], reason: str, reporter: Reporter) -> tuple[Job, ...]:
        """Cancel these pending and running jobs, and return them; none if Slurm does not answer."""
        jobs = clusters.here(jobs, reporter)
        found = [(job, job.last) for job in jobs if job.status in UNDER_WAY and job.last]
        if not found:
            return ()
        names = [name for some in copies.to_cancel([job for job, _ in found], _shown()).values() for name in some]
        if not names:
            return ()
        # On record first, so that what the job does at its SIGTERM counts as no failure.
        for job, last in found:
            history.end(job.id, last.number, "stopped", reason=reason, ended=self.clock.time())
        for some in range(0, len(names), 500):
            if fault := client.cancel(names[some : some + 500]):
                reporter.say(f"Slurm has not stopped them: {fault}; run the same command again")
                return ()
        return tuple(job for job, _ in found)

    def cancel_ended(self, history: History, jobs: Sequence[Job], reporter: Reporter) -> tuple[Job, ...]:
        """Cancel what Slurm still has of jobs that have ended by the record, and return those jobs."""
        if not (jobs := clusters.here(jobs, reporter)):
            return ()
        try:
            for submission in {job.submission.id: job.submission for job in jobs}.values():
                if any(not each.accepted for each in shared.arrays(submission)) and not lease.is_held(submission):
                    self.recover(history, submission, _untold, reporter)
            fresh = history.jobs(ids=[job.id for job in jobs])
            shown = client.tasks()
        except OcicalibanError as fault:
            reporter.say(f"cannot ask Slurm: {fault.message}")
            return ()
        alive = {f"{task.array}_{task.index}" for task in shown if task.shown.state in states.ALIVE}
        wanted = copies.to_cancel([job for job in fresh if job.status == "stopped"], shown)
        left = {id: some for id, names in wanted.items() if (some := [name for name in names if name in alive])}
        # squeue shows a task that was just cancelled for a moment; to cancel it again does no harm.
        if left and (why := client.cancel([name for some in left.values() for name in some])):
            reporter.say(f"Slurm has not stopped {len(left)} jobs: {why}")
            return ()
        return tuple(job for job in fresh if job.id in left)


def _new_attempt(job: Job, name: str) -> NewAttempt:
    made = job.submission
    return NewAttempt(job=job.id, named=name, log=lambda number: shared.log(made, job.key, number), out=_out(made, job))


def _untold(job: Job, name: str) -> None:
    """Tell nobody."""


def _shown() -> Sequence[client.Task]:
    try:
        return client.tasks()
    except OcicalibanError:
        return ()  # scancel may be answered all the same


def _with_copies(submission: Submission, late: Iterable[Handle]) -> Sequence[str]:
    queue = copies.queue_of(submission, _shown())
    return [name for handle in late for name in copies.names(handle, {}, queue)]


def _out(submission: Submission, job: Job) -> str:
    return job.out or str(shared.out(submission, job))


def task(submission: Submission, job: Job) -> Task:
    """Return a job as a task of an array."""
    in_file = job_variables.has_parameters_file(job)
    return Task(
        key=job.key,
        attempt=len(job.attempts) + 1,
        args=job.args,
        out=_out(submission, job),
        folder=str(shared.job_folder(submission, job.key)),
        env=job_variables.of_job(evolve(job, submission=submission), in_file=in_file),
        files=str(shared.files_folder(submission, job.key)) if in_file else "",
    )


def array(submission: Submission, image: ImageFile, key: str) -> Array:
    """Return what the tasks of an array with this key have in common."""
    given = shared.given_file(submission)
    limit = submission.options.get(LOG_LIMIT)
    return Array(
        key=key,
        name=submission.group,
        options=slurm_options.recorded(submission),
        image=image,
        launch=submission.launch,
        marks=str(shared.marks_folder(submission)),
        log=str(shared.array_folder(submission, key) / "slurm.log").replace("%", "%%"),
        given_file=str(given) if given.exists() else "",
        log_limit=limit if isinstance(limit, int) else log_parts.LIMIT,
    )
