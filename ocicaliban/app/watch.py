"""Run the project again at each save."""

from __future__ import annotations

import os
import re
import stat
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.project import lockfile, source_tree
from ocicaliban.reporter import TERMINAL
from ocicaliban.system import files, process

_OPTION = "--watch"
_PAUSE = 0.5  # seconds between two looks; one takes milliseconds

_OF_EDITORS = re.compile(r"\..*\.sw[a-z]|\.#.*|#.*#|.*~|4913")
"""What Vim and Emacs keep beside a file that is being edited."""

Stamps = dict[str, tuple[int, int]]


def watch(argv: Sequence[str], root: Path, out: str = "", pause: Callable[[float], None] = time.sleep) -> int:
    """Run the command line `argv` without --watch, and again when a source file of the project changes; until Ctrl-C.

    What a run writes does not count: the locks, and its results in the folder `out` ("": not in the project). A run
    that is still going is ended first, as by Ctrl-C. Return the exit code. Raises UsageError if `out` is the project.
    """
    written = _written(root, out)
    cut = argv.index("--") if "--" in argv else len(argv)
    own = [word for word in argv[:cut] if word != _OPTION]
    command = (sys.executable, "-m", "ocicaliban", *own, *argv[cut:])
    while True:
        looks = _Looks(root, written)
        code = process.run_until(command, looks.changed, _PAUSE, TERMINAL.note)
        if code is not None:
            TERMINAL.say(f"ended with exit code {code}; it runs again when you save a file (Ctrl-C ends this)")
            while not looks.changed():
                pause(_PAUSE)
        TERMINAL.say("a file has changed")


class _Looks:
    """Looks at the source files again and again. A change counts once two looks agree: then all files are written."""

    def __init__(self, root: Path, written: tuple[str, ...]) -> None:
        self._root, self._written = root, written
        self._before = self._last = stamps(root, written)

    def changed(self) -> bool:
        now, last = stamps(self._root, self._written), self._last
        self._last = now
        return now == last and now != self._before


def _written(root: Path, out: str) -> tuple[str, ...]:
    """Return the paths in the project, relative to it, that a run with the results in `out` writes."""
    real = os.path.realpath(root)
    found = list(lockfile.NAMES)
    if out and os.path.realpath(out) == real:
        raise UsageError(f"--watch with results in {root} itself would run again for ever", "--out results")
    for folder in (out or root, files.state(), files.cache()):
        path = os.path.relpath(os.path.realpath(folder), real)
        if path.split(os.sep)[0] not in (os.curdir, os.pardir):
            found.append(path)
    return tuple(found)


def stamps(root: Path, written: tuple[str, ...] = ()) -> Stamps:
    """Return when each source file of the project was written last, and how large it is; without those `written`."""
    found: Stamps = {}
    try:
        names = source_tree.names(root, exclude=written)
    except OcicalibanError:  # an ignore file is wrong: the run tells how, and the next save may mend it
        return found
    for path in names:
        if _OF_EDITORS.fullmatch(os.path.basename(path)):
            continue
        try:
            status = os.stat(root / path)
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):  # a folder changes with each file in it, ignored ones too
            found[path] = (status.st_mtime_ns, status.st_size)
    return found
