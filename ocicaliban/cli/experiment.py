"""The command expand: prints the jobs of a sweep file, and reads the file for whoever needs it."""

from __future__ import annotations

import io
import json
import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ocicaliban.jobs.expansion import Sweep
    from ocicaliban.model.job import Parameters


def expand(
    file: Annotated[str, typer.Argument(metavar="FILE|stdin", help="The sweep file: JSON, TOML or YAML.")],
    pprint: Annotated[bool, typer.Option("--pprint", help="Print JSON that people can read.")] = False,
    print_flags: Annotated[
        bool, typer.Option("--print-flags", help="Print the script's arguments, a job a line, quoted for a shell.")
    ] = False,
) -> None:
    """Print the jobs that a sweep file makes, as JSON: one object for each, in the order in which they run."""
    from ocicaliban.app.sweep_input import read

    sweep = read(file)
    pieces = _lines(sweep) if print_flags else _array(sweep, indented=pprint)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # what a script is given does not depend on the locale
    write = sys.stdout.write
    for piece in pieces:
        write(piece)


def _lines(sweep: Sweep) -> Iterator[str]:
    from ocicaliban.jobs.expansion import flags, products

    def quoted(parameters: Parameters) -> tuple[str, ...]:
        return tuple(shlex.quote(word) for word in flags(parameters))

    for words in products(sweep, quoted):
        yield f"{' '.join(words)}\n"


def _array(sweep: Sweep, *, indented: bool) -> Iterator[str]:
    """What json.dumps would make of the list of all jobs, which never exists."""
    from ocicaliban.jobs.expansion import products

    def members(parameters: Parameters) -> tuple[str, ...]:
        return tuple(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in parameters)

    between, first, comma, last = (",\n", "\n    ", ",\n    ", "\n  ") if indented else (", ", "", ", ", "")
    before = "[\n  {" if indented else "[{"
    for job in products(sweep, members):
        yield before + (first + comma.join(job) + last if job else "") + "}"
        before = between + ("  {" if indented else "{")
    yield "\n]\n" if indented else "]\n"
