"""The commands status, logs, stop, resubmit and resume: show, stop and continue jobs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ocicaliban.cli import completion
from ocicaliban.cli.options import Debug, alone, request
from ocicaliban.cli.output import print_bytes, print_json, print_lines, print_styled
from ocicaliban.errors import UsageError
from ocicaliban.formats.colours import Line
from ocicaliban.reporter import TERMINAL

if TYPE_CHECKING:
    from ocicaliban.app.status import JobsStatus
    from ocicaliban.app.submissions import Outcome

Group = Annotated[
    str,
    typer.Option("-g", "--group", "--xgroup", autocompletion=completion.groups, help="The jobs of this group."),
]
GroupWord = Annotated[
    str,
    typer.Argument(
        metavar="[GROUP]",
        autocompletion=completion.groups,
        help="The same as --group GROUP; `last` is this project's newest.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print what would be done.")]

_PAUSE = 2.0  # seconds


def status(
    name: GroupWord = "",
    group: Group = "",
    max_jobs: Annotated[
        int | None,
        typer.Option("--max-jobs", help="How many of the newest jobs to show (default: 20); 0 or less: all."),
    ] = None,
    all_groups: Annotated[bool, typer.Option("--all", help="Show the newest jobs of all groups and projects.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Update the output until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    all_users: Annotated[bool, typer.Option("--all-users", help="Show the jobs of other users too.")] = False,
    disk: Annotated[
        bool, typer.Option("--disk", help="Show what images, packages and results take on the disk.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Show the newest jobs and their status.

    In a project, without a group, these are the jobs of its newest group. --all and --max-jobs show those of all.
    """
    given = locals()
    from ocicaliban.app import status as use_case
    from ocicaliban.app.requests import StatusRequest
    from ocicaliban.jobs import status_table

    alone("--watch" if watch else "", {"--json": as_json})
    if disk:
        given_too = {"--watch": watch, "a group": name or group, "--all": all_groups, "--all-users": all_users}
        alone("--disk", {**given_too, "--max-jobs": max_jobs is not None})
        from ocicaliban.app import disk as disk_use

        found = disk_use.uses()
        print_json(disk_use.as_json(found), indent=2) if as_json else print_lines(*disk_use.lines(found))
        return
    looks = use_case.looks(request(StatusRequest, given, group=one_group(name, group)))
    if watch:
        _watch(looks)
    elif as_json:
        print_json([status_table.as_json(job) for job in next(looks).jobs], indent=2)
    else:
        print_styled(_lines(next(looks)))


def one_group(word: str, option: str) -> str:
    """Return the group that was named in one of two ways. Raises UsageError if they differ."""
    if word and option and word != option:
        raise UsageError(f"two groups are named: {word} and {option}", "name one group")
    return word or option


def _lines(seen: JobsStatus) -> list[Line]:
    from ocicaliban.jobs import status_table

    if not seen.jobs:
        return [Line("no jobs yet")]
    rows = [status_table.HEADINGS, *status_table.rows(seen.jobs, time.time())]
    lines = status_table.styled(rows, status_table.STATUS)
    below = status_table.reasons(seen.jobs)
    below += [f"{each.name}: {status_table.counted(each.counts)}" for each in seen.groups]
    below += [
        f"{name} has queued jobs that nothing will start; to start them: ocicaliban resume {name}"
        for name in seen.unattended
    ]
    if seen.others:
        below.append(f"{seen.others} other group{'s' * (seen.others > 1)}: ocicaliban status --all")
    return [*lines, *(Line(line) for line in ["", *below])] if below else lines


def _watch(looks: Iterator[JobsStatus]) -> None:
    """Show the jobs again and again, on a terminal in place."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()

    def now() -> Text:
        text = Text()
        for line in _lines(next(looks)):
            made = Text(f"{line.text}\n")
            made.stylize(line.style, line.start, line.end)
            text.append_text(made)
        text.rstrip()
        text.no_wrap, text.overflow = True, "ellipsis"
        return text

    if not console.is_terminal:
        while True:
            print_lines(now().plain)
            time.sleep(_PAUSE)
    with Live(now(), console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            time.sleep(_PAUSE)
            live.update(now(), refresh=True)


def logs(
    name: Annotated[
        str,
        typer.Argument(
            metavar="[JOB|GROUP]",
            autocompletion=completion.jobs_and_groups,
            help="A job's number, a group, or `last` (the default): the newest job.",
        ),
    ] = "",
    failed: Annotated[bool, typer.Option("--failed", help="Only failed jobs, by default of the newest group.")] = False,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Keep printing until the job ends.")] = False,
    attempt: Annotated[
        int, typer.Option("--attempt", show_default=False, help="The number of the attempt (default: the last).")
    ] = 0,
    raw: Annotated[
        bool, typer.Option("--raw", help="Print every byte at a terminal too, colours and control sequences included.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Print the output of a job or of a group.

    At a terminal it comes without the characters that control a terminal, elsewhere as it is.
    """
    from ocicaliban.app import logs as use_case

    print_bytes(use_case.log_blocks(name, attempt=attempt, follow=follow, failed=failed), raw=raw)


def get(
    name: Annotated[
        str,
        typer.Argument(
            metavar="[JOB|GROUP]",
            autocompletion=completion.jobs_and_groups,
            help="A job's number, a group, or `last` (the default): the newest job.",
        ),
    ] = "",
    folder: Annotated[
        str, typer.Argument(metavar="[DIR]", help="The new folder for the results (default: GROUP/JOB).")
    ] = "",
    debug: Debug = False,
) -> None:
    """Copy the results of a job or of a group.

    That is what the jobs wrote to /out, in Cloud Storage too.
    """
    from ocicaliban.app import get as use_case

    for path in use_case.get(name, folder):
        print_lines(str(path))


def stop(
    jobs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[JOB]...",
            autocompletion=completion.jobs,
            help="Job numbers, or `last`: the run or sweep that was started last.",
        ),
    ] = None,
    group: Group = "",
    dry_run: DryRun = False,
    debug: Debug = False,
) -> None:
    """Stop running and waiting jobs.

    Running ones get SIGTERM, and SIGKILL ten seconds later; waiting ones do not start.
    """
    from ocicaliban.app import stop as use_case

    refused: list[str] = []
    would = "would be " if dry_run else ""
    for each in use_case.stop(jobs or (), group, TERMINAL.also(refused.append), dry_run=dry_run):
        job = each.job
        if each.ended:
            print_lines(f"{job.id}  {job.status}, but it runs{'; would be stopped' if dry_run else ': stopped'}")
        else:
            print_lines(f"{job.id}  {f'{job.status}, ' if dry_run else ''}{would}stopped")
    if refused:
        raise typer.Exit(1)


def resume(
    name: GroupWord = "",
    group: Group = "",
    debug: Debug = False,
) -> None:
    """Run the unfinished jobs of a group.

    So a sweep continues after a crash or Ctrl-C. No finished job runs again.
    """
    group = one_group(name, group)
    from ocicaliban.app import resume as use_case

    _end(use_case.resume(group))


def resubmit(
    name: GroupWord = "",
    group: Group = "",
    all_jobs: Annotated[bool, typer.Option("--all-jobs", help="Include the jobs that succeeded.")] = False,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build a new image of the project as it is now.")] = False,
    dry_run: DryRun = False,
    debug: Debug = False,
) -> None:
    """Run failed and stopped jobs of a group again.

    They run in the same image, with the same arguments.
    """
    group = one_group(name, group)
    if not group:
        raise UsageError("say which group to run again", "--group GROUP; `ocicaliban status --all` shows the groups")
    from ocicaliban.app import resubmit as use_case
    from ocicaliban.jobs import status_table

    if dry_run:
        for job in use_case.candidates(group, all_jobs=all_jobs):
            print_lines(f"{job.id}  {job.status}, would run again: {status_table.typed(job)}")
        return
    _end(use_case.resubmit(group, all_jobs=all_jobs, rebuild=rebuild))


def _end(outcome: Outcome) -> None:
    """Print the groups that were submitted, and exit with the exit code."""
    for group in outcome.groups:
        print_lines(group)
    raise typer.Exit(outcome.exit_code)
