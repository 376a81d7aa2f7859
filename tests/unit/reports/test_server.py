"""The server of a report's page."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator

import pytest

from ocicaliban.reports import server as servers
from ocicaliban.reports.server import ReportServer


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[ReportServer]:
    monkeypatch.setattr(servers, "_FRESH", 1e9)
    made = iter(("one", "two"))
    with ReportServer(0, "secret", lambda: "<p>page", lambda: next(made)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _ask(server: ReportServer, path: str, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(servers.HOST, server.server_port, timeout=30)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_who_has_the_token_gets_the_page_and_its_data(served: ReportServer) -> None:
    assert served.url.startswith("http://127.0.0.1:") and served.url.endswith("/?token=secret")
    assert _ask(served, "/?token=secret") == (200, "<p>page")
    assert [_ask(served, "/data?token=secret") for _ in range(2)] == [(200, "one")] * 2, "made once within moments"
    assert _ask(served, "/other?token=secret")[0] == 404


@pytest.mark.parametrize("path", ["/", "/?token=", "/data?token=secre", "/data?token=%C3%A4", "/other"])
def test_nobody_else_gets_anything(served: ReportServer, path: str) -> None:
    status, text = _ask(served, path)
    assert status == 403 and "page" not in text and "one" not in text


def test_a_page_of_another_name_that_leads_here_gets_nothing(served: ReportServer) -> None:
    assert _ask(served, "/?token=secret", Host="evil.example:80")[0] == 403
    assert _ask(served, "/?token=secret", Host=f"localhost:{served.server_port}")[0] == 200
