"""Feed 10,000 changed files to all that reads files: `python -m tests.fuzz --count 10000 --seed 1`."""

from __future__ import annotations

import argparse
import time
from collections import Counter

from tests.fuzz import runner


def main() -> int:
    """Print each fault once, and a summary; return 1 if there was any."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="how many changed files (default: 10,000)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the same seed gives the same files")
    parser.add_argument("--kind", default="", help="one kind of file only")
    parser.add_argument("--first", type=int, default=0, help="begin with the file of this number")
    asked = parser.parse_args()
    print(f"seed {asked.seed}, {asked.count} files", flush=True)
    seen: Counter[str] = Counter()
    began = time.monotonic()
    for fault in runner.run(asked.count, asked.seed, asked.kind, asked.first):
        if fault is None:
            continue
        place = next((line for line in reversed(fault.where.splitlines()) if "/ocicaliban/" in line), "")
        known = f"{fault.what.partition(':')[0]}{place}" if place else fault.what[:60]
        seen[known] += 1
        if seen[known] == 1:
            print(
                f"\n{fault.seed} {fault.kind} {fault.file}: {fault.what}\n{fault.where}{fault.data[:300]!r}", flush=True
            )
    taken = time.monotonic() - began
    print(f"{asked.count} files in {taken:.0f} s, seed {asked.seed}: {sum(seen.values())} faults of {len(seen)} kinds")
    return 1 if seen else 0


if __name__ == "__main__":
    raise SystemExit(main())
