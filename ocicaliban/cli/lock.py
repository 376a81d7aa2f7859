"""The command lock. It imports what it needs when it runs: completion and --help need none of it."""

from __future__ import annotations

from typing import Annotated

import typer

from ocicaliban.cli.options import Debug, Extras, Gpu, WithGroups, request
from ocicaliban.cli.output import print_json, print_lines
from ocicaliban.reporter import TERMINAL


def lock(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="With --upgrade: base, apt, conda, python, git, notebook, or the name of a Python or conda package.",
        ),
    ] = None,
    upgrade: Annotated[
        bool,
        typer.Option("--upgrade", "-U", help="Resolve these parts of the lock again, or all of it without a name."),
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", "--locked", help="Write nothing; exit with 1 if the lock is out of date.")
    ] = False,
    scripts: Annotated[
        list[str] | None,
        typer.Option("--script", help="Lock a script with dependencies of its own, or a notebook, too."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the changes as JSON.")] = False,
    gpu_wanted: Gpu = None,
    extras: Extras = None,
    with_groups: WithGroups = None,
    debug: Debug = False,
) -> None:
    """Write, renew or check ocicaliban.lock without building."""
    given = locals()
    import attrs

    from ocicaliban.app import lock as use_case
    from ocicaliban.app.requests import LockRequest

    found = use_case.lock(request(LockRequest, given))
    if as_json:
        changes = [attrs.asdict(change) for change in found.changes]
        print_json({"path": str(found.path), "changed": bool(changes) or not found.there, "changes": changes})
    else:
        print_lines(*(change.line for change in found.changes))
    if check and (fault := found.out_of_date):
        raise fault
    if not found.changes and found.there:
        TERMINAL.say(f"{found.path.name} is up to date")
