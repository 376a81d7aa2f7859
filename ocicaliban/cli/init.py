"""The command init: examines a project, and writes its first settings."""

from __future__ import annotations

from typing import Annotated

import typer

from ocicaliban.cli.options import Debug
from ocicaliban.cli.output import print_exactly, print_lines
from ocicaliban.reporter import TERMINAL


def init(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be written.")] = False,
    debug: Debug = False,
) -> None:
    """Write a first ocicaliban.toml for a project.

    It examines the folder: which file declares the dependencies, which Python they want, whether a registry can be
    reached, which folders are large. What it finds becomes comments and settings.
    """
    from ocicaliban.app import init as use_case

    with TERMINAL.waiting("the project", "examining"):
        text, path, then = use_case.init(dry_run=dry_run)
    if dry_run:
        print_exactly([text])
        return
    print_lines(str(path))
    TERMINAL.say(f"next: {then}")
