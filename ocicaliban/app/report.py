"""Collect what the jobs of a group were given and what they reported."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

from ocicaliban.app import selection, submissions
from ocicaliban.app.requests import ReportRequest
from ocicaliban.errors import UsageError
from ocicaliban.execution import reconcile
from ocicaliban.jobs import provenance
from ocicaliban.model.job import Job
from ocicaliban.reporter import TERMINAL
from ocicaliban.reports import html, metrics, query
from ocicaliban.reports import report as group_report
from ocicaliban.reports.metrics import Metrics
from ocicaliban.reports.report import Report
from ocicaliban.targets import registry


@frozen(kw_only=True)
class GroupReport:
    """The table of a group, and what each of its jobs reported, by number.

    `complete` is False if the results of some jobs could not be fetched. `drawing` is the script that draws the plots,
    "" if there are none.
    """

    table: Report
    metrics: Mapping[int, Metrics]
    complete: bool
    drawing: str = ""

    def page(self) -> str:
        """Return the report as an HTML page with plots."""
        return html.page(self.table, self.metrics, self.drawing)


def collect(request: ReportRequest, *, plots: bool = False) -> GroupReport:
    """Collect the report of a group; with `plots` it has what a page needs.

    Raises UsageError if the group does not exist, or the request names a column that does not.
    """
    if request.maximize and request.minimize:
        raise UsageError("--maximize and --minimize exclude each other", "name the one column that counts")
    drawing = html.plotly() if plots else ""
    jobs = _jobs(request)
    points = html.curve_points(len(jobs)) if plots else 0
    found, complete = metrics_of(jobs, points)
    whole = _arranged(group_report.build(jobs[0].submission.group, jobs, found, time.time()), request)
    for note in whole.notes:
        TERMINAL.note(note)
    return GroupReport(table=whole, metrics=found, complete=complete, drawing=drawing)


def metrics_of(jobs: Sequence[Job], points: int) -> tuple[dict[int, Metrics], bool]:
    """Return what each job has reported, by number, and whether all results could be fetched.

    A curve has about `points` points.
    """
    missed: list[str] = []
    fetched: dict[int, Path] = {}
    for backend, some in registry.by_backend(jobs):
        fetched |= backend.results(some, TERMINAL.also(missed.append))
    return {job.id: _metrics(job, points, fetched.get(job.id)) for job in jobs}, not missed


def _jobs(request: ReportRequest) -> Sequence[Job]:
    """Return the jobs of the group, by number, after a look at what really runs."""
    from ocicaliban.history import access

    user = "" if request.all_users else provenance.user()
    with access.open(reporter=TERMINAL) as history:
        reconcile.catch_up_if_room(history, group="" if request.group in ("", selection.LAST) else request.group)
        group = selection.group_named(history, request.group)
        if jobs := history.jobs(group=group, user=user):
            return jobs
        raise submissions.no_group(history, group, user)


def _metrics(job: Job, points: int, fetched: Path | None) -> Metrics:
    """Return what a job has reported: in the copy that was `fetched`, or in its folder if that is on this machine."""
    if fetched:
        return metrics.read_folder(str(fetched), points)
    if job.out and not os.path.isdir(job.out):
        note = f"the results are on {job.submission.host}, not on this machine"
        return metrics.Metrics(notes=(note,), missing=True)
    return metrics.read_folder(job.out, points)


def _arranged(whole: Report, request: ReportRequest) -> Report:
    """Return the table with the best job, the rows and the columns that are asked for, in their order."""
    if request.maximize or request.minimize:
        column = request.maximize or request.minimize
        whole = query.set_objective(whole, column, "highest" if request.maximize else "lowest")
    for condition in request.where:
        whole = query.filter_rows(whole, condition)
    if request.sort or request.descending:
        whole = query.sort(whole, request.sort or "id", request.descending)
    if request.columns:
        whole = query.select_columns(whole, [name.strip() for name in request.columns.split(",") if name.strip()])
    return whole
