"""The emulator's token endpoint: it gives access tokens to clients that have the account's key."""

from __future__ import annotations

import functools
import http.server
import json
import threading
import urllib.parse
from collections.abc import Mapping
from typing import Any

from ocicaliban.emulator.identity import ServiceAccount

_MAX_REQUEST = 1 << 16  # bytes


class TokenService:
    """The endpoint, on a free port of loopback."""

    def __init__(self, account: ServiceAccount) -> None:
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, account))

    @property
    def url(self) -> str:
        """The address of the endpoint."""
        return f"http://127.0.0.1:{self._server.server_port}/token"

    def start(self) -> None:
        """Answer from now on."""
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Answer no more; only after `start`."""
        self._server.shutdown()

    def close(self) -> None:
        """Free the port."""
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    timeout = 10

    def __init__(self, account: ServiceAccount, *request: Any) -> None:
        self._account = account
        super().__init__(*request)

    def do_POST(self) -> None:
        """Answer as Google's token endpoint does (RFC 6749, 5.1 and 5.2; RFC 7523)."""
        length = self.headers.get("Content-Length", "")
        body = self.rfile.read(min(int(length), _MAX_REQUEST) if length.isdecimal() else 0)
        form = dict(urllib.parse.parse_qsl(body.decode("utf-8", "replace")))
        if token := self._account.token(form.get("assertion", "")):
            self._answer(200, {"access_token": token, "expires_in": 3600, "token_type": "Bearer"})
        else:
            self._answer(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})

    def _answer(self, status: int, answer: Mapping[str, object]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""
