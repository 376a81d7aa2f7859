"""Write out the jobs of a sweep file."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ocicaliban.app import sweep_input
from ocicaliban.jobs.expansion import FORMATS, format_named, products

if TYPE_CHECKING:
    from ocicaliban.jobs.expansion import Sweep
    from ocicaliban.model.job import Parameters


def argument_lines(source: str, form: str = "flags") -> Iterator[str]:
    """Yield a line for each job of a sweep file: its arguments, quoted for a shell.

    Raises UsageError if the file cannot be read, or is not valid.
    """
    arguments = FORMATS[format_named(form)]

    def quoted(parameters: Parameters) -> tuple[str, ...]:
        return tuple(shlex.quote(word) for word in arguments(parameters))

    for words in products(_read(source), quoted):
        yield f"{' '.join(words)}\n"


def json_pieces(source: str, *, indented: bool) -> Iterator[str]:
    """Yield pieces of a JSON array with an object for each job of a sweep file.

    Together they are what json.dumps would make of a list of all jobs, which is never in memory. Raises UsageError if
    the file cannot be read, or is not valid.
    """
    return _pieces(_read(source), indented=indented)


def _read(source: str) -> Sweep:
    sweep = sweep_input.read_sweep(source)
    sweep_input.require_points(sweep, source)
    return sweep


def _pieces(sweep: Sweep, *, indented: bool) -> Iterator[str]:
    def members(parameters: Parameters) -> tuple[str, ...]:
        return tuple(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in parameters)

    between, first, comma, last = (",\n", "\n    ", ",\n    ", "\n  ") if indented else (", ", "", ", ", "")
    before = "[\n  {" if indented else "[{"
    for job in products(sweep, members):
        yield before + (first + comma.join(job) + last if job else "") + "}"
        before = between + ("  {" if indented else "{")
    yield "\n]\n" if indented else "]\n"
