"""podman's API service, the user's or a private one; the only module that imports podman-py."""

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

from ocicaliban.containers import podman
from ocicaliban.errors import OcicalibanError
from ocicaliban.system import process

if TYPE_CHECKING:
    from podman import PodmanClient

_PREFIX = "ocicaliban-podman-"
_PATIENCE = 30.0
_IDLE = 3
"""Seconds after which podman ends a service that nobody is connected to: what a `kill -9` of ours leaves.

It ends what it was asked to do before; only then it counts as idle (podman's pkg/api/server/idle).
"""

_HELD = quote('{"type":["system"],"event":["renumber"]}')
"""Events of which there are none: reading them is a connection that stays, and keeps the service from being idle."""


class ServiceError(OcicalibanError):
    """The service refused; `status` is HTTP's, `words` are podman's."""

    def __init__(self, message: str, hint: str = "", *, status: int, words: str) -> None:
        super().__init__(message, hint)
        self.status = status
        self.words = words


@contextlib.contextmanager
def connected(image: str = "") -> Iterator[Service]:
    """podman's service, as long as the context lasts.

    The user's own answers where there is one that has `image` (an id), since another may use another image store;
    else a private one is started, and stopped at the end. When we are killed it ends by itself within some seconds, and
    whoever comes next waits for that: what it may still be starting could not be found before.
    Containers live on without it. Raises OcicalibanError when none can be had.
    """
    service = Service(image)
    try:
        yield service
    finally:
        service.close()


class Service:
    """A connection to podman's service, for several threads; see `connected`."""

    def __init__(self, image: str = "") -> None:
        self._lock = threading.Lock()
        self._private: _Private | None = None
        self._client: PodmanClient | None = None
        self._closed = False
        _settle(_top())
        users = _users_socket()
        if users is not None:
            self._path = users
            self._client = _client(users)
            try:
                if image and self._ask("get", f"/images/{image}/exists")[0] != 204:
                    self._drop()
            except OcicalibanError:
                self._drop()
        if self._client is None:
            self._start()

    def call(self, method: str, path: str, *, body: object = None, **params: str) -> Any:
        """What podman's libpod API answers, from JSON; None for an answer without a body.

        The service is started once more where it is gone. Raises ServiceError in podman's words.
        """
        with contextlib.suppress(_Gone):
            return self._answer(method, path, body, params)
        self._revive()
        return self._answer(method, path, body, params)

    def controllers(self) -> tuple[str, ...]:
        """The cgroup controllers that limit containers of this user; none with cgroups v1."""
        host = self.call("get", "/info")["host"]
        return tuple(host.get("cgroupControllers") or ()) if host.get("cgroupVersion") == "v2" else ()

    def close(self) -> None:
        """Leave the service, and stop it if it is ours."""
        with self._lock:
            self._closed = True
            self._leave()

    def _answer(self, method: str, path: str, body: object, params: Mapping[str, str]) -> Any:
        status, text = self._ask(method, path, body, params)
        if status >= 400:
            words = _words(text)
            raise ServiceError(f"podman: {words}", status=status, words=words)
        return json.loads(text) if text.strip() else None

    def _ask(
        self, method: str, path: str, body: object = None, params: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        import requests  # podman-py's own way to the socket

        client = self._client
        if client is None:
            raise _Gone
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
            raise _Gone from exc

    def _revive(self) -> None:
        """Start a service in the place of one that is gone; the first of several threads does it."""
        with self._lock:
            if self._closed or _answers(self._path):
                return  # it only closed a connection that was idle
            self._leave()
            self._start()

    def _start(self) -> None:
        self._private = _Private()
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


class _Gone(OcicalibanError):
    """Nobody answers at the socket."""

    def __init__(self) -> None:
        super().__init__("podman's service does not answer", "does `podman info` work?")


class _Private:
    """A service of our own, on a socket in a folder that only we can enter."""

    def __init__(self) -> None:
        self._folder, self._owner = _folder()
        self.socket = self._folder / "s"
        argv = ("podman", "system", "service", f"--time={_IDLE}", f"unix://{self.socket}")
        self._words = self._folder / "words"
        self._process = process.Background(process.in_cgroup2(argv), self._words, podman.UTF8)
        try:
            self._held = _hold(self.socket, self._wait)
        except BaseException:
            self.stop()
            raise

    def _wait(self, since: float) -> None:
        if self._process.ended(0.005) or time.monotonic() > since + _PATIENCE:
            words = self._words.read_text(errors="replace").strip()
            raise OcicalibanError(f"podman's service does not start: {words or 'it says nothing'}", _Gone().hint)

    def stop(self) -> None:
        if hasattr(self, "_held"):
            self._held.close()
        self._process.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._owner)


def _hold(path: Path, wait: Callable[[float], None]) -> socket.socket:
    """A connection that stays open and so keeps the service; `wait` is called while there is none yet."""
    since = time.monotonic()
    while True:
        held = socket.socket(socket.AF_UNIX)
        try:
            held.connect(str(path))
        except OSError:
            held.close()
            wait(since)
            continue
        # Its answer has no end, and nobody reads it.
        held.sendall(f"GET /v4.0.0/libpod/events?stream=true&filters={_HELD} HTTP/1.1\r\nHost: podman\r\n\r\n".encode())
        return held


def _users_socket() -> Path | None:
    """The socket of the user's own service, where somebody listens; None on a machine that needs `proc.in_cgroup2`."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    path = Path(runtime) / "podman" / "podman.sock"
    if not runtime or process.hybrid_cgroups() or not _answers(path):
        return None
    return path


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _top() -> Path:
    """The folder for our sockets, whose paths may have 107 bytes."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return Path(runtime if os.path.isdir(runtime) and len(runtime) < 60 else "/tmp")


def _folder() -> tuple[Path, int]:
    """A folder that only we can enter, and a file in it that is locked as long as we live."""
    new = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=_top()))
    owner = os.open(new / "owner", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(owner, fcntl.LOCK_EX)
    place = new.with_name(new.name.removeprefix("."))  # from now on `_settle` sees it
    new.rename(place)
    return place, owner


def _settle(top: Path) -> None:
    """Wait for the services of those of us who were killed to end, and remove their folders."""
    for folder in top.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            owner = os.open(folder / "owner", os.O_RDWR)
            try:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                since = time.monotonic()
                while _answers(folder / "s") and time.monotonic() < since + _PATIENCE:
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


def _words(text: str) -> str:
    """podman's message in the body of an answer that refuses."""
    try:
        body = json.loads(text)
        return str(body["message"])
    except (ValueError, KeyError, TypeError):
        return " ".join(text.split()) or "no reason given"
