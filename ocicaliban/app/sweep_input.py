"""Read the sweep file that a command names, or stdin."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

from attrs import evolve

from ocicaliban.errors import UsageError
from ocicaliban.formats.text import amount

if TYPE_CHECKING:
    from ocicaliban.jobs.expansion import Sweep

_MOST_JOBS = 1_000_000
_MOST_BYTES = 100_000_000
_HINT = "give the path of a sweep file, or stdin; see docs/experiments.md"


def require_points(sweep: Sweep, source: str) -> None:
    """Raise UsageError if a sweep has a range, which stands for no jobs of its own."""
    from ocicaliban.jobs import expansion

    if name := expansion.range_of(sweep):
        raise UsageError(
            f"{source}: '{name}' is a range, and no list of values",
            "ocicaliban run --search random --trials 20, or --search optuna --trials 20 --goal METRIC",
        )


def read_to_run(source: str, form: str = "flags", *, searched: bool = False) -> Sweep:
    """Return the sweep in a file whose jobs are to run; `form` names how the parameters reach the script.

    One that is `searched` may have ranges.

    Raises UsageError as `read_sweep` does, and for more jobs than any machine can run: a factor too many in a file
    makes billions of them.
    """
    from ocicaliban.jobs import expansion

    sweep = evolve(read_sweep(source), form=expansion.format_named(form))
    if searched:
        return sweep
    require_points(sweep, source)
    if (count := expansion.count(sweep)) > _MOST_JOBS:
        raise UsageError(
            f"{source}: it makes {count:,} jobs, more than {_MOST_JOBS:,}",
            f"`ocicaliban expand {shlex.quote(source)} | head` shows the first ones; divide the sweep",
        )
    return sweep


def read_sweep(source: str) -> Sweep:
    """Return the sweep in a file, or from stdin if `source` is `stdin` or `-`.

    Raises UsageError if it cannot be read, or is not valid.
    """
    from ocicaliban.jobs import sweep_file, sweep_forms

    try:
        if source.lower() in ("stdin", "-"):
            source = "stdin"
            raw = sys.stdin.buffer.read(_MOST_BYTES + 1)
        else:
            # A shell does not expand `--experiment-config=~/sweep.json`.
            with open(os.path.expanduser(source), "rb") as file:
                raw = file.read(_MOST_BYTES + 1)
        if len(raw) > _MOST_BYTES:
            raise UsageError(f"{source}: larger than {amount(_MOST_BYTES)}, so it is no sweep file", _HINT)
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
    sweep = sweep_file.parse(text, sweep_forms.form_of(source, text), source)
    return evolve(sweep, name=os.path.basename(source), text=text)
