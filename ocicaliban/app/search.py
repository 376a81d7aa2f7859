"""Searches: sweeps whose jobs are not all points of a file, but chosen ones of its ranges."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from attrs import frozen

from ocicaliban.app.requests import SearchRequest
from ocicaliban.errors import UsageError, nearest
from ocicaliban.jobs import expansion, group_names, provenance, records
from ocicaliban.model.job import Job, JobSpec, Submission
from ocicaliban.reporter import TERMINAL
from ocicaliban.reports import tensorboard
from ocicaliban.search import optuna_study, trials
from ocicaliban.search import space as spaces
from ocicaliban.search.space import Space
from ocicaliban.search.trials import Goal, Trial

if TYPE_CHECKING:
    from pathlib import Path

    from ocicaliban.app.requests import RunRequest
    from ocicaliban.history.access import History
    from ocicaliban.jobs.expansion import Sweep, SweepFormat

KEY = "search"
"""The key of a search among the options of its submission."""
_VERSION = 1
_WAYS = ("random", "optuna")
_MOST = 100_000
_POINTS = 200
"""How many points of a curve count."""


@frozen(kw_only=True)
class Search:
    """A search: its space, the number of its trials, how points are chosen, and what for."""

    way: str
    space: Space
    form: SweepFormat
    goal: Goal | None = None
    prune: bool = False


def check(request: SearchRequest, experiment_config: str) -> None:
    """Raise UsageError for options of a search that do not go together."""
    if request == SearchRequest():
        return
    if not experiment_config:
        raise UsageError("a search needs a sweep file", "--experiment-config sweep.json, with ranges in it")
    if not request.search:
        if request.trials is None:
            raise UsageError("--goal and --prune are for a search", "--search random --trials 20")
        raise UsageError("--trials is for a search", "--search random, or --search optuna --goal METRIC")
    if request.search not in _WAYS:
        raise UsageError(f"there is no search '{request.search}'", nearest(request.search, _WAYS))
    if request.trials is None:
        raise UsageError(f"--search {request.search} needs the number of jobs", "--trials 20")
    if not 1 <= request.trials <= _MOST:
        raise UsageError(f"--trials {request.trials}: it must be from 1 to {_MOST}", "for example --trials 20")
    if request.search == "optuna":
        optuna_study.require()
    if request.goal or request.prune or request.search == "optuna":
        trials.goal(request.goal)


def planned(sweep: Sweep, request: SearchRequest) -> Search:
    """Return the search in a sweep. Raises UsageError if it has no space."""
    space = spaces.of_sweep(sweep)
    if not space.axes:
        raise UsageError(f"{sweep.name}: it has no parameters to search", '{"lr": {"log": [1e-5, 1e-1]}}')
    goal = trials.goal(request.goal) if request.goal else None
    return Search(way=request.search, space=space, form=sweep.form, goal=goal, prune=request.prune)


def random_sweep(sweep: Sweep, search: Search, group: str, trials_: int, before: Sequence[Job]) -> Sweep:
    """Return the sweep of a random search: a job for each trial, after those `before` that the group has already.

    Raises UsageError if they have tried all points.
    """
    tried = [job.parameters for job in before]
    points = spaces.random_points(search.space, group, len(before), trials_, tried)
    if not points:
        raise UsageError(f"{group}: all points of {sweep.name} were tried", "give it wider ranges, or another --group")
    return spaces.as_sweep(sweep, points)


def jobs_of(
    history: History, sweep: Sweep, request: RunRequest, group: str
) -> tuple[Iterable[JobSpec], int, dict[str, object]]:
    """Return the jobs of a search, their number, and what the history keeps of it."""
    search = planned(sweep, request.search)
    count = request.search.trials or 0
    kept: dict[str, object] = {KEY: to_record(search)}
    if search.way == "optuna":
        # Their points are chosen when their turn comes.
        return [JobSpec(args=request.args)] * count, count, kept
    before = _jobs(history, group) if request.jobs.group else ()
    chosen = random_sweep(sweep, search, group, count, before)
    return expansion.specs(chosen, request.args), expansion.count(chosen), kept


def _jobs(history: History, group: str) -> Sequence[Job]:
    return history.jobs(group=group, user=provenance.user())


def dry_run(sweep: Sweep, request: RunRequest, root: Path) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return comments on a search, and the arguments of its jobs as far as they are known before it runs."""
    from ocicaliban.history import access

    search = planned(sweep, request.search)
    if search.way == "optuna":
        return [f"# {request.search.trials} jobs like this one, each with parameters that Optuna chooses"], [
            request.args
        ]
    group = request.jobs.group or group_names.new(root)
    before: Sequence[Job] = ()
    if request.jobs.group and access.exists():
        with access.open(reporter=TERMINAL) as history:
            before = _jobs(history, group)
    chosen = random_sweep(sweep, search, group, request.search.trials or 0, before)
    return [f"# the points of --group {group}"], [spec.args for spec in expansion.specs(chosen, request.args)]


def to_record(search: Search) -> dict[str, object]:
    """Return a search as the history holds it."""
    return {
        "version": _VERSION,
        "way": search.way,
        "space": spaces.to_record(search.space),
        "format": search.form,
        "goal": trials.goal_text(search.goal) if search.goal else "",
        "prune": search.prune,
    }


def _from_record(record: Mapping[str, Any]) -> Search:
    """Return a search from a record. Raises ValueError for another form."""
    try:
        if record["version"] != _VERSION:
            raise ValueError(f"its version is {record['version']}, known is {_VERSION}")
        return Search(
            way=str(record["way"]),
            space=spaces.from_record(record["space"]),
            form=expansion.format_named(record["format"]),
            goal=trials.goal(record["goal"]) if record["goal"] else None,
            prune=bool(record["prune"]),
        )
    except (KeyError, TypeError, UsageError) as exc:
        raise ValueError(str(exc)) from exc


def of_submission(submission: Submission) -> Search | None:
    """Return the search that a submission is; None for another one. Raises UsageError if it cannot be read."""
    if KEY not in submission.options:
        return None
    return records.of_backend(submission, KEY, _from_record)


def goal_of(submission: Submission) -> Goal | None:
    """Return what a submission is a search for; None for one that is none, or that another version made."""
    record = submission.options.get(KEY)
    try:
        return trials.goal(record["goal"]) if isinstance(record, dict) and record.get("goal") else None
    except UsageError:
        return None


def points(history: History, submission: Submission) -> SearchPoints | None:
    """Return what chooses the points of a submission; None if it is no search, or needs no look at its jobs."""
    search = of_submission(submission)
    if search is None or (search.way == "random" and search.goal is None):
        return None
    return SearchPoints(history, submission, search)


class SearchPoints:
    """Chooses the points of a submission that is a search; see `execution.points.PointSource`."""

    def __init__(self, history: History, submission: Submission, search: Search) -> None:
        self._history = history
        self._submission = submission
        self._search = search
        self._ended: dict[tuple[int, int], Trial] = {}  # by job and number of attempts
        self._reported: set[str] = set()  # the names of metrics
        self._notes: set[str] = set()  # on what could not be read
        self._looked = False

    def waits(self, job: Job) -> bool:
        """Return whether a job has no parameters yet."""
        return not job.parameters and self._search.way == "optuna"

    def point(self, job: Job) -> JobSpec | None:
        """Return the parameters for a job, and its arguments; None if every point was tried."""
        assert self._search.goal is not None
        known = self._trials()
        group = self._submission.group
        found = optuna_study.next_point(self._search.space, self._search.goal, group, len(known), known)
        if found is None:
            return None
        return JobSpec(parameters=found, args=(*job.args, *expansion.FORMATS[self._search.form](found)))

    def hopeless(self, running: Sequence[Job]) -> Mapping[int, str]:
        """Return the running jobs that are worse than the median of the others."""
        if not self._search.prune or self._search.goal is None:
            return {}
        going = [self._trial(job) for job in running]
        if not any(trial.curve for trial in going):
            return {}
        ended = [trial for trial in self._trials() if trial.state in ("complete", "pruned")]
        return trials.hopeless(going, ended, self._search.goal)

    def note(self) -> str:
        """Return once that jobs have ended and none has reported the goal; "" at all other times."""
        if self._looked or self._search.goal is None:
            return ""
        ended = self._history.jobs(submission=self._submission.id, statuses=["succeeded"])
        if not ended:
            return ""
        self._looked = True
        if any(self._known(job).value is not None for job in ended):
            return ""
        metric = self._search.goal.metric
        hint = f"let the jobs write {json.dumps({metric: 0.5})} to /out/metrics.json"
        if metric in self._reported:
            hint = "its values must be numbers, and finite ones"
        elif tensorboard.MISSING in self._notes:
            hint = tensorboard.MISSING
        elif self._reported:
            hint = nearest(metric, sorted(self._reported))
        which = "a job has ended that has not" if len(ended) == 1 else f"{len(ended)} jobs have ended, and none has"
        return f"note: {which} reported {metric}, the goal of this search\n hint: {hint}"

    def _trials(self) -> list[Trial]:
        """Return the jobs of the group that have parameters, by number: the study goes on with all of them."""
        jobs = _jobs(self._history, self._submission.group)
        return [self._known(job) for job in jobs if job.parameters]

    def _known(self, job: Job) -> Trial:
        return self._ended.get((job.id, len(job.attempts))) or self._trial(job)

    def _trial(self, job: Job) -> Trial:
        states: dict[str, Literal["running", "complete", "pruned", "failed"]] = {
            "succeeded": "complete", "stopped": "pruned", "failed": "failed", "lost": "failed",
        }  # fmt: skip
        state = states.get(job.status, "running")
        value, curve = None, None
        if self._search.goal is not None:
            wanted = self._search.goal
            told = tensorboard.read(job.out, _POINTS, wanted.metric)
            value, curve = trials.reached(told, wanted)
            self._reported.update(told.results)
            self._notes.update(told.notes)
        trial = Trial(job=job.id, parameters=job.parameters, state=state, value=value, curve=curve)
        if state != "running":
            self._ended[job.id, len(job.attempts)] = trial
        return trial
