"""The port of a notebook server."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from attrs import evolve

from ocicaliban.errors import UsageError
from ocicaliban.interactive import ports
from ocicaliban.interactive.notebook import NotebookServer, NotebookSettings, ServerEnded

SETTINGS = NotebookSettings(
    project="/somewhere/digits", port=8888, interface="lab", environment="key", version="", variant="cpu", extras=()
)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_taken_port_is_passed_over_or_an_error_when_it_is_given(taken: int) -> None:
    assert ports.free_port(first=taken) > taken
    with pytest.raises(UsageError, match=f"the port {taken} is taken"):
        ports.free_port(taken)


def test_a_port_that_another_was_quicker_to_take_is_followed_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    quicker: list[socket.socket] = []

    def start(port: int) -> NotebookServer:
        tried.append(port)
        if len(tried) == 1:
            quicker.append(socket.create_server(("127.0.0.1", port)))
            raise ServerEnded("address in use")
        return NotebookServer(container="a", settings=evolve(SETTINGS, port=port), token="")

    server = ports.start_on_free_port(0, start)
    quicker[0].close()
    assert server.settings.port == tried[1] > tried[0]


def test_a_server_that_ends_though_its_port_is_free_is_not_tried_again() -> None:
    def start(port: int) -> NotebookServer:
        raise ServerEnded("no jupyter-lab")

    with pytest.raises(ServerEnded, match="no jupyter-lab"):
        ports.start_on_free_port(0, start)
