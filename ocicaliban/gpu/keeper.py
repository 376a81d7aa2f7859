"""Keep shared leases of GPUs until a process has ended: `python keeper.py PROCESS FILE... -- WORDS`.

A program of its own, which imports nothing of ours: it may have to wait for days, beside a notebook that was left
running. It prints a line when it has the leases. The words only tell others what it is.
"""

from __future__ import annotations

import fcntl
import os
import select
import sys


def main(argv: list[str]) -> int:
    """Lock the files, and wait; return 0 when the process has ended, 1 if the files cannot be locked."""
    process, *paths = argv[: argv.index("--")]
    try:
        for path in paths:
            fcntl.flock(os.open(path, os.O_RDONLY | os.O_CLOEXEC), fcntl.LOCK_SH | fcntl.LOCK_NB)
        ended = os.pidfd_open(int(process))
    except OSError:
        return 1
    os.write(1, b"\n")  # to the program that started us
    select.select([ended], [], [])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
