"""`python -m tests.bench [NAME...]`: takes the measures and prints them; exits 1 where a limit is not met."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
from collections.abc import Sequence

from rich.console import Console

from tests.bench.measure import as_json, markdown, table, take
from tests.bench.measures import MEASURES
from tests.bench.workshop import BenchError, Workshop


def main(argv: Sequence[str] | None = None) -> int:
    """Take the measures that `argv` names, or all; returns 1 where a limit is missed, 2 where one cannot be taken."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    known = [measure.name for measure in MEASURES]
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"which: {', '.join(known)} (default: all)")
    parser.add_argument("--runs", type=int, default=0, help="how often, instead of as often as each measure asks for")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="the README's table")
    form.add_argument("--json", action="store_true", help="with every run")
    given = parser.parse_args(argv)
    if unknown := [name for name in given.names if name not in known]:
        parser.error(f"there is no measure '{unknown[0]}'; there are {', '.join(known)}")
    if given.runs < 0:
        parser.error("--runs has to be positive")
    wanted = [measure for measure in MEASURES if measure.name in (given.names or known)]
    if missing := sorted({tool for measure in wanted for tool in measure.needs if shutil.which(tool) is None}):
        print(f"error: not installed: {', '.join(missing)}; see `ocicaliban doctor`", file=sys.stderr)
        return 2
    results = []
    progress = Console(stderr=True)
    try:
        with Workshop() as shop:
            progress.print(f"measuring {' '.join(shop.command)}", highlight=False, soft_wrap=True)
            for measure in wanted:
                with progress.status(measure.what):
                    results.append(take(measure, shop, given.runs))
                progress.print(f"{measure.name}: {results[-1].measured:.2f} {measure.unit}", highlight=False)
    except BenchError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    if given.markdown:
        print(markdown(results))
    elif given.json:
        print(as_json(results))
    else:
        Console(width=None if sys.stdout.isatty() else 140).print(table(results))
    return 0 if all(result.met for result in results) else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that what was made is removed
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
