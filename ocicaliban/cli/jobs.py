"""The commands status, logs, stop, resubmit and resume: what became of jobs, and what shall."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ocicaliban.cli.options import Debug
from ocicaliban.errors import UsageError, nearest
from ocicaliban.reporter import TERMINAL

if TYPE_CHECKING:
    from ocicaliban.history.access import History
    from ocicaliban.model.job import Job

Group = Annotated[str, typer.Option("-g", "--group", "--xgroup", help="The jobs of this group.")]
GroupWord = Annotated[str, typer.Argument(metavar="[GROUP]", help="The same as --group GROUP.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print what would be done.")]

_SHOWN = 20
_EVERY = 2.0  # seconds


def status(
    name: GroupWord = "",
    group: Group = "",
    max_jobs: Annotated[int, typer.Option("--max-jobs", help="How many of the newest; 0 or less: all.")] = _SHOWN,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again and again, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    all_users: Annotated[bool, typer.Option("--all-users", help="Those of others too.")] = False,
    debug: Debug = False,
) -> None:
    """Show the newest jobs and what became of them."""
    from ocicaliban.history import access
    from ocicaliban.jobs import provenance

    if watch and as_json:
        raise UsageError("--watch and --json exclude each other")
    group = one_group(name, group)
    user = "" if all_users else provenance.user()
    newest = min(max(max_jobs, 0), 1 << 62)  # what a database can count
    with access.open(reporter=TERMINAL) as known:
        if watch:
            _watch(known, group, user, newest)
            return
        jobs = _looked_at(known, group, user, newest)
        if as_json:
            from ocicaliban.jobs import status_table

            print(json.dumps([status_table.as_json(job) for job in jobs], indent=2))
            return
        lines = _lines(known, jobs, group, user)
        print("\n".join(lines))


def one_group(word: str, option: str) -> str:
    """The group that was named in one of two ways. Raises UsageError where they differ."""
    if word and option and word != option:
        raise UsageError(f"two groups are named: {word} and {option}", "name one")
    return word or option


def _looked_at(known: History, group: str, user: str, newest: int) -> tuple[Job, ...]:
    """The jobs that are asked for, after a look at what really runs. Raises UsageError for an unknown group."""
    from ocicaliban.execution import reconcile

    reconcile.catch_up(known, TERMINAL, group=group)
    jobs = known.jobs(group=group, user=user, newest=newest)
    if group and not jobs:
        raise _no_group(known, group, user)
    return jobs


def _no_group(known: History, group: str, user: str) -> UsageError:
    return UsageError(f"there is no group '{group}'", nearest(group, [each.name for each in known.groups(user=user)]))


def _lines(known: History, jobs: Sequence[Job], group: str, user: str) -> list[str]:
    from ocicaliban.execution import reconcile
    from ocicaliban.jobs import status_table

    if not jobs:
        return ["no jobs yet"]
    unattended = reconcile.unattended(jobs)
    lines = status_table.aligned([status_table.HEADINGS, *status_table.rows(jobs, time.time())])
    shown = {job.submission.group for job in jobs}
    below = []
    for each in reversed(known.groups(user=user)):
        if each.name in shown and (group or sum(each.counts.values()) > 1):  # the only job of a group says it itself
            below.append(f"{each.name}: {status_table.counted(each.counts)}")
    for name in sorted({job.submission.group for job in jobs if job.submission.id in unattended}):
        below.append(f"nobody runs what is queued of {name}: ocicaliban resume {name}")
    return [*lines, "", *below] if below else lines


def _watch(known: History, group: str, user: str, newest: int) -> None:
    """Show the jobs again and again, on a terminal in place."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()

    def now() -> Text:
        text = Text("\n".join(_lines(known, _looked_at(known, group, user, newest), group, user)))
        text.no_wrap, text.overflow = True, "ellipsis"
        return text

    if not console.is_terminal:
        while True:
            print(now().plain, flush=True)
            time.sleep(_EVERY)
    with Live(now(), console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            time.sleep(_EVERY)
            live.update(now(), refresh=True)


def logs(
    job: Annotated[int, typer.Argument(metavar="JOB", help="A job's number, as `ocicaliban status` shows it.")],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the job ends.")] = False,
    attempt: Annotated[
        int, typer.Option("--attempt", show_default=False, help="Which attempt (default: the last).")
    ] = 0,
    debug: Debug = False,
) -> None:
    """Print what a job has written."""
    from ocicaliban.execution import reconcile
    from ocicaliban.history import access
    from ocicaliban.model.job import ENDED, UNDER_WAY

    with access.open(reporter=TERMINAL) as known:
        [found] = _jobs(known, [job])
        reconcile.catch_up(known, TERMINAL, ids=[found.id])
        [found] = _jobs(known, [job])
        while follow and not found.attempts and found.status not in ENDED:
            time.sleep(_EVERY)
            [found] = _jobs(known, [job])

        def goes_on() -> bool:
            reconcile.catch_up(known, TERMINAL, ids=[job])
            [now] = _jobs(known, [job])
            return any(each.number == chosen.number and each.status in UNDER_WAY for each in now.attempts)

        if not found.attempts:
            TERMINAL.say(f"job {job} is {found.status}; it has not been started")
            return
        tried = {each.number: each for each in found.attempts}
        if attempt and attempt not in tried:
            raise UsageError(f"job {job} has no attempt {attempt}", f"there are: {', '.join(map(str, tried))}")
        chosen = tried[attempt] if attempt else found.attempts[-1]
        empty = True
        for block in reconcile.log(found, chosen, goes_on if follow else None, TERMINAL):
            empty = empty and not block
            sys.stdout.buffer.write(block)
            sys.stdout.buffer.flush()
        if empty:
            why = f" ({chosen.backend_state or chosen.status})" if found.status == "pending" else ""
            TERMINAL.say(f"job {job} has written nothing{'' if found.status in ENDED else ' yet'}{why}")


def _jobs(known: History, ids: Iterable[int]) -> tuple[Job, ...]:
    """The jobs with these numbers. Raises UsageError for one that is not there."""
    wanted = tuple(dict.fromkeys(ids))
    possible = [number for number in wanted if 0 < number < 1 << 63]
    found = {job.id: job for job in known.jobs(ids=possible)} if possible else {}
    for number in wanted:
        if number not in found:
            raise UsageError(f"there is no job {number}", "`ocicaliban status --max-jobs 0` shows all")
    return tuple(found[number] for number in wanted)


def stop(
    jobs: Annotated[list[int] | None, typer.Argument(metavar="[JOB]...", help="The jobs' numbers.")] = None,
    group: Group = "",
    dry_run: DryRun = False,
    debug: Debug = False,
) -> None:
    """Stop jobs: those that run get SIGTERM, and SIGKILL ten seconds later; those that wait are not started."""
    from ocicaliban.execution import reconcile
    from ocicaliban.execution import stop as stopping
    from ocicaliban.history import access
    from ocicaliban.jobs import provenance, status_table

    refused: list[str] = []

    cannot = TERMINAL.also(refused.append)
    if bool(jobs) == bool(group):
        raise UsageError("say which jobs to stop", "their numbers, or --group GROUP")
    with access.open(reporter=TERMINAL) as known:
        reconcile.catch_up(known, TERMINAL, group=group, ids=[each.id for each in _jobs(known, jobs or ())])
        found = _jobs(known, jobs) if jobs else known.jobs(group=group, user=provenance.user())
        if not found:
            raise _no_group(known, group, provenance.user())
        going = status_table.unfinished(found)
        if dry_run:
            for job in going:
                print(f"{job.id}  {job.status}, would be stopped")
        else:
            for job in stopping.stop(known, going, cannot, TERMINAL):
                print(f"{job.id}  stopped", flush=True)
        rest = stopping.stop_rest(known, found, cannot, dry_run=dry_run)
        for job in rest:
            print(f"{job.id}  {job.status}, but it runs{'; would be stopped' if dry_run else ': stopped'}")
        if not going and not rest:
            TERMINAL.say("none of them runs or waits")
        if refused:
            raise typer.Exit(1)


def resume(
    name: GroupWord = "",
    group: Group = "",
    debug: Debug = False,
) -> None:
    """Take up what is left of a group after a crash or a Ctrl-C: nothing that has ended is run again."""
    from ocicaliban.app import launch, local_jobs

    group = one_group(name, group)
    if not group:
        raise UsageError("say which group to take up", "ocicaliban resume GROUP; `ocicaliban status` shows them")
    launch.require_user()
    raise typer.Exit(local_jobs.resume(group))


def resubmit(
    name: GroupWord = "",
    group: Group = "",
    all_jobs: Annotated[bool, typer.Option("--all-jobs", help="Those that succeeded too.")] = False,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="With an image of the project as it is now.")] = False,
    dry_run: DryRun = False,
    debug: Debug = False,
) -> None:
    """Run a group's failed and stopped jobs again, with the image as it was."""
    from ocicaliban.app import launch, local_jobs

    group = one_group(name, group)
    if not group:
        raise UsageError("say which group to run again", "--group GROUP; `ocicaliban status` shows them")
    launch.require_user()
    raise typer.Exit(local_jobs.resubmit(group, all_jobs=all_jobs, rebuild=rebuild, dry_run=dry_run))
