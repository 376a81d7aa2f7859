"""Logins: found where podman finds them, and Google's tokens made of a key file by a stand-in for its service."""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ocicaliban.errors import OcicalibanError
from ocicaliban.registry import auth as credentials
from ocicaliban.registry.reference import Repository
from ocicaliban.system import process

HERE = Repository(host="reg.example:5000", path="team/digits")
GOOGLE = Repository(host="europe-docker.pkg.dev", path="p/r/digits")


def auth(user: str, secret: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{secret}".encode()).decode()}


@pytest.fixture
def home(tmp_path: Path) -> Callable[..., dict[str, str]]:
    def make(**files: object) -> dict[str, str]:
        places = {"run": "run/containers", "config": ".config/containers", "docker": ".docker"}
        for name, held in files.items():
            folder = tmp_path / places[name]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / ("config.json" if name == "docker" else "auth.json")).write_text(json.dumps(held))
        return {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}

    return make


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def make(script: str) -> None:
        tool = tmp_path / "docker-credential-test"
        tool.write_text(f"#!/bin/sh\nread host\n{script}\n")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return make


def test_the_files_are_asked_in_podmans_order(home: Callable[..., dict[str, str]]) -> None:
    host = HERE.host
    assert credentials.find_login(HERE, environ=home()) is None
    for place in ("docker", "config", "run"):
        found = credentials.find_login(HERE, environ=home(**{place: {"auths": {host: auth("me", place)}}}))
        assert found and found.secret == place and not found.unknown_to_tools


def test_registry_auth_file_is_the_only_one(home: Callable[..., dict[str, str]], tmp_path: Path) -> None:
    environ = home(config={"auths": {HERE.host: auth("me", "x")}})
    assert credentials.find_login(HERE, environ=environ | {"REGISTRY_AUTH_FILE": str(tmp_path / "none")}) is None


def test_the_narrowest_namespace_counts(home: Callable[..., dict[str, str]]) -> None:
    auths = {HERE.host: auth("a", "1"), f"{HERE.host}/team": auth("b", "2"), f"{HERE.host}/team/other": auth("c", "3")}
    found = credentials.find_login(HERE, environ=home(config={"auths": auths}))
    assert found and found.user == "b"


def test_dockers_addresses_are_understood(home: Callable[..., dict[str, str]]) -> None:
    hub = Repository(host="docker.io", path="library/x")
    environ = home(docker={"auths": {"https://index.docker.io/v1/": auth("me", "1")}})
    assert credentials.find_login(hub, environ=environ) == credentials.Login(
        user="me", secret="1", source=environ["HOME"] + "/.docker/config.json"
    )


def test_a_refresh_token_is_told_apart(home: Callable[..., dict[str, str]]) -> None:
    found = credentials.find_login(
        HERE, environ=home(config={"auths": {HERE.host: auth("me", "") | {"identitytoken": "t"}}})
    )
    assert found and found.is_refresh_token and found.secret == "t"


@pytest.mark.parametrize("key", ["credHelpers", "credsStore"])
def test_a_helper_is_asked(key: str, home: Callable[..., dict[str, str]], helper: Callable[[str], None]) -> None:
    helper("""printf '{"ServerURL": "%s", "Username": "me", "Secret": "s"}' "$host" """)
    environ = home(docker={key: {HERE.host: "test"} if key == "credHelpers" else "test"})
    found = credentials.find_login(HERE, environ=environ)
    # podman knows no credsStore: what that has must be handed on.
    assert found and (found.user, found.secret, found.unknown_to_tools) == ("me", "s", key == "credsStore")


def test_a_helper_that_has_nothing_is_no_fault_and_a_broken_one_is(
    home: Callable[..., dict[str, str]], helper: Callable[[str], None]
) -> None:
    environ = home(docker={"credsStore": "test"})
    helper("echo credentials not found in native keychain; exit 1")
    assert credentials.find_login(HERE, environ=environ) is None
    helper("echo secret-word; exit 3")
    with pytest.raises(OcicalibanError) as caught:
        credentials.find_login(HERE, environ=environ)
    assert "secret-word" not in caught.value.message
    helper("echo no json")
    with pytest.raises(OcicalibanError, match="returned no login"):
        credentials.find_login(HERE, environ=environ)


@pytest.mark.parametrize("names", ['["test"]', '["test", "containers-auth.json"]', '["containers-auth.json", "test"]'])
def test_a_helper_of_registries_conf_is_asked_in_its_turn(
    names: str, home: Callable[..., dict[str, str]], helper: Callable[[str], None], tmp_path: Path
) -> None:
    helper("""printf '{"Username": "me", "Secret": "helped"}'""")
    (tmp_path / "registries.conf").write_text(f"credential-helpers = {names}")
    environ = home(config={"auths": {HERE.host: auth("me", "filed")}})
    found = credentials.find_login(
        HERE, environ=environ | {"CONTAINERS_REGISTRIES_CONF": str(tmp_path / "registries.conf")}
    )
    assert (
        found
        and found.secret == ("filed" if names.startswith('["containers') else "helped")
        and not found.unknown_to_tools
    )


@pytest.mark.parametrize("name", ["gcloud", "nothing", ["a"]])
def test_a_helper_that_is_not_there_is_told_with_who_names_it(
    name: object, home: Callable[..., dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    environ = home(docker={"credHelpers": {HERE.host: name}})
    with pytest.raises(OcicalibanError, match="names the credential helper") as caught:
        credentials.find_login(HERE, environ=environ)
    assert (
        "config.json" in caught.value.message
        and "remove it from the file" in caught.value.hint
        and "apt" not in caught.value.hint
    )


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"auths": []}',
        '{"auths": {"reg.example:5000": {"auth": "bWU="}}}',
        "{",
        '{"auths": {"reg.example:5000": {"auth": "%%%"}}}',
    ],
)
def test_a_broken_auth_file_is_told(text: str, tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    path.write_text(text)
    with pytest.raises(OcicalibanError, match=str(path)):
        credentials.find_login(HERE, environ={"REGISTRY_AUTH_FILE": str(path)})


def test_no_login_shows_its_secret() -> None:
    assert "hush" not in repr(credentials.Login(user="me", secret="hush", source="x"))


@pytest.mark.parametrize("identity", [False, True])
def test_a_tool_that_we_start_can_read_an_auth_file_that_lies_on_no_disk(identity: bool) -> None:
    login = credentials.Login(user="me", secret="s", source="", is_refresh_token=identity)
    with credentials.auth_file(login, HERE) as path:
        found = credentials.find_login(HERE, environ={"REGISTRY_AUTH_FILE": path})
        assert found and (found.user, found.secret, found.is_refresh_token) == ("me", "s", identity)
        assert HERE.host in process.run(("cat", path))
    assert not Path(path).exists()


# --- Google ---


@pytest.fixture(scope="module")
def private_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form, locked = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return bytes(key.private_bytes(serialization.Encoding.PEM, form, locked)).decode()


@pytest.fixture
def google(tmp_path: Path, private_key: str) -> Iterator[Callable[[int], str]]:
    """A stand-in for Google's token service: the path of a key file that leads there."""
    status = 200

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            held = {"access_token": "ya29.stand-in", "expires_in": 3600, "token_type": "Bearer"}
            text = json.dumps(held if status == 200 else {"error": "invalid_grant"}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def make(answer: int) -> str:
        nonlocal status
        status = answer
        path = tmp_path / "key.json"
        path.write_text(json.dumps({
            "type": "service_account", "client_email": "robot@p.iam.gserviceaccount.com", "private_key_id": "1",
            "private_key": private_key, "token_uri": f"http://127.0.0.1:{server.server_address[1]}/token",
        }))  # fmt: skip
        return str(path)

    yield make
    server.shutdown()
    server.server_close()


def test_a_service_accounts_key_gives_a_token(
    google: Callable[[int], str], home: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = google(200)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", key)
    for found in (
        credentials.find_login(GOOGLE, key_file=key, environ=home()),
        credentials.find_login(GOOGLE, environ=home()),
    ):
        assert found and (found.user, found.secret, found.unknown_to_tools) == (
            "oauth2accesstoken",
            "ya29.stand-in",
            True,
        )


def test_a_key_is_no_login_for_others(google: Callable[[int], str], home: Callable[..., dict[str, str]]) -> None:
    assert credentials.find_login(HERE, key_file=google(200), environ=home()) is None


def test_a_login_in_a_file_goes_before_googles_default(home: Callable[..., dict[str, str]]) -> None:
    found = credentials.find_login(GOOGLE, environ=home(config={"auths": {GOOGLE.host: auth("me", "1")}}))
    assert found and found.user == "me"


def test_a_key_that_google_refuses_or_that_is_none_is_told(
    google: Callable[[int], str], home: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    with pytest.raises(OcicalibanError, match="refuses a token") as caught:
        credentials.find_login(GOOGLE, key_file=google(400), environ=home())
    assert "PRIVATE" not in caught.value.message
    (tmp_path / "bad.json").write_text('{"type": "service_account", "private_key": "hush"}')
    with pytest.raises(OcicalibanError) as caught:
        credentials.find_login(GOOGLE, key_file=str(tmp_path / "bad.json"), environ=home())
    assert "hush" not in caught.value.message


def test_a_key_that_is_no_file_is_told_in_words(home: Callable[..., dict[str, str]], tmp_path: Path) -> None:
    with pytest.raises(OcicalibanError, match="holds no usable credentials: Is a directory"):
        credentials.find_login(GOOGLE, key_file=str(tmp_path), environ=home())


@pytest.mark.parametrize("text", ["[]", "{}", '"type"', "null", "{", "\xff"])
@pytest.mark.parametrize("place", ["key", "environment", "gcloud"])
def test_what_is_no_key_and_no_login_is_told_with_its_file(
    text: str, place: str, home: Callable[..., dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "application_default_credentials.json"
    file.write_text(text, encoding="latin-1")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    if place != "key":
        name, value = {
            "environment": ("GOOGLE_APPLICATION_CREDENTIALS", file),
            "gcloud": ("CLOUDSDK_CONFIG", tmp_path),
        }[place]
        monkeypatch.setenv(name, str(value))
    with pytest.raises(OcicalibanError, match=f"{file} holds no usable credentials: it is ") as caught:
        credentials.find_login(GOOGLE, key_file=str(file) if place == "key" else "", environ=home())
    assert ("gcloud auth" if place == "gcloud" else "download the key again") in caught.value.hint


def test_the_remedy_is_that_of_what_is_wrong(
    google: Callable[[int], str], home: Callable[..., dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)  # google-auth asks a service that is not well three times
    with pytest.raises(OcicalibanError, match="holds no usable credentials: No such file") as caught:
        credentials.find_login(GOOGLE, key_file=str(tmp_path / "gone.json"), environ=home())
    assert "an existing file" in caught.value.hint
    with pytest.raises(OcicalibanError, match="refuses a token") as caught:
        credentials.find_login(GOOGLE, key_file=google(400), environ=home())
    assert "if the key was deleted" in caught.value.hint and "gcloud" not in caught.value.hint
    with pytest.raises(OcicalibanError, match="refuses a token") as caught:
        credentials.find_login(GOOGLE, key_file=google(503), environ=home())
    assert "try again" in caught.value.hint
    key = Path(google(200))
    key.chmod(0)
    with pytest.raises(OcicalibanError, match="Permission denied") as caught:
        credentials.find_login(GOOGLE, key_file=str(key), environ=home())
    assert "chmod u+r" in caught.value.hint
