"""podman's user namespace: repair it after the processes that kept it were killed, and run a command in it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ocicaliban.containers import runtime_folder

_REMEDY = "system migrate"  # podman's own advice, whatever the rest of its message says


def revive() -> None:
    """Repair podman's records if all processes that kept its user namespace were killed; report it on stderr.

    The end of a Slurm job or of a login session kills everything that started in it, containers too. podman before
    5.7 then keeps containers whose processes are gone, and refuses every command (podman's issue 20697). If nothing is
    wrong, this starts no process. Raises ToolError if podman cannot repair its records.
    """
    if os.geteuid() and (state := _state()) and not _pause_process_lives(state):
        _revive(state)


def with_one_user(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Return a command that runs `argv` as the root of a namespace with one uid, where changes of owners do nothing."""
    program = Path(__file__).with_name("one_user.py")
    return ("podman", "unshare", "unshare", "-m", sys.executable, "-I", str(program), *argv)


def _state() -> Path | None:
    """Return where podman keeps state until the machine shuts down; None if the user has not run podman since boot."""
    folders = (top / "libpod" / "tmp" for top in runtime_folder.candidates())
    return next((folder for folder in folders if (folder / "alive").exists()), None)


def _pause_process_lives(state: Path) -> bool:
    """Return whether podman's pause process lives: a process of this user in another user namespace than ours."""
    try:
        pid = int((state / "pause.pid").read_text())
        os.readlink(f"/proc/{pid}/exe")  # a process that has ended, and waits for its parent, has no such link
        return os.readlink(f"/proc/{pid}/ns/user") != os.readlink("/proc/self/ns/user")
    except (OSError, ValueError):
        return False


def _revive(state: Path) -> None:
    from ocicaliban.containers import workspace
    from ocicaliban.errors import ToolError
    from ocicaliban.system import process

    if process.on_path("podman") is None:
        return
    # The second of two commands would stop containers that the first has started in the meantime.
    with workspace.exclusive("podman"):
        if _pause_process_lives(state):
            return
        # Another process may have this number by now, and podman would kill it.
        (state / "pause.pid").unlink(missing_ok=True)
        try:
            process.run(("podman", "unshare", "true"))
        except ToolError as fault:
            if _REMEDY not in fault.stderr:
                return  # another fault, which the command itself will report
        else:
            return
        _migrate()
    print("note: podman's processes were killed while containers ran; its records are repaired", file=sys.stderr)


def _migrate() -> None:
    """Make podman forget containers whose processes are gone, and its old user namespace."""
    from ocicaliban.errors import ToolError
    from ocicaliban.system import process

    for last in (False, True):
        try:
            process.run(("podman", "system", "migrate"), whole=True, doing="podman's records cannot be repaired")
            return
        except ToolError:
            # Processes that were just killed still exist for a moment, and podman gives up at the first of them.
            if last:
                raise
