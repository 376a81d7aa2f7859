"""Kills things at random moments, and says what did not hold: `python -m tests.chaos --kills 1000`.

The seed is printed, and `--seed` gives the same faults again, as far as the machine does the same. Everything is in a
folder of its own and of this user's image store; nothing of others is touched.
"""

from __future__ import annotations

import argparse
import datetime
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.chaos.faults import FAULTS
from tests.chaos.scenarios import SCENARIOS, Scenario
from tests.chaos.world import PATIENCE, World, eventually

_LATE = 0.75
"""How many of the faults come after the work proper has begun."""
_CALM = 4
"""How often a command is given again without a fault until it must be done."""


def one_round(world: World, scenario: Scenario, n: int, most: int) -> tuple[list[str], list[str]]:
    """Run a scenario with some faults, `most` at most; return these, and what did not hold."""
    hits: list[str] = []
    world.begin(*scenario.command(world, n))
    most = min(most, scenario.most)
    for _ in range(world.dice.randint((most + 1) // 2, most)):
        if world.dice.random() < _LATE:
            eventually(lambda: not world.running() or scenario.under_way(world, n), PATIENCE, pause=0.1)
        until = time.monotonic() + world.dice.uniform(0, scenario.span)
        while world.running() and time.monotonic() < until:
            time.sleep(0.005)
        fault = world.dice.choice(scenario.faults)
        if FAULTS[fault](world, world.group(n)):
            hits.append(fault)
        if not world.running():
            assert world.child is not None
            if scenario.done(world, n, world.child.returncode):
                break
            world.begin(*scenario.command(world, n))
    for calm in range(_CALM):
        assert world.child is not None
        if not eventually(lambda: not world.running(), PATIENCE):
            return hits, ["it hangs"]
        if scenario.done(world, n, world.child.returncode):
            break
        if calm == _CALM - 1:
            return hits, [f"it is not done after {_CALM} commands more"]
        world.begin(*scenario.command(world, n))
    (world.top / "clock").unlink(missing_ok=True)
    found = scenario.problems(world, n, hits)
    if not eventually(lambda: not [*world.processes()], 20):
        found.append(f"processes are left: {[line for _, line in world.processes()]}")
    if "Traceback" in (world.top / "words").read_text(errors="replace"):
        found.append("there is a traceback")
    return hits, found


def main(argv: list[str] | None = None) -> int:
    """Run rounds until so many faults have struck, or the time is over; return 1 if anything did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no round after that")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--most", type=int, default=99, help="how many faults a round has at most")
    parser.add_argument("--only", choices=[*SCENARIOS], action="append")
    given = parser.parse_args(argv)
    print(f"seed {given.seed}", flush=True)
    top = Path(tempfile.mkdtemp(prefix="oc-chaos-"))
    world = World(top=top, dice=random.Random(given.seed))
    counts: Counter[str] = Counter()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left
    failures, n, since = 0, 0, time.monotonic()
    try:
        world.prepare()
        names = given.only or [*SCENARIOS]
        while counts.total() < given.kills and time.monotonic() < since + given.seconds:
            name = names[n % len(names)]
            n += 1
            (top / "words").write_text("")
            scene = SCENARIOS[name].scene(world)
            if scene is None:
                print(f"{n} {name}: not on this machine", flush=True)
                continue
            world.scene = scene
            hits, found = one_round(world, SCENARIOS[name], n, given.most)
            world.scene = {}
            counts.update(f"{name}: {hit}" for hit in hits)
            print(f"{n} {name}: {', '.join(hits) or 'no fault struck'}", *found, sep="\n  ", flush=True)
            if found:
                failures += 1
                print((top / "words").read_text(errors="replace"), flush=True)
    finally:
        world.close()
    day = datetime.datetime.now(datetime.UTC).date()
    print(f"{day}: {counts.total()} faults in {n} rounds, {failures} of them with something that did not hold")
    print(f"  {world.excused} exit codes were lost with conmon, and are said to be unknown")
    print(f"  {world.unseen} jobs ran again after kills of podman's service and of ours in a row")
    print(*(f"  {name}: {count}" for name, count in sorted(counts.items())), sep="\n")
    if not failures:
        shutil.rmtree(top, ignore_errors=True)
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
