"""A registry that answers from a script, below `requests`: no socket, no waiting."""

import io
import ssl
from collections.abc import Callable
from typing import TypeVar
from unittest import mock

import requests
from requests.adapters import BaseAdapter

from ocicaliban.registry import tls
from ocicaliban.registry.auth import Login
from ocicaliban.registry.client import RegistryClient
from ocicaliban.registry.reference import Repository
from ocicaliban.reporter import SILENT, Reporter

HERE = Repository(host="reg.example:5000", path="team/digits")
LOGIN = Login(user="me", secret="hush", source="auth.json")

C = TypeVar("C", bound=RegistryClient)
Answer = tuple[int, dict[str, str], bytes] | requests.RequestException


def answer(status: int = 200, body: bytes = b"", **headers: str) -> Answer:
    """Return an answer; a header's name is written with _ for -."""
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, body


class StubRegistry(BaseAdapter):
    """Answers each request by the first of `answers` whose "METHOD path" begins it; a list is used up one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, Answer | list[Answer] | Callable[[requests.PreparedRequest], Answer]] = {}
        self.requests: list[requests.PreparedRequest] = []
        self.timeouts: list[object] = []

    def send(self, request: requests.PreparedRequest, *_: object, **options: object) -> requests.Response:
        self.requests.append(request)
        self.timeouts.append(options.get("timeout"))
        asked = f"{request.method} {request.url}"
        found = next((each for start, each in self.answers.items() if asked.startswith(start)), answer(404))
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        elif callable(found):
            found = found(request)
        if isinstance(found, requests.RequestException):
            raise found
        response = requests.Response()
        response.status_code, headers, body = found
        response.raw = io.BytesIO(body)
        response.headers.update(headers)
        response.reason = {401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 503: "Unavailable"}.get(
            found[0], ""
        )
        response.request, response.url = request, str(request.url)
        return response

    def close(self) -> None:
        pass

    @property
    def asked(self) -> list[str]:
        return [f"{each.method} {each.url}" for each in self.requests]

    def client(
        self,
        login: Login | Callable[[], Login | None] | None = None,
        *,
        repository: Repository = HERE,
        verify: bool = True,
        reporter: Reporter = SILENT,
    ) -> RegistryClient:
        """Return a client whose requests come here."""
        return self.client_of(RegistryClient, login, repository=repository, verify=verify, reporter=reporter)

    def client_of(
        self,
        kind: type[C],
        login: Login | Callable[[], Login | None] | None = None,
        *,
        repository: Repository = HERE,
        verify: bool = True,
        reporter: Reporter = SILENT,
    ) -> C:
        """Return a client of this kind whose requests come here."""
        find_login = login if callable(login) else lambda: login
        # To read the machine's certificates takes a while.
        with mock.patch.object(tls, "context", return_value=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)):
            made = kind(repository, find_login, verify=verify, reporter=reporter)
        for scheme in ("https://", "http://"):
            made._transport._session.mount(scheme, self)
        return made
