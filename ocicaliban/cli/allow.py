"""The command allow: what a project may use outside of it."""

from __future__ import annotations

from typing import Annotated

import typer

from ocicaliban.cli.options import Debug
from ocicaliban.cli.output import print_json, print_lines
from ocicaliban.errors import UsageError


def allow(
    list_: Annotated[bool, typer.Option("--list", help="Only print what is allowed, for all projects.")] = False,
    revoke: Annotated[bool, typer.Option("--revoke", help="Allow the project nothing any more.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --list, print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Allow the project what lies outside of it.

    Its files may want mounts, capabilities, build secrets and folders of packages; each is allowed once.

    A project is asked for once, until its files want something else. `ocicaliban plan` shows what it wants.
    """
    from ocicaliban.app import consent

    if list_ and revoke:
        raise UsageError("--list and --revoke exclude each other", "give one of them")
    if as_json and not list_:
        raise UsageError("--json is for --list", "ocicaliban allow --list --json")
    if as_json:
        print_json(consent.listed_values(), indent=2)
    elif list_:
        print_lines(*consent.listed())
    elif revoke:
        print_lines(consent.revoke())
    else:
        print_lines(*consent.allow())
