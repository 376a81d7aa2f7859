"""The command report: what the jobs of a group were given, and what came of it."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ocicaliban.cli.jobs import Group, GroupWord, one_group
from ocicaliban.cli.options import Debug
from ocicaliban.errors import UsageError, nearest
from ocicaliban.reporter import TERMINAL, Reporter
from ocicaliban.system import files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocicaliban.model.job import Job
    from ocicaliban.reports.metrics import Metrics
    from ocicaliban.reports.report import Report


def report(
    name: GroupWord = "",
    group: Group = "",
    sort: Annotated[str, typer.Option("--sort", help="By this column; -NAME: from the largest.")] = "",
    descending: Annotated[bool, typer.Option("--descending", help="From the largest to the smallest.")] = False,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", help="Jobs with lr=0.1, accuracy>0.9, status!=failed; may be repeated."),
    ] = None,
    columns: Annotated[str, typer.Option("--columns", help="These columns, in this order: id,lr,eval.*")] = "",
    maximize: Annotated[str, typer.Option("--maximize", help="The best job has the largest of this column.")] = "",
    minimize: Annotated[str, typer.Option("--minimize", help="The best job has the smallest of this column.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    csv: Annotated[str, typer.Option("--csv", metavar="FILE|-", help="Write CSV, with all parameters.")] = "",
    html: Annotated[str, typer.Option("--html", metavar="FILE|-", help="Write a page with plots.")] = "",
    all_users: Annotated[bool, typer.Option("--all-users", help="The jobs of others too.")] = False,
    debug: Debug = False,
) -> None:
    """Show a group's jobs: the parameters in which they differ, and what they wrote into /out/metrics.json(l)."""
    from ocicaliban.jobs import status_table
    from ocicaliban.reports import export, query
    from ocicaliban.reports import html as html_page
    from ocicaliban.reports import report as reports
    from ocicaliban.targets import registry

    group = one_group(name, group)
    if not group:
        raise UsageError("say which group to report", "ocicaliban report GROUP; `ocicaliban status` shows them")
    if maximize and minimize:
        raise UsageError("--maximize and --minimize exclude each other", "name the one column that counts")
    if as_json + (csv == "-") + (html == "-") > 1:
        raise UsageError("stdout can take one of --json, --csv - and --html -", "give the others a file")
    drawing = html_page.plotly() if html else ""
    jobs = _jobs(group, all_users)
    points = html_page.curve_points(len(jobs)) if html else 0
    missed: list[str] = []

    miss = Reporter(lambda line: TERMINAL.say(status_table.printable(line)))
    brought: dict[int, Path] = {}
    for backend, some in registry.by_backend(jobs):
        brought |= backend.results(some, miss.also(missed.append))
    found = {job.id: _reported(job, points, brought.get(job.id)) for job in jobs}
    whole = reports.build(group, jobs, found, time.time())
    if maximize or minimize:
        whole = query.set_objective(whole, maximize or minimize, "highest" if maximize else "lowest")
    for condition in where or ():
        whole = query.filter_rows(whole, condition)
    if sort:
        whole = query.sort(whole, sort, descending)
    elif descending:
        whole = query.sort(whole, "id", True)
    if columns:
        whole = query.select_columns(whole, [name.strip() for name in columns.split(",") if name.strip()])
    for note in whole.notes:
        TERMINAL.note(f"{status_table.printable(note)}")
    if csv:
        _write(csv, export.as_csv(whole, whole.columns if columns else whole.all_columns))
    if html:
        _write(html, html_page.page(whole, found, drawing))
    if as_json:
        import json

        print(json.dumps(export.as_json(whole), indent=2, allow_nan=False))
    elif not (csv or html):
        _print(whole, all_here=not missed)


def _jobs(group: str, all_users: bool) -> Sequence[Job]:
    """The jobs of a group, by id, after a look at what really runs. Raises UsageError where there is no such group."""
    from ocicaliban.execution import reconcile
    from ocicaliban.history import access
    from ocicaliban.jobs import provenance

    user = "" if all_users else provenance.user()
    with access.open(reporter=TERMINAL) as known:
        reconcile.catch_up(known, group=group)
        if jobs := known.jobs(group=group, user=user):
            return jobs
        raise UsageError(
            f"there is no group '{group}'", nearest(group, [each.name for each in known.groups(user=user)])
        )


def _reported(job: Job, points: int, brought: Path | None) -> Metrics:
    """What a job has reported, as far as its folder of results is on this machine, or was `brought` here."""
    from ocicaliban.reports import metrics

    if brought:
        return metrics.read_folder(str(brought), points)
    if job.out and not os.path.isdir(job.out):
        return metrics.Metrics(notes=(f"its results are not here; they are on {job.submission.host}",))
    return metrics.read_folder(job.out, points)


def _print(whole: Report, *, all_here: bool) -> None:
    """The table: as wide as the terminal, and elsewhere as wide as it takes, without colours.

    Only where the results are `all_here` it can be said that there are none.
    """
    from ocicaliban.jobs import status_table
    from ocicaliban.reports import text

    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else 0
    bold, plain = ("\x1b[1m", "\x1b[0m") if terminal and "NO_COLOR" not in os.environ else ("", "")
    lines, left_out = text.table(whole, width)
    print("\n".join(text.heading(whole)))
    print()
    for line in lines:
        print(f"{bold}{line}{plain}" if line is lines[0] or line.startswith("*") else line)
    if not whole.rows:
        print("(no job is like that)")
    if best := text.summary(whole):
        print(f"\n* {best}")
    if not whole.metrics and all_here:
        TERMINAL.note("no job has reported a result; a job reports by writing /out/metrics.json (run: --out DIR)")
    if left_out:
        names = ", ".join(status_table.printable(column.name) for column in left_out)
        TERMINAL.note(f"too wide for this terminal: {names}; --columns chooses")


def _write(file: str, text: str) -> None:
    """Write a file whole or not at all; "-" is stdout. Raises OcicalibanError where that is refused."""
    if file == "-":
        sys.stdout.write(text)
        return
    file = os.path.expanduser(file)
    if os.path.exists(file) and not os.path.isfile(file):  # /dev/stdout, a FIFO
        with open(file, "w", encoding="utf-8") as out:
            out.write(text)
        return
    whole = Path(os.path.realpath(file))
    if not whole.parent.is_dir():
        raise UsageError(f"{file}: there is no folder {whole.parent}", "make it first, or name another file")
    files.replace(whole, text)
    TERMINAL.say(f"written: {file}")
