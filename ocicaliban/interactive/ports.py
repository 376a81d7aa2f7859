"""Choose the port of a notebook server."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

from ocicaliban.errors import UsageError
from ocicaliban.interactive.notebook import ADDRESS, NotebookServer, ServerEnded

_FIRST = 8888
_LAST = 65535


def is_free(port: int) -> bool:
    """Return whether a server can listen on this port now."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((ADDRESS, port))
            listener.listen(1)
        except OSError as exc:
            if exc.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            return False
    return True


def free_port(given: int = 0, first: int = _FIRST) -> int:
    """Return the `given` port; if that is 0, the first free one from `first`. Raises UsageError if none is free."""
    if given:
        if not is_free(given):
            raise UsageError(
                f"the port {given} is taken, or you may not listen on it", "without -p the first free port is used"
            )
        return given
    for port in range(first, _LAST + 1):
        if is_free(port):
            return port
    raise UsageError(f"no port from {first} to {_LAST} is free", "choose one with -p")


def start_on_free_port(given: int, start: Callable[[int], NotebookServer]) -> NotebookServer:
    """Call `start` with the `given` port; if that is 0, with the first free one.

    Continue with the next free port if another program takes that one meanwhile.
    """
    port = free_port(given)
    while True:
        try:
            return start(port)
        except ServerEnded:
            if given or is_free(port):
                raise
            port = free_port(first=port + 1)  # another program took the port meanwhile
