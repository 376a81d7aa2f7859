"""Notebook servers from their start to their end; podman and the server itself are played by the test."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from ocicaliban.containers import cgroups
from ocicaliban.errors import OcicalibanError, ToolError
from ocicaliban.interactive import notebook_server
from ocicaliban.interactive.notebook import NotebookServer, NotebookSettings, ServerEnded
from ocicaliban.system import background, process

SETTINGS = NotebookSettings(
    project="/somewhere/digits", port=1, interface="lab", environment="key", version="", variant="cpu", extras=()
)
ARGV = ("podman", "run", "--detach", "image")


class Podman:
    """Knows one container; `exit_code` is "" while it runs. `ends` tells what a wait for its end finds."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.token = ""
        self.exit_code = ""
        self.logs = "no such option"
        self.fails = False
        self.described: list[object] = []
        self.ends: Callable[[float | None], bool] = lambda _: False

    def run(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, **_: object) -> str:
        self.calls.append(tuple(argv))
        if "run" in argv:
            self.token = (env or {})["JUPYTER_TOKEN"]
            if self.fails:
                raise ToolError("the notebook's container cannot be started", stderr="no space")
        return "1d\n" if "ps" in argv and self.described else ""

    def output(self, argv: Sequence[str], **_: object) -> str:
        self.calls.append(tuple(argv))
        if "inspect" in argv:
            return json.dumps(self.described) if self.described else self.exit_code
        return self.logs if "logs" in argv else "started\n"

    @contextlib.contextmanager
    def waiting(self, argv: Sequence[str]) -> Iterator[Callable[[float | None], bool]]:
        yield self.ends

    @property
    def removed(self) -> list[str]:
        return [argv[-1] for argv in self.calls if argv[1] == "rm"]


@pytest.fixture
def podman(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Podman:
    made = Podman()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(process, "run", made.run)
    monkeypatch.setattr(process, "output", made.output)
    monkeypatch.setattr(background, "waiting", made.waiting)
    monkeypatch.setattr(cgroups, "in_cgroup2", lambda argv: argv)
    return made


@pytest.fixture
def jupyter(podman: Podman) -> Iterator[NotebookSettings]:
    """A server that answers those who know the token that podman was given."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            right = self.path == "/api/status" and self.headers["Authorization"] == f"token {podman.token}"
            self.send_response(200 if right else 403)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield evolve(SETTINGS, port=server.server_address[1])
    server.shutdown()
    server.server_close()


def test_a_server_is_started_with_a_token_and_a_label_and_answers(podman: Podman, jupyter: NotebookSettings) -> None:
    server = notebook_server.start(ARGV, "c", jupyter)
    assert server == NotebookServer(container="c", settings=jupyter, token=podman.token) and len(podman.token) == 48
    [argv] = podman.calls
    assert argv[2] == "--label" and argv[3].startswith("ocicaliban.start=") and podman.token not in " ".join(argv)
    assert not podman.removed


def test_a_server_that_ends_before_it_answers_is_told_with_its_output_and_removed(podman: Podman) -> None:
    podman.ends, podman.exit_code = lambda _: True, "1\n"
    with pytest.raises(ServerEnded, match="ended with exit code 1\nno such option") as caught:
        notebook_server.start(ARGV, "c", SETTINGS)
    assert "--bare" in caught.value.hint and podman.removed == ["started"]


def test_a_server_that_was_killed_may_lack_memory(podman: Podman) -> None:
    podman.ends, podman.exit_code = lambda _: True, "137"
    with pytest.raises(ServerEnded) as caught:
        notebook_server.start(ARGV, "c", SETTINGS)
    assert "memory" in caught.value.hint


def test_a_container_that_cannot_be_started_leaves_nothing(podman: Podman) -> None:
    podman.fails = True
    with pytest.raises(ToolError):
        notebook_server.start(ARGV, "c", SETTINGS)
    assert podman.removed == ["started"]  # by its label, not by a name that another may have


def test_a_server_that_does_not_answer_is_told(podman: Podman, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook_server, "_START_TIMEOUT", 0.1)
    with pytest.raises(OcicalibanError, match=r"does not answer after 0\.1 seconds\nno such option"):
        notebook_server.start(ARGV, "c", SETTINGS)
    assert podman.removed == ["started"]


SERVER = NotebookServer(container="c", settings=SETTINGS, token="s3cret")


@pytest.mark.parametrize("code", ["0", ""])
def test_a_server_that_ends_well_or_was_removed_is_no_error(code: str, podman: Podman) -> None:
    podman.exit_code = code
    notebook_server.wait_for_end(SERVER)


def test_a_server_that_ends_with_an_error_is_told(podman: Podman) -> None:
    podman.exit_code = "3"
    with pytest.raises(ServerEnded, match="exit code 3"):
        notebook_server.wait_for_end(SERVER)


def test_the_page_for_the_browser_is_for_the_user_alone_and_goes_with_the_server(podman: Podman) -> None:
    page = notebook_server.write_redirect_page(SERVER)
    assert SERVER.url in page.read_text() and page.stat().st_mode & 0o777 == 0o600
    notebook_server.stop(SERVER)
    assert not page.exists() and podman.removed == ["c"]
    notebook_server.stop(SERVER)


def test_servers_are_found_by_their_label_in_the_order_of_their_names(podman: Podman) -> None:
    assert notebook_server.find_servers() == ()
    podman.described = [
        {
            "Name": name,
            "Config": {
                "Labels": {"ocicaliban.notebook": evolve(SETTINGS, port=port).to_label()},
                "Env": ["A=b=c", *(["JUPYTER_TOKEN=t"] if port == 2 else [])],
            },
            "State": {"Status": "running"},
        }
        for name, port in (("b", 3), ("a", 2))
    ]
    wrong: tuple[Any, ...] = ("", "[]", "{}", {"port": "x"}, {"project": 1})
    for each in wrong:
        label = each if isinstance(each, str) else evolve(SETTINGS, **each).to_label()
        container = {"Name": "c", "Config": {"Labels": {"ocicaliban.notebook": label}, "Env": []}}
        podman.described.append({**container, "State": {"Status": "running"}})
    found = notebook_server.find_servers()
    assert [(each.container, each.name, each.token) for each in found] == [
        ("a", "digits-2", "t"),
        ("b", "digits-3", ""),
    ]
