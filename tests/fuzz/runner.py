"""Feed changed files to what reads them, and tell what went wrong."""

from __future__ import annotations

import contextlib
import faulthandler
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from random import Random

from attrs import frozen

from ocicaliban.errors import OcicalibanError, of_system
from tests.fuzz import mutations, readers

LIMIT = 20.0
"""Seconds of the processor that a file may take: how busy the machine is does not matter."""
_STUCK = 600
"""Seconds after which something that waits, or a call into C, ends the process, with a traceback."""


@frozen(kw_only=True)
class Fault:
    """What went wrong with one changed file, and how to see it again."""

    seed: str
    kind: str
    file: str
    what: str
    where: str
    data: bytes


class _TooLong(BaseException):
    """Not an Exception: no handler may take it for a fault of the file."""


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, LIMIT)
    faulthandler.dump_traceback_later(_STUCK, exit=True)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        faulthandler.cancel_dump_traceback_later()


def run(count: int, seed: int, only: str = "", first: int = 0) -> Iterator[Fault | None]:
    """Read `count` changed files, and yield a fault or None for each. The same seed gives the same files."""
    with tempfile.TemporaryDirectory(prefix="ocicaliban-fuzz-") as made:
        folder = Path(made)
        with readers.alone(folder / "case"):
            (folder / "seeds").mkdir()
            every = readers.kinds(folder / "seeds")
            names = [only] if only else [*every, "project", "project", "project"]
            for number in range(first, first + count):
                yield _one(every, names, f"{seed}-{number}", folder / "case")


def _one(every: dict[str, readers.Kind], names: list[str], seed: str, folder: Path) -> Fault | None:
    random = Random(seed)
    name = random.choice(names)
    kind = every[name]
    files = dict(random.choice(kind.seeds))
    changing = random.choice([each for each in files if each not in kind.fixed])
    files[changing] = mutations.mutated(files[changing], random, tuple(files.values()))
    readers.written(files, folder)
    what = where = ""
    try:
        with _limited():
            kind.read(folder)
    except OcicalibanError as fault:
        what = _badly_said(fault)
    except OSError as fault:
        what = _badly_said(of_system(fault))
    except _TooLong:
        what, where = f"it takes longer than {LIMIT:.0f} s of the processor", _where(sys.exc_info()[1])
    except BaseException as fault:  # this is what the fuzzer looks for
        if isinstance(fault, KeyboardInterrupt):
            raise
        what, where = f"{type(fault).__name__}: {str(fault)[:200]}", _where(fault)
    if not what:
        return None
    return Fault(seed=seed, kind=name, file=changing, what=what, where=where, data=files[changing])


def _where(fault: BaseException | None) -> str:
    """Return where a fault came from: our own lines, and the innermost one."""
    frames = traceback.extract_tb(fault.__traceback__) if fault else []
    ours = [frame for frame in frames if "/ocicaliban/" in frame.filename][-5:]
    lines = [f"  {frame.filename}:{frame.lineno} {frame.name}: {frame.line}" for frame in (*ours, *frames[-1:])]
    return "\n".join(dict.fromkeys(lines)) + "\n"


def _badly_said(fault: OcicalibanError) -> str:
    if not fault.message.strip() or not str(fault.hint).strip():
        return f"no hint: {fault.message[:200]!r}"
    return ""
