"""The functions for scripts and notebooks: `ocicaliban.run`, `sweep`, `status` and `report`.

They do what the commands of the same names do, and return what those print with `--json`. Notes and progress go to
stderr. Errors are raised as `ocicaliban.errors.OcicalibanError`, with a `message` and a `hint`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from ocicaliban.app import place
from ocicaliban.app import report as report_use_case
from ocicaliban.app import run as run_use_case
from ocicaliban.app import status as status_use_case
from ocicaliban.app.requests import (
    JobsRequest,
    LaunchRequest,
    ReportRequest,
    RunRequest,
    SearchRequest,
    StatusRequest,
)
from ocicaliban.errors import UsageError
from ocicaliban.jobs import group_names, status_table

if TYPE_CHECKING:
    import pandas

Record = dict[str, Any]
"""What `--json` prints for a job."""

Points = Mapping[str, object] | Sequence[Mapping[str, object]] | str | os.PathLike[str]
"""A sweep: what a sweep file has, or the path of one."""

T = TypeVar("T")


def run(  # noqa: PLR0913 - one for each option, as the command has them
    module: str,
    *args: object,
    project: str | os.PathLike[str] = ".",
    mode: str = "run",
    group: str = "",
    out: str | os.PathLike[str] = "",
    env: Mapping[str, str] | None = None,
    gpus: str | None = None,
    gpu: bool | None = None,
) -> Record:
    """Run a script of a project in its image, and return the record of the job; what it prints goes to the terminal.

    `args` go to the script. `project` is the folder in which the command would be called. A job that fails raises
    nothing: its record has the status and the exit code. Raises OcicalibanError if it cannot run.
    """
    with _in(project):
        name = group or group_names.of_single_runs(place.project_root())
        asked = RunRequest(
            launch=_launch(module, mode, env, gpus, gpu),
            jobs=JobsRequest(group=name, out=_folder(out)),
            args=tuple(map(str, args)),
        )
        [made] = _records_of(asked)
        return made


def sweep(  # noqa: PLR0913 - one for each option, as the command has them
    points: Points,
    module: str,
    *args: object,
    project: str | os.PathLike[str] = ".",
    mode: str = "run",
    group: str = "",
    out: str | os.PathLike[str] = "",
    env: Mapping[str, str] | None = None,
    gpus: str | None = None,
    gpu: bool | None = None,
    jobs: int | None = None,
    gpus_per_job: int | None = None,
    cpus: float | None = None,
    memory: str = "",
    retries: int = 0,
    fail_fast: bool = False,
    search: Literal["", "random", "optuna"] = "",
    trials: int | None = None,
    goal: str = "",
    prune: bool = False,
) -> list[Record]:
    """Run a script for each point of a sweep, and return the records of the jobs, by number.

    `points` is what a sweep file has ({"lr": [0.1, 0.01]}), or the path of one. The other arguments are those of `run`,
    and the options of the command. Raises OcicalibanError if it cannot run.
    """
    with _in(project), _file(points) as file:
        name = group or group_names.new(place.project_root())
        asked = RunRequest(
            launch=_launch(module, mode, env, gpus, gpu),
            jobs=JobsRequest(
                group=name,
                jobs=jobs,
                gpus_per_job=gpus_per_job,
                cpus=cpus,
                memory=memory,
                retries=retries,
                fail_fast=fail_fast,
                out=_folder(out),
            ),
            experiment_config=file,
            search=SearchRequest(search=search, trials=trials, goal=goal, prune=prune),
            args=tuple(map(str, args)),
        )
        return _records_of(asked)


def status(group: str = "", *, max_jobs: int = 20, all_users: bool = False) -> list[Record]:
    """Return the records of the newest jobs, after a look at what really runs; `max_jobs` 0: all of them.

    Without a `group`, the jobs of all groups. Raises OcicalibanError if there is no such group.
    """
    looks = status_use_case.looks(StatusRequest(group=group, max_jobs=max_jobs, all_users=all_users))
    with contextlib.closing(looks):  # type: ignore[type-var]
        return [status_table.as_json(job) for job in next(looks).jobs]


@overload
def report(
    group: str = "", *, where: Sequence[str] = (), sort: str = "", all_users: bool = False, frame: Literal[True]
) -> pandas.DataFrame: ...


@overload
def report(
    group: str = "", *, where: Sequence[str] = (), sort: str = "", all_users: bool = False, frame: Literal[False]
) -> list[Record]: ...


@overload
def report(
    group: str = "", *, where: Sequence[str] = (), sort: str = "", all_users: bool = False, frame: None = None
) -> Any: ...


def report(
    group: str = "",
    *,
    where: Sequence[str] = (),
    sort: str = "",
    all_users: bool = False,
    frame: bool | None = None,
) -> Any:
    """Return the jobs of a group with their parameters and metrics, the best first.

    A data frame if pandas is installed, with the columns that `report --csv` writes; otherwise, or with `frame=False`,
    the records that `report --json` has under "jobs". Without a `group`, the newest of the project in the current
    folder. Raises OcicalibanError if there is no such group, or if `frame=True` and there is no pandas.
    """
    given = (where,) if isinstance(where, str) else tuple(where)
    asked = ReportRequest(group=group, where=given, sort=sort, all_users=all_users, each_job=True)
    made = report_use_case.collect(asked)
    if frame is not False:
        try:
            import pandas
        except ImportError as exc:
            if frame:
                hint = "install pandas where this runs, or frame=False for plain records"
                raise UsageError("a data frame needs the package pandas, which is not installed", hint) from exc
        else:
            names = [column.name for column in made.jobs.all_columns]
            return pandas.DataFrame([dict(row.cells) for row in made.jobs.rows], columns=names)
    records = made.as_json()["jobs"]
    assert isinstance(records, list)
    return records


@contextlib.contextmanager
def _in(project: str | os.PathLike[str]) -> Iterator[None]:
    """Work in the folder of a project. Raises UsageError if there is none."""
    try:
        entered = contextlib.chdir(project)
        entered.__enter__()
    except OSError as exc:
        raise UsageError(f"{os.fspath(project)}: {exc.strerror}", "name the project's folder") from exc
    try:
        yield
    finally:
        entered.__exit__(None, None, None)


@contextlib.contextmanager
def _file(points: Points) -> Iterator[str]:
    """Give a sweep as a file. Raises UsageError for values that no sweep file has."""
    if isinstance(points, str | os.PathLike):
        yield os.fspath(points)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sweep.json")
        try:
            path.write_text(json.dumps(points, default=_plain))
        except (TypeError, ValueError) as exc:
            raise UsageError(f"the sweep cannot be written as JSON: {exc}", '{"lr": [0.1, 0.01], "epochs": 5}') from exc
        yield str(path)


def _plain(value: object) -> object:
    """Return numpy's numbers and arrays, and ranges, as JSON has them. Raises TypeError for anything else."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, range):
        return list(value)
    raise TypeError(f"{value!r} is not a value of a parameter")


def _launch(module: str, mode: str, env: Mapping[str, str] | None, gpus: str | None, gpu: bool | None) -> LaunchRequest:
    words = [word for name, value in (env or {}).items() for word in ("--env", f"{name}={value}")]
    return LaunchRequest(mode=mode, module=module, podman_args=shlex.join(words), gpus=gpus, gpu_wanted=gpu)


def _folder(out: str | os.PathLike[str]) -> str:
    return os.path.abspath(os.path.expanduser(out)) if out else ""


def _records_of(asked: RunRequest) -> list[Record]:
    """Run jobs, and return their records; another process may run jobs of the same group meanwhile."""
    from ocicaliban.history import access
    from ocicaliban.reporter import TERMINAL

    made: list[int] = []
    run_use_case.run(asked, [], made.append)
    with access.open(reporter=TERMINAL) as history:
        return [status_table.as_json(job) for number in made for job in history.jobs(submission=number)]
