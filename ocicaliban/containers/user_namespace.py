"""podman's user namespace, made anew where the processes that kept it were killed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_MENDED_BY = "system migrate"  # what podman itself advises, whatever its other words are


def revive() -> None:
    """Put podman's records right where all processes that kept its user namespace were killed; says so on stderr.

    So it is when a job of Slurm or a login session ends, which kill all that began in it, containers too: before 5.7
    podman holds to containers of which no process is left, and refuses every command (podman's issue 20697). Costs no
    process where all is well. Raises ToolError where podman cannot put it right.
    """
    if os.geteuid() and (state := _state()) and not _kept(state):
        _revive(state)


def _state() -> Path | None:
    """Where podman keeps what holds until the machine goes down; None if nobody has used it since it came up."""
    ours = os.environ.get("XDG_RUNTIME_DIR")
    uid = os.geteuid()
    tops = (ours,) if ours else (f"/run/user/{uid}", f"/tmp/podman-run-{uid}", f"/tmp/storage-run-{uid}")
    folders = (Path(top, "libpod", "tmp") for top in tops)
    return next((folder for folder in folders if (folder / "alive").exists()), None)


def _kept(state: Path) -> bool:
    """Whether podman's pause process lives: one of ours in a user namespace that is not our own."""
    try:
        pid = int((state / "pause.pid").read_text())
        os.readlink(f"/proc/{pid}/exe")  # one that has ended, and waits for its parent, has none
        return os.readlink(f"/proc/{pid}/ns/user") != os.readlink("/proc/self/ns/user")
    except (OSError, ValueError):
        return False


def _revive(state: Path) -> None:
    from ocicaliban.containers import workspace
    from ocicaliban.errors import ToolError
    from ocicaliban.system import process

    if process.on_path("podman") is None:
        return
    # Of two of us the second would stop what the first has started by then.
    with workspace.only_one("podman"):
        if _kept(state):
            return
        # Its number may be another process's by now, which podman would kill in its place.
        (state / "pause.pid").unlink(missing_ok=True)
        try:
            process.run(("podman", "unshare", "true"))
        except ToolError as fault:
            if _MENDED_BY not in fault.stderr:
                return  # something else, which the command itself will meet
        else:
            return
        _migrate()
    print("note: podman's processes were killed while containers ran; its records are right again", file=sys.stderr)


def _migrate() -> None:
    """Have podman let go of containers that are gone, and of its old user namespace."""
    from ocicaliban.errors import ToolError
    from ocicaliban.system import process

    for last in (False, True):
        try:
            process.run(("podman", "system", "migrate"), whole=True, doing="podman's records cannot be put right")
            return
        except ToolError:
            # Processes that have just been killed seem to be there for a moment still, and it gives up on the first.
            if last:
                raise
