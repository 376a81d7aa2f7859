"""Try ocicaliban on a machine with an NVIDIA GPU and no network.

    python3 -m tests.device pack .device            where there is a network: make the kit
    python3 -m tests.device run .device             there, as root or as an ordinary user: unpack it, and try
    python3 -m tests.device run .device --fake      the same without a GPU, to test the script itself (needs gcc)

It needs Python 3.11, dpkg-deb and a kernel that lets users make namespaces. It takes less than 8 minutes. It stays
below its own folder in /tmp, apart from one user (`ocgpu`, if it is root), and removes both.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.device import kit, trial


def main(args: list[str]) -> int:
    if len(args) < 2 or args[0] not in ("pack", "run"):
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(args[1]).absolute()
    if args[0] == "pack":
        kit.pack(folder)
        return 0
    return trial.run(folder, fake="--fake" in args)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
