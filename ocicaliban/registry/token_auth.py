"""Authenticate at a registry: answer its challenges with a token or a password.

Tokens follow distribution's "Token Authentication Specification".
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping

import requests
from requests.auth import _basic_auth_str

from ocicaliban.errors import OcicalibanError
from ocicaliban.registry import failures
from ocicaliban.registry.auth import Login
from ocicaliban.registry.failures import LoginError
from ocicaliban.registry.transport import Transport


class Authenticator:
    """Holds our login at one registry and the `Authorization` header that follows from it; for several threads.

    `find_login` is called again if a login that was good is refused: an access token may expire before a build ends.
    `actions` are what we want to do in the repository, as the token specification names them.
    """

    def __init__(self, transport: Transport, find_login: Callable[[], Login | None], actions: str) -> None:
        self.login = find_login()
        self._transport = transport
        self._repository = transport.repository
        self._find_login = find_login
        self._authorization = ""
        self._challenges: Mapping[str, Mapping[str, str]] = {}
        self._scopes = [f"repository:{self._repository.path}:{actions}"]
        self._lock = threading.Lock()

    def header(self, url: str) -> dict[str, str]:
        """Return the header that authenticates a request to `url`; none if `url` is not the registry's."""
        ours = self._authorization and url.startswith(f"{self._transport.base_url}/")
        return {"Authorization": self._authorization} if ours else {}

    def authenticate(self, answer: requests.Response) -> None:
        """Log in as the challenge of an answer of 401 asks. Raises OcicalibanError if that is not possible."""
        with self._lock:
            before = self._authorization
            if answer.request.headers.get("Authorization", "") != before:
                return  # another thread has logged in meanwhile
            self._challenges = dict(_challenges(answer.headers.get("WWW-Authenticate", "")))
            try:
                self._authorization = self._respond()
            except LoginError:
                if not before:
                    raise
                self.login = self._find_login()
                self._authorization = self._respond()

    def add_readable(self, path: str) -> None:
        """Get a token that also lets us read the repository at `path`, if the registry uses tokens and permits it."""
        scope = f"repository:{path}:pull"
        with self._lock:
            if "bearer" not in self._challenges or scope in self._scopes:
                return
            self._scopes.append(scope)
            try:
                self._authorization = self._respond()
            except OcicalibanError:  # we may not read there, so no blob can be mounted from it
                self._scopes.remove(scope)

    def _respond(self) -> str:
        """Return the `Authorization` header that answers the registry's challenges."""
        if "bearer" in self._challenges:
            return f"Bearer {self._token(self._challenges['bearer'])}"
        if self.login is None:
            raise failures.login_missing(self._repository)
        if "basic" not in self._challenges:
            raise OcicalibanError(
                f"{self._repository.host} asks for an unknown kind of login", "check that it is a registry"
            )
        basic = _basic(self.login)
        answer = self._transport.send("GET", f"{self._transport.base_url}/v2/", {"Authorization": basic})
        if answer.status_code == 401:
            raise failures.login_refused(self._repository, self.login)
        return basic

    def _token(self, challenge: Mapping[str, str]) -> str:
        """Return a token from the service that the challenge names."""
        realm = challenge.get("realm", "")
        if not realm.startswith(("https://", "http://")):
            raise OcicalibanError(
                f"{self._repository.host} does not say where to get a token", "check that it is a registry"
            )
        query: dict[str, object] = {"scope": self._scopes}
        if "service" in challenge:
            query["service"] = challenge["service"]
        login = self.login
        if login and login.is_refresh_token:
            query |= {"scope": " ".join(self._scopes)}  # OAuth 2 joins several scopes by spaces
            query |= {"grant_type": "refresh_token", "refresh_token": login.secret, "client_id": "ocicaliban"}
            answer = self._transport.send("POST", realm, data=query)
        else:
            headers = {"Authorization": _basic(login)} if login else {}
            answer = self._transport.send("GET", realm, headers, params=query)
        if answer.status_code in (400, 401, 403):
            if login:
                raise failures.login_refused(self._repository, login)
            raise failures.login_missing(self._repository)
        held = failures.json_object(answer) if answer.status_code == 200 else {}
        token = held.get("token") or held.get("access_token")
        if not isinstance(token, str):
            raise OcicalibanError(
                f"{failures.host_of(realm)} answers {answer.status_code} without a token",
                "check that it is the token service of a registry",
            )
        return token


def _basic(login: Login) -> str:
    return str(_basic_auth_str(login.user.encode(), login.secret.encode()))


_SCHEME = re.compile(r"(?:^|,\s*)([A-Za-z]+)\s+(?=[A-Za-z]+=)")
_PARAMETER = re.compile(r'([A-Za-z_]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


def _challenges(header: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the challenges of a WWW-Authenticate header (RFC 9110, 11.6.1): scheme in lower case, and parameters."""
    starts = [*_SCHEME.finditer(header)]
    for number, start in enumerate(starts):
        end = starts[number + 1].start() if number + 1 < len(starts) else len(header)
        parameters = _PARAMETER.findall(header[start.end() : end])
        yield start[1].lower(), {name.lower(): quoted or plain for name, quoted, plain in parameters}
    if not starts and header.strip():
        yield header.split()[0].lower(), {}
