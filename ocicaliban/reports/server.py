"""Serve the page of a report on this machine alone: to those who have the token in its address."""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

HOST = "127.0.0.1"
_FRESH = 2.0  # seconds in which an answer is given again


class ReportServer(ThreadingHTTPServer):
    """Answers / with the page, and /data with the page's data, made by the two functions when they are asked for."""

    daemon_threads = True

    def __init__(self, port: int, token: str, page: Callable[[], str], data: Callable[[], str]) -> None:
        super().__init__((HOST, port), _Handler)
        self.token = token
        self._makers = {"/": page, "/data": data}
        self._made: dict[str, tuple[float, bytes]] = {}
        self._making = threading.Lock()

    @property
    def url(self) -> str:
        """The address of the page, with the token."""
        return f"http://{HOST}:{self.server_port}/?token={self.token}"

    def answer(self, path: str) -> bytes | None:
        """Return what is at a path; None if nothing is. Several questions within moments get the same answer."""
        if path not in self._makers:
            return None
        with self._making:
            at, made = self._made.get(path, (0.0, b""))
            if not made or time.monotonic() - at > _FRESH:
                made = self._makers[path]().encode()
                self._made[path] = (time.monotonic(), made)
            return made

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a browser that has gone."""


class _Handler(BaseHTTPRequestHandler):
    server: ReportServer
    server_version = "ocicaliban"
    sys_version = ""

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        token = parse_qs(asked.query).get("token", [""])[0]
        if self.headers.get("Host", "") not in (
            f"{HOST}:{self.server.server_port}",
            f"localhost:{self.server.server_port}",
        ):
            self._send(403, b"ask for 127.0.0.1", "text/plain")  # a page of another name that leads here
        elif not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self._send(403, b"the address needs its token, as `ocicaliban report --serve` prints it", "text/plain")
        elif (found := self.server.answer(asked.path)) is None:
            self._send(404, b"nothing is here", "text/plain")
        else:
            self._send(200, found, "application/json" if asked.path == "/data" else "text/html")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Write no line for each request: it would have the token in it."""
