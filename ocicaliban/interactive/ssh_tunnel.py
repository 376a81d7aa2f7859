"""The ssh command that brings a notebook's port to the machine at which the user sits."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Callable, Collection, Mapping

from ocicaliban.interactive.notebook import ADDRESS


def resolve(name: str) -> tuple[str, ...]:
    """Return the addresses of a host; none if its name cannot be resolved."""
    try:
        return tuple(str(found[4][0]) for found in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM))
    except OSError:
        return ()


def command(
    port: int,
    environ: Mapping[str, str],
    user: str,
    node: str,
    resolve: Callable[[str], Collection[str]] = resolve,
) -> str:
    """Return the ssh command that forwards `port` from this machine, `node`; "" if the user did not come by ssh.

    The host in it is the one that the user's own ssh reached: by its name if that resolves to the same address, or else
    by the address. In a Slurm job that is the login node, whose environment the job has; the way to this node leads
    through it.
    """
    words = environ.get("SSH_CONNECTION", "").split()
    address, ssh_port = (words[2], words[3]) if len(words) == 4 else ("", "22")
    in_job = "SLURM_JOB_ID" in environ
    if not address and not in_job:
        return ""
    reached = environ.get("SLURM_SUBMIT_HOST", "") if in_job else node
    host = reached if not address or address in resolve(reached) else address
    argv = ["ssh", "-N", "-L", f"{port}:{ADDRESS}:{port}"]
    here = environ.get("SLURMD_NODENAME") or node
    if in_job and here.split(".")[0] != reached.split(".")[0]:
        if host:
            bracketed = f"[{host}]" if ":" in host else host
            argv += ["-J", f"{user}@{bracketed}" + (f":{ssh_port}" if ssh_port != "22" else "")]
        return shlex.join([*argv, f"{user}@{here}"])
    return shlex.join([*argv, *(["-p", ssh_port] if ssh_port != "22" else []), f"{user}@{host}"])
