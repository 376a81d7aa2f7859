"""Collect what the jobs of a group were given and what they reported."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from ocicaliban.app import report_details, search, selection, submissions
from ocicaliban.app.requests import ReportRequest
from ocicaliban.errors import UsageError
from ocicaliban.execution import reconcile
from ocicaliban.jobs import provenance
from ocicaliban.model.job import Job
from ocicaliban.reporter import SILENT, TERMINAL, Reporter
from ocicaliban.reports import comparison, export, html, means, metrics, query, tensorboard
from ocicaliban.reports import report as group_report
from ocicaliban.reports.comparison import Comparison
from ocicaliban.reports.metrics import Metrics
from ocicaliban.reports.report import Report
from ocicaliban.targets import registry

if TYPE_CHECKING:
    from ocicaliban.history.access import History
    from ocicaliban.reports.server import ReportServer

_READ = 100
"""Jobs whose results are read for the names of columns."""


@frozen(kw_only=True)
class GroupReport:
    """The report of a group, and what each of its jobs reported, by number.

    `jobs` has a row for each job; so has `table`, or a row for the mean of several jobs. `complete` is False if the
    results of some jobs could not be fetched. `compared` is the comparison with another group, whose jobs are among
    the `jobs` then.
    """

    table: Report
    jobs: Report
    metrics: Mapping[int, Metrics]
    complete: bool
    compared: Comparison | None = None

    def page(self, *, live: bool = False) -> str:
        """Return the report as an HTML page with plots; a `live` one asks its server for newer data."""
        return html.page(self.table, self.jobs, self.metrics, html.plotly(), live=live)

    def data(self) -> str:
        """Return the data of the page."""
        return html.embed(html.views(self.table, self.jobs, self.metrics))

    def write_to_mlflow(self, uri: str) -> tuple[int, int]:
        """Write the jobs to MLflow; return how many are new there, and how many were there. Raises OcicalibanError."""
        from ocicaliban.reports import mlflow_runs

        return mlflow_runs.write(uri, self.jobs, self.metrics)

    def as_json(self) -> dict[str, object]:
        """Return the report as plain values."""
        if self.compared:
            return comparison.as_json(self.compared)
        value = export.as_json(self.jobs)
        if not self.table.over:
            return value
        return {**value, "over": list(self.table.over), "points": export.points_as_json(self.table)}


def collect(request: ReportRequest, *, plots: bool = False, reporter: Reporter = TERMINAL) -> GroupReport:
    """Collect the report of a group; with `plots` it has what a page needs. `reporter` gets the notes.

    Raises UsageError if the group does not exist, or the request names a column that does not.
    """
    from ocicaliban.history import access

    if request.maximize and request.minimize:
        raise UsageError("--maximize and --minimize exclude each other", "name the one column that counts")
    if request.over and request.each_job:
        raise UsageError("--over and --each-job exclude each other", "leave one of them out")
    with access.open(reporter=TERMINAL) as history:
        return _collected(history, request, plots=plots, reporter=reporter)


def _collected(history: History, request: ReportRequest, *, plots: bool, reporter: Reporter) -> GroupReport:
    every = [_jobs(history, request, group) for group in (request.group, *filter(None, [request.compare]))]
    whole = [job for jobs in every for job in jobs]
    points = html.curve_points(len(whole)) if plots else 0
    found, complete = metrics_of(whole, points)
    now = time.time()
    compared = None
    if request.compare:
        reports = [_chosen(group_report.build(jobs[0].submission.group, jobs, found, now), request) for jobs in every]
        compared = comparison.compare(*reports)
        compared = evolve(compared, table=query.best_first(compared.table))
        group = compared.table.group
        single = group_report.build(group, comparison.united(whole), found, now)
    else:
        single = group_report.build(every[0][0].submission.group, whole, found, now)
    single = evolve(single, failures=report_details.failures(whole), sources=report_details.sources(history, whole))
    for note in single.notes:
        reporter.note(note)
    table, single = _arranged(single, request)
    return GroupReport(table=table, jobs=single, metrics=found, complete=complete, compared=compared)


def columns_on_record(group: str) -> tuple[str, ...]:
    """Return the columns of a group's report as far as the history and the folders of this machine have them.

    Nothing is looked for, asked or told, and no history is made. Raises UsageError if the project has no group yet.
    """
    from ocicaliban.history import access

    if not access.exists():
        return ()
    with access.open(reporter=SILENT) as history:
        name = selection.group_named(history, group, look=False)
        jobs = history.jobs(group=name, user=provenance.user())
    if not jobs:
        return ()
    found = {job.id: _metrics(job, 0, None) for job in jobs[-_READ:]}
    table, _ = _arranged(group_report.build(name, jobs, found, time.time()), ReportRequest(group=name))
    return tuple(column.name for column in table.all_columns)


def server(request: ReportRequest, port: int) -> ReportServer:
    """Return a server of the report's page, which is made again whenever a browser asks.

    Raises UsageError if the group does not exist, or if the port is taken.
    """
    from ocicaliban.reports.server import ReportServer

    whole = collect(request, plots=True)
    # Those groups stay the ones of the page, whatever becomes the newest one meanwhile.
    if whole.compared:
        quiet = evolve(request, group=whole.compared.first, compare=whole.compared.second)
    else:
        quiet = evolve(request, group=whole.jobs.group)

    def now() -> GroupReport:
        return collect(quiet, plots=True, reporter=SILENT)

    try:
        return ReportServer(port, secrets.token_urlsafe(24), lambda: now().page(live=True), lambda: now().data())
    except OSError as exc:
        raise UsageError(
            f"cannot serve at port {port}: {exc.strerror}", "another --port, or none for a free one"
        ) from exc


def metrics_of(jobs: Sequence[Job], points: int) -> tuple[dict[int, Metrics], bool]:
    """Return what each job has reported, by number, and whether all results could be fetched.

    A curve has about `points` points.
    """
    missed: list[str] = []
    fetched: dict[int, Path] = {}
    for backend, some in registry.by_backend(jobs):
        fetched |= backend.results(some, TERMINAL.also(missed.append))
    return {job.id: _metrics(job, points, fetched.get(job.id)) for job in jobs}, not missed


def _jobs(history: History, request: ReportRequest, name: str) -> Sequence[Job]:
    """Return the jobs of the group, by number, after a look at what really runs."""
    user = "" if request.all_users else provenance.user()
    reconcile.catch_up_if_room(history, group="" if name in ("", selection.LAST) else name)
    group = selection.group_named(history, name)
    if jobs := history.jobs(group=group, user=user):
        return jobs
    raise submissions.no_group(history, group, user)


def _metrics(job: Job, points: int, fetched: Path | None) -> Metrics:
    """Return what a job has reported: in the copy that was `fetched`, or in its folder if that is on this machine."""
    if fetched:
        return tensorboard.read(str(fetched), points)
    if job.out and not os.path.isdir(job.out):
        note = f"the results are on {job.submission.host}, not on this machine"
        return metrics.Metrics(notes=(note,), missing=True)
    return tensorboard.read(job.out, points)


def _chosen(whole: Report, request: ReportRequest) -> Report:
    """Return the report with the best job that is asked for, or that the jobs were a search for."""
    if request.maximize or request.minimize:
        column = request.maximize or request.minimize
        return query.set_objective(whole, column, "highest" if request.maximize else "lowest")
    for row in reversed(whole.rows):
        goal = search.goal_of(row.job.submission)
        column = next((each.name for each in whole.metrics if goal and each.key == goal.metric), "")
        if goal and column:
            return query.set_objective(whole, column, goal.better)
    return whole


def _arranged(whole: Report, request: ReportRequest) -> tuple[Report, Report]:
    """Return the table, and the report of the single jobs, with the rows, columns and order that are asked for.

    Conditions on metrics are about means where there are means: they would change the mean otherwise.
    """
    single = _chosen(whole, request)
    names = _words(request.over)
    over = means.check(single, names) if names else () if request.each_job else means.seeds(single)
    later = [condition for condition in request.where if over and query.is_of_results(single, condition)]
    for condition in request.where:
        if condition not in later:
            single = query.filter_rows(single, condition)
    table = means.over(single, over) if over else single
    for condition in later:
        table = query.filter_rows(table, condition)
    if request.sort or request.descending:
        table = query.sort(table, request.sort or table.columns[0].name, request.descending)
    else:
        table = query.best_first(table)
    if request.columns:
        table = query.select_columns(table, _words(request.columns))
    if not over:
        return table, table
    kept = means.rows_of(table)
    return table, query.best_first(evolve(single, rows=tuple(row for row in single.rows if row.job.id in kept)))


def _words(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
