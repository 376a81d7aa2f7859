"""Run the project again at each save."""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ocicaliban.project import source_tree
from ocicaliban.reporter import TERMINAL
from ocicaliban.system import process

_OPTION = "--watch"
_PAUSE = 0.5  # seconds between two looks; one takes milliseconds

Stamps = dict[str, tuple[int, int]]


def watch(argv: Sequence[str], root: Path, pause: Callable[[float], None] = time.sleep) -> int:
    """Run the command line `argv` without --watch, and again when a source file of the project changes; until Ctrl-C.

    A run that is still going is ended first, as by Ctrl-C. Return the exit code.
    """
    cut = argv.index("--") if "--" in argv else len(argv)
    own = [word for word in argv[:cut] if word != _OPTION]
    command = (sys.executable, "-m", "ocicaliban", *own, *argv[cut:])
    while True:
        before = stamps(root)
        code = process.run_until(command, functools.partial(_differs, root, before), _PAUSE)
        if code is not None:
            TERMINAL.say(f"ended with exit code {code}; it runs again when you save a file (Ctrl-C ends this)")
            while stamps(root) == before:
                pause(_PAUSE)
        TERMINAL.say("a file has changed")


def _differs(root: Path, before: Stamps) -> bool:
    return stamps(root) != before


def stamps(root: Path) -> Stamps:
    """Return when each source file of the project was written last, and how large it is."""
    found = {}
    for path in source_tree.names(root):
        try:
            status = os.stat(root / path)
        except OSError:
            continue
        found[path] = (status.st_mtime_ns, status.st_size)
    return found
