"""Take the measures and print them; exit with 1 if one is above its limit.

With --against, compare this checkout with another one, in turns: the limit is then 5 % more than there.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from tests.bench.measure import as_json, compare, markdown, table, take
from tests.bench.measures import MEASURES
from tests.bench.workshop import REPOSITORY, BenchError, Workshop


def main(argv: Sequence[str] | None = None) -> int:
    """Take the measures that `argv` names, or all; return 1 if one is above its limit, 2 if one cannot be taken."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    known = [measure.name for measure in MEASURES]
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"which: {', '.join(known)} (default: all)")
    parser.add_argument("--runs", type=int, default=0, help="how often, instead of as often as each measure says")
    parser.add_argument("--against", metavar="CHECKOUT", type=Path, help="compare with ocicaliban in another checkout")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="as docs/benchmarks.md has them")
    form.add_argument("--json", action="store_true", help="with every run")
    given = parser.parse_args(argv)
    if unknown := [name for name in given.names if name not in known]:
        parser.error(f"there is no measure '{unknown[0]}'; there are {', '.join(known)}")
    if given.runs < 0:
        parser.error("--runs must be positive")
    if given.against and not (given.against / "ocicaliban" / "__main__.py").is_file():
        parser.error(f"{given.against} is not a checkout of ocicaliban")
    wanted = [measure for measure in MEASURES if measure.name in (given.names or known)]
    if missing := sorted({tool for measure in wanted for tool in measure.needs if shutil.which(tool) is None}):
        print(f"error: not installed: {', '.join(missing)}; see `ocicaliban doctor`", file=sys.stderr)
        return 2
    results = []
    progress = Console(stderr=True)
    try:
        with ExitStack() as stack:
            shop = stack.enter_context(Workshop(REPOSITORY if given.against else None))
            other = stack.enter_context(Workshop(given.against)) if given.against else None
            against = f" in {shop.checkout}, against {other.checkout}" if other else ""
            progress.print(f"measuring {' '.join(shop.command)}{against}", highlight=False, soft_wrap=True)
            for measure in wanted:
                with progress.status(measure.what):
                    taken = compare(measure, shop, other, given.runs) if other else take(measure, shop, given.runs)
                    results.append(taken)
                progress.print(f"{measure.name}: {taken.measured:.2f} {taken.unit}", highlight=False)
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
