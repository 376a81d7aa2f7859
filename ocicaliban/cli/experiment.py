"""The command expand: prints the jobs of a sweep file."""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from ocicaliban.cli.options import SweepFormat
from ocicaliban.cli.output import print_exactly


def expand(
    file: Annotated[str, typer.Argument(metavar="FILE|stdin", help="The sweep file: JSON, TOML or YAML.")],
    pprint: Annotated[bool, typer.Option("--pprint", help="Print indented JSON.")] = False,
    print_flags: Annotated[
        bool, typer.Option("--print-flags", help="Print each job's arguments in a line, quoted for a shell.")
    ] = False,
    sweep_format: SweepFormat = "flags",
) -> None:
    """Print the jobs of a sweep file as JSON.

    There is one object for each job, in the order in which they run.
    """
    from ocicaliban.app import expand as use_case

    pieces = use_case.argument_lines(file, sweep_format) if print_flags else use_case.json_pieces(file, indented=pprint)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # the result must not depend on the locale
    print_exactly(pieces)
