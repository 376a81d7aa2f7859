"""A registry on loopback, and a proxy before it that counts, drops, delays and refuses to order."""

import base64
import contextlib
import http.client
import itertools
import os
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def authority(folder: Path, name: str = "localhost") -> None:
    """ca.crt, and server.crt with server.key for 127.0.0.1 and `name`, signed by it."""
    extension = folder / "extension"
    extension.write_text(f"subjectAltName=IP:127.0.0.1,DNS:{name}\n")
    new = ["req", "-newkey", "rsa:2048", "-nodes"]
    for words in (
        [*new, "-x509", "-days", "2", "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.crt"],
        [*new, "-subj", "/CN=127.0.0.1", "-keyout", "server.key", "-out", "server.csr"],
        ["x509", "-req", "-days", "2", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
         "-extfile", "extension", "-out", "server.crt"],
    ):  # fmt: skip
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


class _Ended(Exception):
    """The registry ended by itself."""


class Registry:
    """Debian's docker-registry on a port of its own; `more` are lines of its configuration."""

    def __init__(self, folder: Path, *, tls: str = "", more: str = "", read_only: bool = False) -> None:
        self.data = folder / "data"
        self.config = folder / "registry.yml"
        maintenance = "maintenance: {readonly: {enabled: true}}, " if read_only else ""
        for _ in range(5):
            self.host = f"127.0.0.1:{free_port()}"
            self.config.write_text(
                "version: 0.1\nlog: {level: error}\n"
                f"storage: {{{maintenance}filesystem: {{rootdirectory: {self.data}}}, delete: {{enabled: true}}}}\n"
                f'http: {{addr: "{self.host}"{tls}}}\n{more}'
            )
            with contextlib.suppress(_Ended):  # somebody else has taken the port meanwhile
                self.start()
                return
        raise AssertionError("docker-registry does not start")

    def start(self) -> None:
        # It would take variables such as REGISTRY_AUTH_FILE, which is podman's, for settings of its own.
        env = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
        self.child = subprocess.Popen(
            ["docker-registry", "serve", str(self.config)],
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        host, _, port = self.host.partition(":")
        for _ in range(100):
            if self.child.poll() is not None:
                raise _Ended("docker-registry ended")
            try:
                socket.create_connection((host, int(port)), 1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError("docker-registry did not start")

    def stop(self) -> None:
        self.child.kill()
        self.child.wait()


Order = Callable[[str, str], object]
"""What a proxy does with a request, by method and path: a status, a status with headers, an answer's bytes, "drop" (in
the body's midst), seconds to wait, or None."""


class Proxy:
    """Stands before a registry; `sent` holds the bytes of each upload's body, `asked` all requests."""

    def __init__(self, behind: str, tls: ssl.SSLContext | None = None) -> None:
        self.behind = behind
        self.order: Order = lambda method, path: None
        self.asked: list[tuple[str, str]] = []
        self.sent = 0
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (ConnectionError, ssl.SSLError):
                    self.close_connection = True

            def answer(self) -> None:
                proxy.handle(self)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def forget(self) -> None:
        self.asked, self.sent = [], 0

    def uploads(self) -> int:
        """How many uploads of blobs were finished."""
        return sum(method == "PUT" and "/blobs/" in path for method, path in self.asked)

    def handle(self, asked: BaseHTTPRequestHandler) -> None:
        with self._lock:
            self.asked.append((asked.command, asked.path))
            order = self.order(asked.command, asked.path)
        if isinstance(order, float):
            time.sleep(order)
        if order == "drop":
            asked.rfile.read(1000)
            asked.close_connection = True
            asked.connection.close()
            return
        body = b"".join(self._body(asked))
        if asked.command in ("PATCH", "PUT") and "/blobs/" in asked.path:
            with self._lock:
                self.sent += len(body)
        if isinstance(order, bytes):
            self._reply(asked, 200, {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}, order)
            return
        order, more = order if isinstance(order, tuple) else (order, {})
        if isinstance(order, int):
            code = {401: "UNAUTHORIZED", 403: "DENIED", 404: "NAME_UNKNOWN"}.get(order, "UNKNOWN")
            told = f'{{"errors":[{{"code":"{code}","message":"to order"}}]}}'
            self._reply(asked, order, more, told.encode())
            return
        upstream = http.client.HTTPConnection(self.behind, timeout=60)
        # podman has a line for each kind that it accepts.
        names = [name for name in asked.headers if name.lower() not in _HOPS]
        headers = {name: ", ".join(asked.headers.get_all(name, ())) for name in names}
        upstream.request(asked.command, asked.path, body or None, {**headers, "Content-Length": str(len(body))})
        got = upstream.getresponse()
        text = got.read()
        found = {name: value for name, value in got.getheaders() if name.lower() not in _HOPS}
        if "Location" in found:
            found["Location"] = re.sub(r"https?://[^/]+", "", found["Location"])
        self._reply(asked, got.status, found, text)

    def _body(self, asked: BaseHTTPRequestHandler) -> "list[bytes]":
        if asked.headers.get("Transfer-Encoding") != "chunked":
            return [asked.rfile.read(int(asked.headers.get("Content-Length") or 0))]
        chunks = []
        while size := int(asked.rfile.readline().split(b";")[0], 16):
            chunks.append(asked.rfile.read(size))
            asked.rfile.readline()
        asked.rfile.readline()
        return chunks

    def _reply(self, asked: BaseHTTPRequestHandler, status: int, headers: dict[str, str], text: bytes) -> None:
        asked.send_response(status)
        length = headers.pop("Content-Length", str(len(text)))
        for name, value in headers.items():
            asked.send_header(name, value)
        asked.send_header("Content-Length", length if asked.command == "HEAD" else str(len(text)))
        asked.end_headers()
        if asked.command != "HEAD":
            asked.wfile.write(text)


class Tokens(Proxy):
    """Wants a token, which it gives itself to whom `user` and `password` are, as ghcr.io, quay.io and Google's do.

    Who clears `alive` ends the time of the tokens; who sets `basic` has it take the login without a token.
    """

    def __init__(self, behind: str, user: str, password: str, *, basic: bool = False) -> None:
        super().__init__(behind)
        self.login, self.basic = _basic(user, password), basic
        self.alive: set[str] = set()
        self.numbers = itertools.count()
        self.tokens: list[str] = []
        """The address of each question for a token."""

    def handle(self, asked: BaseHTTPRequestHandler) -> None:
        given = asked.headers.get("Authorization", "")
        denied = b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'
        if asked.path.startswith("/token"):
            self.tokens.append(asked.path)
            token = f"token-{next(self.numbers)}"
            if given != self.login:
                self._reply(asked, 401, {}, denied)
                return
            self.alive.add(f"Bearer {token}")
            self._reply(asked, 200, {}, f'{{"token": "{token}"}}'.encode())
        elif given not in (self.alive if not self.basic else {self.login}):
            self._body(asked)
            challenge = (
                'Basic realm="test"' if self.basic else f'Bearer realm="http://{self.host}/token",service="test"'
            )
            self._reply(asked, 401, {"WWW-Authenticate": challenge}, denied)
        else:
            super().handle(asked)


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


_HOPS = {"connection", "transfer-encoding", "date", "server", "expect"}


def htpasswd(user: str, password: str) -> str:
    """A line for the registry: bcrypt, by libxcrypt, which Debian has."""
    import ctypes

    lib = ctypes.CDLL("libcrypt.so.1")
    lib.crypt.restype = ctypes.c_char_p
    lib.crypt_gensalt.restype = ctypes.c_char_p
    salt = lib.crypt_gensalt(b"$2b$", ctypes.c_ulong(5), os.urandom(16), 16)
    return f"{user}:{lib.crypt(password.encode(), salt).decode()}\n"


class Tunnel:
    """A proxy that leads every host to one address, and notes the hosts."""

    def __init__(self, to: str) -> None:
        self.hosts: list[str] = []
        tunnel, (host, _, port) = self, to.partition(":")

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_CONNECT(self) -> None:
                tunnel.hosts.append(self.path)
                with socket.create_connection((host, int(port))) as far:
                    self.send_response(200)
                    self.end_headers()
                    back = threading.Thread(target=_pump, args=(far, self.connection), daemon=True)
                    back.start()
                    _pump(self.connection, far)
                    back.join()
                self.close_connection = True

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def _pump(source: socket.socket, to: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            to.sendall(data)
        to.shutdown(socket.SHUT_WR)
    except OSError:
        pass
