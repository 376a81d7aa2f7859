"""Requests to a registry: what is retried, how long is waited, and what becomes of no answer."""

import ssl
from collections.abc import Callable
from types import SimpleNamespace
from unittest import mock

import pytest
import requests
import tenacity

from ocicaliban.errors import OcicalibanError
from ocicaliban.registry import tls, transport
from ocicaliban.registry.failures import RetryableError
from ocicaliban.registry.transport import Transport
from ocicaliban.reporter import SILENT, Reporter
from tests.unit.registry.registry_stub import HERE, Answer, StubRegistry, answer

URL = f"https://{HERE.host}/v2/"


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of each wait between two attempts; none is really waited for."""
    seconds: list[float] = []
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=seconds.append))
    return seconds


@pytest.fixture
def connect() -> Callable[..., tuple[Transport, StubRegistry]]:
    def make(*answers: Answer, reporter: Reporter = SILENT) -> tuple[Transport, StubRegistry]:
        stub = StubRegistry()
        with mock.patch.object(tls, "context", return_value=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)):
            made = Transport(HERE, verify=True, reporter=reporter)
        stub.answers["GET"] = list(answers)
        made._session.mount("https://", stub)
        return made, stub

    return make


Connect = Callable[..., tuple[Transport, StubRegistry]]


@pytest.mark.parametrize(
    "failure", [answer(503), answer(429), requests.ConnectionError("Connection aborted")], ids=["503", "429", "drop"]
)
def test_what_may_succeed_later_is_retried_and_told(failure: Answer, connect: Connect, waits: list[float]) -> None:
    lines: list[str] = []
    at, stub = connect(failure, failure, answer(200), reporter=Reporter(lines.append))
    assert at.send("GET", URL).status_code == 200
    assert len(stub.requests) == 3 and len(waits) == 2 and max(waits) < 10
    assert all(line.startswith(HERE.host) and "; retrying" in line for line in lines) and len(lines) == 2


def test_a_registry_that_says_how_long_to_wait_is_asked_then(connect: Connect, waits: list[float]) -> None:
    at, _ = connect(answer(429, Retry_After="7"), answer(200))
    at.send("GET", URL)
    assert waits == [7]


def test_retries_end_sooner_before_the_first_good_answer_than_after(connect: Connect) -> None:
    at, stub = connect(answer(503))
    with pytest.raises(RetryableError, match="answers 503"):
        at.send("GET", URL)
    assert len(stub.requests) == 5 and set(stub.timeouts) == {(5.0, 10.0)}
    at.be_patient()
    with pytest.raises(RetryableError):
        at.send("GET", URL)
    assert len(stub.requests) == 5 + 8 and stub.timeouts[-1] == (5.0, 30.0)


@pytest.mark.parametrize("status", [200, 202, 400, 401, 403, 404, 405])
def test_other_answers_are_returned(status: int, connect: Connect) -> None:
    at, stub = connect(answer(status))
    assert at.send("GET", URL).status_code == status and len(stub.requests) == 1


@pytest.mark.parametrize(
    ("failure", "words", "hint"),
    [
        (requests.exceptions.SSLError("CERTIFICATE_VERIFY_FAILED] certificate verify failed: expired (_ssl.c:1)"),
         "is not trusted: expired", "certs.d/reg.example:5000/ca.crt"),
        (requests.exceptions.SSLError("WRONG_VERSION_NUMBER"), "does not speak TLS", "--tls-verify=false"),
        (requests.exceptions.ProxyError("x"), "through the proxy", "HTTPS_PROXY"),
        (requests.ConnectionError("[Errno 111] Connection refused"), "connection refused", "port"),
        (requests.exceptions.ConnectTimeout("x"), "no answer", "port"),
        (requests.exceptions.ReadTimeout("x"), "does not answer", "healthy"),
        (requests.ConnectionError("NameResolutionError"), "there is no host reg.example", "name"),
    ],
)  # fmt: skip
def test_no_answer_is_told_with_a_hint_and_not_retried_at_first(
    failure: requests.RequestException, words: str, hint: str, connect: Connect
) -> None:
    at, stub = connect(failure)
    with pytest.raises(OcicalibanError, match=words) as caught:
        at.send("GET", URL)
    assert hint in caught.value.hint and len(stub.requests) == 1


def test_a_registry_that_is_restarted_is_waited_for_once_it_has_answered(connect: Connect) -> None:
    at, stub = connect(*[requests.ConnectionError("Connection refused")] * 5, answer(200))
    at.be_patient()
    assert at.send("GET", URL).status_code == 200 and len(stub.requests) == 6


def test_plain_http_is_another_address(connect: Connect) -> None:
    at, _ = connect(answer(200))
    assert at.base_url == f"https://{HERE.host}"
    at.use_plain_http()
    assert at.base_url == f"http://{HERE.host}"


@pytest.mark.parametrize(("header", "seconds"), [("7", 7), ("", 0), ("soon", 0), ("99999", 120)])
def test_the_time_that_a_registry_asks_for_is_read(header: str, seconds: float) -> None:
    assert transport._retry_after(header) == seconds
