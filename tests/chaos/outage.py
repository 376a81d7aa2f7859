"""A port that leads to another one, and that can be cut off for a while, as a service does that goes down."""

from __future__ import annotations

import contextlib
import socket
import threading
import time


class Outage:
    """Lead connections to the port `behind` of this machine, until they are cut."""

    def __init__(self, behind: int = 0) -> None:
        self.behind = behind
        self._open: set[socket.socket] = set()
        self._up = True
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, seconds: float) -> None:
        """Drop all connections, and accept none for so many seconds."""
        self._up = False
        for each in [*self._open]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        time.sleep(seconds)
        self._up = True

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            far = None
            with contextlib.suppress(OSError):
                far = socket.create_connection(("127.0.0.1", self.behind)) if self._up else None
            if far is None:
                near.close()
                continue
            self._open |= {near, far}
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, to: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                to.sendall(data)
        for each in (source, to):
            self._open.discard(each)
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            if each is source:
                each.close()
