"""The command expand: prints the jobs of a sweep file, and reads the file for whoever needs it."""

from __future__ import annotations

import io
import json
import os
import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ocicaliban.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ocicaliban.jobs.sweep_file import Sweep
    from ocicaliban.model import Parameters

_HINT = "the path of a sweep file, or stdin; see docs/experiments.md"


def read(source: str) -> Sweep:
    """The sweep that a file says, or stdin where `source` is `stdin` or `-`.

    Raises UsageError where it cannot be read, or cannot be run.
    """
    from ocicaliban.jobs import sweep_file

    try:
        if source.lower() in ("stdin", "-"):
            source = "stdin"
            raw = sys.stdin.buffer.read()
        else:
            # `--experiment-config=~/sweep.json` is left as it is by a shell.
            with open(os.path.expanduser(source), "rb") as file:
                raw = file.read()
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise UsageError(f"{source}: not UTF-8", "save the file as UTF-8") from exc
    except IsADirectoryError as exc:
        raise UsageError(f"{source}: a folder, not a file", _HINT) from exc
    except FileNotFoundError as exc:
        raise UsageError(f"{source}: no such file", _HINT) from exc
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else str(exc)  # a path with a NUL in it
        raise UsageError(f"{source}: cannot be read: {why}", "make it a file that you can read") from exc
    return sweep_file.parse(text, sweep_file.form_of(source, text), source)


def expand(
    file: Annotated[str, typer.Argument(metavar="FILE|stdin", help="The sweep file: JSON, TOML or YAML.")],
    pprint: Annotated[bool, typer.Option("--pprint", help="Print JSON that people can read.")] = False,
    print_flags: Annotated[
        bool, typer.Option("--print-flags", help="Print the script's arguments, a job a line, quoted for a shell.")
    ] = False,
) -> None:
    """Print the jobs that a sweep file makes, as JSON: one object for each, in the order in which they run."""
    sweep = read(file)
    pieces = _lines(sweep) if print_flags else _array(sweep, indented=pprint)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # what a script is given does not depend on the locale
    write = sys.stdout.write
    for piece in pieces:
        write(piece)


def _lines(sweep: Sweep) -> Iterator[str]:
    from ocicaliban.jobs.sweep_file import flags, products

    def quoted(parameters: Parameters) -> tuple[str, ...]:
        return tuple(shlex.quote(word) for word in flags(parameters))

    for words in products(sweep, quoted):
        yield f"{' '.join(words)}\n"


def _array(sweep: Sweep, *, indented: bool) -> Iterator[str]:
    """What json.dumps would make of the list of all jobs, which never exists."""
    from ocicaliban.jobs.sweep_file import products

    def members(parameters: Parameters) -> tuple[str, ...]:
        return tuple(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in parameters)

    between, first, comma, last = (",\n", "\n    ", ",\n    ", "\n  ") if indented else (", ", "", ", ", "")
    before = "[\n  {" if indented else "[{"
    for job in products(sweep, members):
        yield before + (first + comma.join(job) + last if job else "") + "}"
        before = between + ("  {" if indented else "{")
    yield "\n]\n" if indented else "]\n"
