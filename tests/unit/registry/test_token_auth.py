"""Authentication at a registry: tokens, passwords, and what is asked again when they expire."""

import base64
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from attrs import evolve

from ocicaliban.errors import OcicalibanError
from ocicaliban.registry import token_auth
from ocicaliban.registry.failures import LoginError
from ocicaliban.registry.reference import Repository
from tests.unit.registry.registry_stub import HERE, LOGIN, Answer, StubRegistry, answer

BASIC = "Basic " + base64.b64encode(b"me:hush").decode()
BLOB = f"sha256:{'0' * 64}"


class TokenRegistry(StubRegistry):
    """Gives tokens token0, token1, ... to LOGIN, and wants the last one; `readable` are scopes that it grants."""

    def __init__(self, password: str = BASIC) -> None:
        super().__init__()
        self.password = password
        self.current = ""
        self.refused_scope = "none"
        self.answers = {"GET https://auth.example/token": self.token, "POST https://auth.example/token": self.token,
                        "": self.api}  # fmt: skip

    def token(self, request: requests.PreparedRequest) -> Answer:
        refresh = b"refresh_token=hush" in str(request.body).encode()
        if not refresh and request.headers.get("Authorization") != self.password:
            return answer(401)
        if self.refused_scope in str(request.url):
            return answer(403)
        self.current = f"token{len(self.tokens)}"
        return answer(200, f'{{"token": "{self.current}"}}'.encode())

    def api(self, request: requests.PreparedRequest) -> Answer:
        if not self.current or request.headers.get("Authorization") != f"Bearer {self.current}":
            return answer(401, WWW_Authenticate='Bearer realm="https://auth.example/token",service="reg"')
        return answer(201 if "mount=" in str(request.url) else 200)

    @property
    def tokens(self) -> list[requests.PreparedRequest]:
        return [each for each in self.requests if "auth.example" in str(each.url)]


def test_a_token_is_asked_for_with_the_right_to_push() -> None:
    registry = TokenRegistry()
    assert registry.client(LOGIN).has_blob(BLOB)
    asked = parse_qs(urlsplit(str(registry.tokens[0].url)).query)
    assert asked == {"scope": ["repository:team/digits:pull,push"], "service": ["reg"]}


def test_a_refresh_token_is_exchanged_for_an_access_token() -> None:
    registry = TokenRegistry(password="none")
    assert registry.client(evolve(LOGIN, user="", is_refresh_token=True)).has_blob(BLOB)
    asked = parse_qs(str(registry.tokens[0].body))
    assert asked["grant_type"] == ["refresh_token"] and asked["scope"] == ["repository:team/digits:pull,push"]
    assert registry.tokens[0].method == "POST"


def test_a_token_that_has_expired_is_renewed_once_for_all_threads() -> None:
    registry = TokenRegistry()
    at = registry.client(LOGIN)
    assert at.has_blob(BLOB)
    registry.current = "expired"
    before = len(registry.tokens)
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(at.has_blob, [BLOB] * 20))
    assert len(registry.tokens) == before + 1


def test_a_login_that_was_good_is_looked_up_again_when_it_is_refused() -> None:
    registry = TokenRegistry()
    logins = [LOGIN, evolve(LOGIN, secret="new"), evolve(LOGIN, secret="wrong")]
    at = registry.client(lambda: logins.pop(0))
    assert at.has_blob(BLOB)
    registry.current, registry.password = "", "Basic " + base64.b64encode(b"me:new").decode()
    assert at.has_blob(BLOB) and len(logins) == 1
    registry.current, registry.password = "", "other"
    with pytest.raises(LoginError, match=r"refuses the login of 'me' from auth\.json"):
        at.has_blob(BLOB)


def test_a_first_login_that_is_refused_is_told_at_once() -> None:
    registry = TokenRegistry(password="other")
    with pytest.raises(LoginError) as caught:
        registry.client(LOGIN).has_blob(BLOB)
    assert "hush" not in caught.value.message and caught.value.hint == f"log in again: podman login {HERE.host}"


def test_no_login_where_one_is_required_is_told() -> None:
    with pytest.raises(LoginError, match="requires a login") as caught:
        TokenRegistry().client(None).has_blob(BLOB)
    assert caught.value.hint == f"podman login {HERE.host}"
    google = Repository(host="europe-docker.pkg.dev", path="p/r/n")
    with pytest.raises(LoginError) as caught:
        TokenRegistry().client(None, repository=google).has_blob(BLOB)
    assert "gcloud auth application-default login" in caught.value.hint


def test_a_mount_asks_for_the_right_to_read_the_source_too() -> None:
    registry = TokenRegistry()
    at = registry.client(LOGIN)
    assert at.has_blob(BLOB) and at.mount_blob(BLOB, "team/other")
    assert "repository%3Ateam%2Fother%3Apull" in str(registry.tokens[-1].url)
    count = len(registry.tokens)
    assert at.mount_blob(BLOB, "team/other") and len(registry.tokens) == count
    registry.refused_scope = "secret"
    assert at.mount_blob(BLOB, "team/secret")  # the registry decides by itself
    registry.refused_scope, registry.current = "none", ""
    assert at.has_blob(BLOB) and "secret" not in str(registry.tokens[-1].url)


def test_basic_is_used_where_it_is_asked_for() -> None:
    def api(request: requests.PreparedRequest) -> Answer:
        right = request.headers.get("Authorization") == BASIC
        return answer(200) if right else answer(401, WWW_Authenticate='Basic realm="x"')

    registry = StubRegistry()
    registry.answers[""] = api
    assert registry.client(LOGIN).has_blob(BLOB)
    with pytest.raises(LoginError, match="refuses the login"):
        registry.client(evolve(LOGIN, secret="wrong")).has_blob(BLOB)


@pytest.mark.parametrize(
    ("challenge", "token", "words"),
    [
        ("Negotiate", answer(200), "unknown kind of login"),
        ('Bearer service="x"', answer(200), "does not say where to get a token"),
        ('Bearer realm="file:///etc/passwd"', answer(200), "does not say where to get a token"),
        ('Bearer realm="https://auth.example/t"', answer(200, b"[]"), "auth.example answers 200 without a token"),
        ('Bearer realm="https://auth.example/t"', answer(404), "auth.example answers 404 without a token"),
    ],
)
def test_a_challenge_that_cannot_be_answered_is_told(challenge: str, token: Answer, words: str) -> None:
    registry = StubRegistry()
    registry.answers = {"GET https://auth.example": token, "": answer(401, WWW_Authenticate=challenge)}
    with pytest.raises(OcicalibanError, match=words):
        registry.client(LOGIN).has_blob(BLOB)


def test_the_login_goes_to_nobody_but_the_registry_and_its_token_service() -> None:
    registry = TokenRegistry()
    at = registry.client(LOGIN)
    assert at.has_blob(BLOB)
    assert at._authenticator.header("https://elsewhere.example/v2/") == {}
    assert at._authenticator.header(f"https://{HERE.host}.evil.example/v2/") == {}
    assert at._authenticator.header(f"https://{HERE.host}/v2/") == {"Authorization": "Bearer token1"}


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ('Basic realm="a, b"', [("basic", {"realm": "a, b"})]),
        ('Bearer realm="https://t/x",service="s",scope="a:b:pull,push"',
         [("bearer", {"realm": "https://t/x", "service": "s", "scope": "a:b:pull,push"})]),
        ('Bearer realm="https://t", Basic realm="x"', [("bearer", {"realm": "https://t"}), ("basic", {"realm": "x"})]),
        ("", []),
    ],
)  # fmt: skip
def test_challenges_are_read(header: str, found: list[tuple[str, dict[str, str]]]) -> None:
    assert list(token_auth._challenges(header)) == found
