"""Talk to podman's API service, the user's own or a private one; the only module that imports podman-py."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ocicaliban.containers import cgroups, podman
from ocicaliban.errors import OcicalibanError
from ocicaliban.system.background import BackgroundProcess

if TYPE_CHECKING:
    from podman import PodmanClient

_PREFIX = "ocicaliban-podman-"
_TIMEOUT = 30.0
"""Seconds to wait for a service to start, or to end."""
_TRIES = 20
"""How often a request is sent to a service that ends before it answers."""
_IDLE = 3
"""Seconds without a connection after which podman ends a service: this ends those that our `kill -9` leaves behind.

The service first finishes the requests it has received; only then it counts as idle (pkg/api/server/idle in podman).
"""

_NO_EVENTS = quote('{"type":["system"],"event":["renumber"]}')
"""A filter for events that never occur: reading them is a connection that stays open and keeps the service busy."""


class PodmanApiError(OcicalibanError):
    """The service refused a request; `status` is the HTTP status, `words` is podman's message."""

    def __init__(self, message: str, hint: str = "", *, status: int, words: str) -> None:
        super().__init__(message, hint)
        self.status = status
        self.words = words


class NoAnswer(OcicalibanError):
    """The service ended before it answered, or does not run."""

    def __init__(self) -> None:
        super().__init__("podman's API service does not answer", "check that `podman info` works")


@contextlib.contextmanager
def connected(image: str = "") -> Iterator[PodmanApi]:
    """Connect to podman's API service while the context lasts.

    The user's own service is used if it has `image` (an id): a service may use another image store. Otherwise a
    private one is started, and stopped at the end. If we are killed, it ends by itself within seconds, and the next
    command waits for that: otherwise it could not find a container that the service is just starting. Containers
    continue without the service. Raises OcicalibanError if no service starts.
    """
    api = PodmanApi(image)
    try:
        yield api
    finally:
        api.close()


class PodmanApi:
    """A connection to podman's API service, for several threads; see `connected`."""

    def __init__(self, image: str = "") -> None:
        self._lock = threading.Lock()
        self._private: _PrivateService | None = None
        self._client: PodmanClient | None = None
        self._path = Path()
        self._closed = False
        _remove_leftovers(_socket_folder())
        users = _users_socket()
        if users is not None:
            self._path = users
            self._client = _client(users)
            try:
                if image and self._ask("get", f"/images/{image}/exists")[0] != 204:
                    self._drop()
            except OcicalibanError:
                self._drop()
        for _ in range(_TRIES - 1):
            if self._client is not None:
                return
            with contextlib.suppress(NoAnswer):
                self._start()
        if self._client is None:
            self._start()

    def call(self, method: str, path: str, *, body: object = None, **params: str) -> Any:
        """Send a request of podman's libpod API; return the decoded JSON, None for an answer without a body.

        If the service ends before it answers, it is started again and gets the request again. So the request must do
        no harm the second time; `call_once` is for the others. Raises PodmanApiError with podman's message, and
        NoAnswer if the service ends again and again.
        """
        for _ in range(_TRIES - 1):
            with contextlib.suppress(NoAnswer):
                return self._answer(method, path, body, params)
            with contextlib.suppress(NoAnswer):
                self._revive()
        return self._answer(method, path, body, params)

    def call_once(self, method: str, path: str, *, body: object = None, **params: str) -> Any:
        """Send a request as `call` does, but never twice.

        Raises NoAnswer if the service ended before it answered: then it may have done what it was asked for, or a part
        of it.
        """
        return self._answer(method, path, body, params)

    def controllers(self) -> tuple[str, ...]:
        """Return the cgroup controllers that can limit this user's containers; empty with cgroups v1."""
        host = self.call("get", "/info")["host"]
        return tuple(host.get("cgroupControllers") or ()) if host.get("cgroupVersion") == "v2" else ()

    def close(self) -> None:
        """Disconnect, and stop the service if it is private."""
        with self._lock:
            self._closed = True
            self._leave()

    def _answer(self, method: str, path: str, body: object, params: Mapping[str, str]) -> Any:
        status, text = self._ask(method, path, body, params)
        if status >= 400:
            words = _message(text)
            raise PodmanApiError(f"podman: {words}", status=status, words=words)
        return json.loads(text) if text.strip() else None

    def _ask(
        self, method: str, path: str, body: object = None, params: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        import requests  # podman-py itself reaches the socket with it

        client = self._client
        if client is None:
            raise NoAnswer
        api = client.api
        try:
            if method == "post":
                data = None if body is None else json.dumps(body)
                headers = {"Content-Type": "application/json"}
                answer = api.post(path, data=data, params=params, headers=headers)
            elif method == "delete":
                answer = api.delete(path, params=params)
            else:
                answer = api.get(path, params=params)
            return answer.status_code, answer.text
        except (requests.ConnectionError, OSError, _podman_error()) as exc:
            raise NoAnswer from exc

    def _revive(self) -> None:
        """Start a new service if the old one has ended; of several threads the first one does it."""
        with self._lock:
            if self._closed or _accepts_connections(self._path):
                return  # the service only closed an idle connection
            self._leave()
            self._start()

    def _start(self) -> None:
        self._private = _PrivateService()
        self._path = self._private.socket
        self._client = _client(self._path)

    def _leave(self) -> None:
        self._drop()
        if self._private is not None:
            self._private.stop()
            self._private = None

    def _drop(self) -> None:
        if self._client is not None:
            self._client.api.close()
            self._client = None


class _PrivateService:
    """A service of our own, on a socket in a folder that only this user can enter."""

    def __init__(self) -> None:
        self._folder, self._owner = _private_folder()
        self.socket = self._folder / "s"
        self._log = self._folder / "words"
        self._process = BackgroundProcess(podman.api_service_argv(self.socket, _IDLE), self._log, podman.UTF8)
        self._held: socket.socket | None = None
        try:
            self._held = _hold(self.socket, self._wait)
        except BaseException:
            self.stop()
            raise

    def _wait(self, since: float) -> None:
        if self._process.ended(0.005) or time.monotonic() > since + _TIMEOUT:
            words = self._log.read_text(errors="replace").strip()
            if not words:
                raise NoAnswer  # it was killed: one that cannot start says why
            raise OcicalibanError(f"podman's API service does not start: {words}", NoAnswer().hint)

    def stop(self) -> None:
        if self._held is not None:
            self._held.close()
        self._process.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._owner)


def _hold(path: Path, wait: Callable[[float], None]) -> socket.socket:
    """Open a connection that keeps the service busy; `wait` is called until the service accepts connections."""
    since = time.monotonic()
    while True:
        held = socket.socket(socket.AF_UNIX)
        try:
            held.connect(str(path))
        except OSError:
            held.close()
            wait(since)
            continue
        # The answer never ends, and is not read.
        request = f"GET /v4.0.0/libpod/events?stream=true&filters={_NO_EVENTS} HTTP/1.1\r\nHost: podman\r\n\r\n"
        held.sendall(request.encode())
        return held


def _users_socket() -> Path | None:
    """Return the socket of the user's own service if it runs; None on machines that need `cgroups.in_cgroup2`."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    path = Path(runtime) / "podman" / "podman.sock"
    if not runtime or cgroups.hybrid() or not _accepts_connections(path):
        return None
    return path


def _accepts_connections(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _socket_folder() -> Path:
    """Return the folder for our sockets; a socket's path may have 107 bytes."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return Path(runtime if os.path.isdir(runtime) and len(runtime) < 60 else "/tmp")


def _private_folder() -> tuple[Path, int]:
    """Make a folder that only this user can enter, and a file in it that stays locked while we live."""
    new = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=_socket_folder()))
    owner = os.open(new / "owner", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(owner, fcntl.LOCK_EX)
    place = new.with_name(new.name.removeprefix("."))  # from now on `_remove_leftovers` sees it
    new.rename(place)
    return place, owner


def _remove_leftovers(top: Path) -> None:
    """Wait until the services of killed commands end, and remove their folders."""
    for folder in top.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            owner = os.open(folder / "owner", os.O_RDWR)
            try:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                since = time.monotonic()
                while _accepts_connections(folder / "s") and time.monotonic() < since + _TIMEOUT:
                    time.sleep(0.05)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(owner)


def _client(path: Path) -> PodmanClient:
    from podman import PodmanClient  # slow to import

    return PodmanClient(base_url=f"http+unix://{path}", max_pool_size=32)


def _podman_error() -> type[Exception]:
    from podman.errors import PodmanError

    return PodmanError


def _message(text: str) -> str:
    """Return podman's message from the body of an answer that refuses."""
    try:
        body = json.loads(text)
        return str(body["message"])
    except (ValueError, KeyError, TypeError):
        return " ".join(text.split()) or "no reason given"
