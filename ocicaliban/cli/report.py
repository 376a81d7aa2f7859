"""The command report: what the jobs of a group were given, and what came of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ocicaliban.cli import completion
from ocicaliban.cli.jobs import Group, GroupWord, one_group
from ocicaliban.cli.options import Debug, alone, request
from ocicaliban.cli.output import print_exactly, print_json, print_lines
from ocicaliban.errors import UsageError
from ocicaliban.formats.text import shown
from ocicaliban.reporter import TERMINAL
from ocicaliban.system import files

if TYPE_CHECKING:
    from ocicaliban.app.report import GroupReport
    from ocicaliban.reports.report import Report
    from ocicaliban.reports.server import ReportServer


# Longer than 60 lines: most of them are its options.
def report(
    name: GroupWord = "",
    group: Group = "",
    sort: Annotated[
        str,
        typer.Option(
            "--sort",
            autocompletion=completion.columns,
            help="Sort by this column; -NAME sorts from the largest to the smallest.",
        ),
    ] = "",
    descending: Annotated[bool, typer.Option("--descending", help="Sort from the largest to the smallest.")] = False,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            autocompletion=completion.columns,
            help="Only jobs that match: lr=0.1, accuracy>0.9, status!=failed; may be repeated.",
        ),
    ] = None,
    columns: Annotated[
        str,
        typer.Option(
            "--columns", autocompletion=completion.columns, help="Only these columns, in this order: id,lr,eval.*"
        ),
    ] = "",
    maximize: Annotated[
        str,
        typer.Option(
            "--maximize",
            autocompletion=completion.columns,
            help="The best job is the one with the largest value of this column.",
        ),
    ] = "",
    minimize: Annotated[
        str,
        typer.Option(
            "--minimize",
            autocompletion=completion.columns,
            help="The best job is the one with the smallest value of this column.",
        ),
    ] = "",
    over: Annotated[
        str, typer.Option("--over", metavar="NAME,...", help="Show means over these parameters (default: over seeds).")
    ] = "",
    each_job: Annotated[bool, typer.Option("--each-job", help="Show each job, and no means over seeds.")] = False,
    compare: Annotated[
        str, typer.Option("--compare", metavar="GROUP", help="Compare with this group: where, and by how much.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    csv: Annotated[str, typer.Option("--csv", metavar="FILE|-", help="Write CSV, with all parameters.")] = "",
    html: Annotated[str, typer.Option("--html", metavar="FILE|-", help="Write a page with plots.")] = "",
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the page on this machine, up to date while the jobs run.")
    ] = False,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="The port for --serve (default: a free one).")
    ] = 0,
    to: Annotated[
        tuple[str, str] | None,
        typer.Option("--to", metavar="mlflow URI", help="Write the jobs to MLflow as runs: a server's address."),
    ] = None,
    all_users: Annotated[bool, typer.Option("--all-users", help="Include the jobs of other users.")] = False,
    debug: Debug = False,
) -> None:
    """Show the parameters and results of a group.

    These are the parameters in which its jobs differ, and what they wrote into /out/metrics.json(l).
    """
    given = locals()
    from ocicaliban.app import report as use_case
    from ocicaliban.app.requests import ReportRequest
    from ocicaliban.history.url import without_password
    from ocicaliban.reports import export

    group = one_group(name, group)
    if as_json + (csv == "-") + (html == "-") > 1:
        raise UsageError("stdout can take only one of --json, --csv - and --html -", "write the others to a file")
    alone("--serve" if serve else "", {"--html": html, "--csv": csv, "--json": as_json, "--to": to})
    alone("--to" if to else "", {"--html": html, "--csv": csv, "--json": as_json})
    if port and not serve:
        raise UsageError("--port is for --serve", "leave out --port, or add --serve")
    asked = request(ReportRequest, given, group=group)
    if serve:
        _serve(use_case.server(asked, port))
        return
    if to and to[0] != "mlflow":
        raise UsageError(f"--to {to[0]}: reports can be written to mlflow", "--to mlflow http://127.0.0.1:5000")
    made = use_case.collect(asked, plots=bool(html or to))
    if to:
        new, known = made.write_to_mlflow(to[1])
        TERMINAL.say(f"{new} runs written to {without_password(to[1])}, {known} were there")
        return
    whole = made.compared.table if made.compared else made.table
    if csv:
        # A program can take means by itself; the columns that were chosen are those of the table.
        table = whole if columns or made.compared else made.jobs
        _write(csv, export.as_csv(table, table.columns if columns else table.all_columns))
    if html:
        _write(html, made.page())
    if as_json:
        print_json(made.as_json(), indent=2)
    elif not (csv or html):
        _print(whole, made)


def _serve(server: ReportServer) -> None:
    """Serve a page until Ctrl-C."""
    with server:
        print_lines(server.url)
        TERMINAL.say("Ctrl-C ends it; the address has a token, so do not share it")
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


def _print(whole: Report, made: GroupReport) -> None:
    """Print the table: as wide as the terminal, elsewhere as wide as it is, without colours.

    If the results are not complete, their absence means nothing.
    """
    from ocicaliban.reports import comparison, text

    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else 0
    bold, plain = ("\x1b[1m", "\x1b[0m") if terminal and "NO_COLOR" not in os.environ else ("", "")
    lines, left_out = text.table(whole, width)
    print_lines(*(comparison.heading(made.compared) if made.compared else text.heading(whole)), "")
    for line in lines:
        if line is lines[0] or line.startswith("*"):
            print(f"{bold}{shown(line)}{plain}")
        else:
            print_lines(line)
    if not whole.rows:
        print_lines("(no job matches)")
    if failed := text.failures(whole):
        print_lines("", *failed)
    print_lines(*text.sources(whole))
    if best := text.summary(whole):
        print_lines("", f"* {best}")
    if not whole.metrics and made.complete:
        TERMINAL.note("no job has reported a result; a job reports by writing /out/metrics.json (run: --out DIR)")
    if left_out:
        names = ", ".join(column.name for column in left_out)
        TERMINAL.note(f"too wide for this terminal: {names}; choose columns with --columns")


def _write(file: str, text: str) -> None:
    """Write a file as a whole or not at all; "-" is stdout. Raises UsageError if its folder does not exist."""
    if file == "-":
        print_exactly([text])
        return
    file = os.path.expanduser(file)
    if os.path.exists(file) and not os.path.isfile(file):  # /dev/stdout, a FIFO
        with open(file, "w", encoding="utf-8") as out:
            out.write(text)
        return
    whole = Path(os.path.realpath(file))
    if not whole.parent.is_dir():
        raise UsageError(f"{file}: there is no folder {whole.parent}", "create it first, or name another file")
    files.replace(whole, text)
    TERMINAL.say(f"written: {file}")
