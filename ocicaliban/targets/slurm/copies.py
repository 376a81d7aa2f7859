"""Which task is a job's: an array may be at Slurm twice, if an answer of sbatch was lost, and one of them is on record.

Both run the same script with the same key. The one that claims an attempt runs it, and the other one ends at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from attrs import evolve, frozen

from ocicaliban.model.job import Job, Submission
from ocicaliban.targets.slurm import handles, shared
from ocicaliban.targets.slurm.client import Task
from ocicaliban.targets.slurm.handles import Handle
from ocicaliban.targets.slurm.states import ALIVE, Began


@frozen(kw_only=True)
class Queue:
    """What squeue shows: the tasks by array and index, and the arrays with each array's key, itself included."""

    tasks: Mapping[tuple[str, int], Task]
    arrays: Mapping[str, tuple[str, ...]]

    def task(self, handle: Handle) -> Task | None:
        """Return what squeue shows of a task."""
        return self.tasks.get((handle.array, handle.index))

    def is_alive(self, handle: Handle) -> bool:
        """Return whether squeue shows that a task waits or runs."""
        task = self.task(handle)
        return task is not None and task.shown.state in ALIVE

    def alive(self, handle: Handle) -> Iterator[Handle]:
        """Yield this task and its copies, those of them that wait or run."""
        for array in self.arrays.get(handle.array, (handle.array,)):
            if self.is_alive(one := evolve(handle, array=array)):
                yield one


def queue(tasks: Iterable[Task], keys: Mapping[str, str]) -> Queue:
    """Return a queue of these tasks. `keys` has the keys of arrays on record: squeue may have forgotten those.

    An array with such a number and another key of ours is another one: Slurm's numbers begin again at times.
    """
    shown = {
        (task.array, task.index): task for task in tasks if not task.key or keys.get(task.array, task.key) == task.key
    }
    of_array = {**keys, **{task.array: task.key for task in shown.values() if task.key}}
    by_key: dict[str, list[str]] = defaultdict(list)
    for array, key in of_array.items():
        by_key[key].append(array)
    return Queue(tasks=shown, arrays={array: tuple(by_key[key]) for array, key in of_array.items()})


def holder(recorded: Handle, began: Mapping[int, Began], queue: Queue) -> Handle:
    """Return the task that runs a job: the one that wrote so last, or else one that may still do so.

    `recorded` is the task on record; its number of requeues is kept.
    """
    if began and (wrote := handles.parse(began[max(began)].task)):
        return evolve(wrote, restarts=recorded.restarts)
    if queue.is_alive(recorded):
        return recorded
    return next(queue.alive(recorded), recorded)


def names(recorded: Handle, began: Mapping[int, Began], queue: Queue) -> tuple[str, ...]:
    """Return the names of the tasks to cancel so that a job ends: the one that runs it, and any that may begin it."""
    one = holder(recorded, began, queue)
    return tuple(dict.fromkeys((one.task, *(each.task for each in queue.alive(recorded)))))


# --- what is on the shared disk ---


def queue_of(submission: Submission, shown: Iterable[Task]) -> Queue:
    """Return a queue of these tasks, with the keys of the submission's arrays."""
    return queue(shown, {each.accepted: each.key for each in shared.arrays(submission) if each.accepted})


def to_cancel(jobs: Iterable[Job], shown: Sequence[Task]) -> Mapping[int, Sequence[str]]:
    """Return the names of the tasks to cancel for each of these jobs, by its id."""
    groups: dict[int, list[tuple[Job, Handle, int]]] = {}
    for job in jobs:
        if job.last and (handle := handles.parse(job.last.handle)):
            groups.setdefault(job.submission.id, []).append((job, handle, job.last.number))
    found: dict[int, Sequence[str]] = {}
    for some in groups.values():
        submission = some[0][0].submission
        marks = shared.marks(submission, {job.key: number - handle.restarts for job, handle, number in some})
        there = queue_of(submission, shown)
        for job, handle, _ in some:
            found[job.id] = names(handle, marks.began.get(job.key, {}), there)
    return found
