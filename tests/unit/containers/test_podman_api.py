"""The connection to podman's API service; a small HTTP server plays the service."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocicaliban.containers import cgroups, podman, podman_api
from ocicaliban.containers.podman_api import PodmanApi, PodmanApiError, connected
from ocicaliban.errors import OcicalibanError

SERVICE = """\
import http.server, json, os, signal, socketserver, sys, threading

class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if "/events" in self.path:
            threading.Event().wait()
        elif "/images/" in self.path:
            self.answer(204 if "/1d/" in self.path else 404)
        elif self.path.endswith("/info"):
            host = {"cgroupVersion": "v2", "cgroupControllers": ["cpu"], "pid": os.getpid()}
            self.answer(200, json.dumps({"host": host}).encode())
        else:
            self.answer(404, b'{"message": "no such container"}')

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.answer(201, json.dumps({"path": self.path, "body": self.rfile.read(length).decode()}).encode())

    def do_DELETE(self):
        self.answer(500, b"not JSON at all")

    def address_string(self):
        return ""

    def log_message(self, *args):
        pass

Server(sys.argv[1], Handler).serve_forever()
"""


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runtime folder with a short path, as sockets need; private services are played as well."""
    with tempfile.TemporaryDirectory(prefix="oc-") as name:
        monkeypatch.setenv("XDG_RUNTIME_DIR", name)
        monkeypatch.setattr(cgroups, "hybrid", lambda: False)
        monkeypatch.setattr(podman, "api_service_argv", lambda socket, idle: _argv(socket))
        yield Path(name)


def _argv(socket: Path) -> tuple[str, ...]:
    return sys.executable, "-c", SERVICE, str(socket)


@pytest.fixture
def users(runtime: Path) -> Iterator[Path]:
    """The user's own service."""
    socket = runtime / "podman" / "podman.sock"
    socket.parent.mkdir()
    with subprocess.Popen(_argv(socket)) as service:
        while not (socket.exists() and podman_api._accepts_connections(socket)):
            time.sleep(0.01)
        yield socket
        service.kill()


def _pid(api: PodmanApi) -> int:
    return int(api.call("get", "/info")["host"]["pid"])


def test_the_users_service_is_used_if_it_has_the_image(users: Path) -> None:
    with connected("1d") as api:
        assert api._private is None and api.controllers() == ("cpu",)
    with connected("2e") as api:
        assert api._private is not None


def test_a_private_service_lives_as_long_as_the_connection(runtime: Path) -> None:
    with connected("1d") as api:
        pid = _pid(api)
        assert [path.name.startswith("ocicaliban-podman-") for path in runtime.iterdir()] == [True]
    assert not list(runtime.iterdir())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_requests_and_answers(runtime: Path) -> None:
    with connected() as api:
        made = api.call("post", "/containers/create", body={"image": "1d"}, name="n")
        assert made["path"].endswith("/libpod/containers/create?name=n") and made["body"] == '{"image": "1d"}'
        with pytest.raises(PodmanApiError, match="podman: no such container") as refused:
            api.call("get", "/containers/n/json")
        assert (refused.value.status, refused.value.words) == (404, "no such container")
        with pytest.raises(PodmanApiError, match="podman: not JSON at all"):
            api.call("delete", "/containers/n")


def _kill(api: PodmanApi) -> int:
    """Kill the service, and wait until it is gone; its process id."""
    pid = _pid(api)
    os.kill(pid, signal.SIGKILL)
    while podman_api._accepts_connections(api._path):
        time.sleep(0.01)
    return pid


def test_a_service_that_ends_is_started_once_more(runtime: Path) -> None:
    with connected() as api:
        assert _kill(api) != _pid(api)
        _kill(api)
        api._closed = True
        with pytest.raises(OcicalibanError, match="does not answer"):
            api.call("get", "/info")


def test_a_service_that_is_killed_while_it_starts_is_started_again(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = tmp_path / "tries"
    script = f'echo x >> {tries}; case $(wc -l < {tries}) in 1|3) kill -9 $$;; esac; exec "$@"'
    monkeypatch.setattr(podman, "api_service_argv", lambda socket, idle: ("sh", "-c", script, "_", *_argv(socket)))
    with connected() as api:
        assert _kill(api) != _pid(api)
    assert tries.read_text() == "x\n" * 4


def test_a_service_that_does_not_start_is_told_in_its_words(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ("sh", "-c", "echo no user namespace >&2; exit 1")
    monkeypatch.setattr(podman, "api_service_argv", lambda socket, idle: argv)
    with pytest.raises(OcicalibanError, match="does not start: no user namespace"), connected():
        pass
    assert not list(runtime.iterdir())


def test_what_a_killed_command_left_is_removed(runtime: Path) -> None:
    left = runtime / "ocicaliban-podman-left"
    left.mkdir()
    (left / "owner").touch()
    with connected():
        assert not left.exists()
