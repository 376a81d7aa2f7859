"""The distribution API: whether we may push, and which blobs and manifests a repository has."""

import hashlib
import json

import pytest
import requests

from ocicaliban.errors import OcicalibanError
from ocicaliban.registry import auth, client
from ocicaliban.registry.reference import Destination, Repository
from ocicaliban.reporter import SILENT
from tests.unit.registry.registry_stub import HERE, LOGIN, StubRegistry, answer

API = f"https://{HERE.host}/v2/"
HOME = f"{API}{HERE.path}/"
BLOB = f"sha256:{'0' * 64}"


@pytest.mark.parametrize("location", [f"{HOME}blobs/uploads/1?state=x", f"/v2/{HERE.path}/blobs/uploads/1?state=x"])
def test_a_check_starts_an_upload_and_cancels_it(location: str) -> None:
    stub = StubRegistry()
    stub.answers = {"POST": answer(202, Location=location), "": answer(200)}
    at = stub.client(LOGIN)
    at.check_push()
    assert stub.asked == [f"GET {API}", f"POST {HOME}blobs/uploads/", f"DELETE {HOME}blobs/uploads/1?state=x"]
    at.has_blob(BLOB)
    assert stub.timeouts[-1] == (5.0, 30.0)


def test_an_upload_that_cannot_be_cancelled_is_no_failure() -> None:
    stub = StubRegistry()
    stub.answers = {"POST": answer(202, Location="/v2/up"), "DELETE": answer(503), "": answer(200)}
    stub.client().check_push()
    stub.answers["POST"] = answer(202)
    stub.client().check_push()
    assert stub.asked.count(f"DELETE https://{HERE.host}/v2/up") == 1


@pytest.mark.parametrize(
    ("status", "words", "hint"),
    [
        (403, "no permission to push to reg.example:5000/team/digits as 'me'", "permission to write"),
        (404, "does not exist: over", "create it"),
        (405, "does not accept uploads", "mirror"),
        (400, "refuses the request: 400 : over", "administrator"),
    ],
)
def test_a_refusal_has_the_registrys_words_and_a_hint(status: int, words: str, hint: str) -> None:
    stub = StubRegistry()
    body = b'{"errors": [{"code": "X", "message": "over\\u001b[31m\\nmore"}]}'
    stub.answers = {"POST": answer(status, body), "": answer(200)}
    with pytest.raises(OcicalibanError, match=words) as caught:
        stub.client(LOGIN).check_push()
    assert hint in caught.value.hint and "\x1b" not in caught.value.message and "more" not in caught.value.message


def test_a_refusal_without_a_login_says_how_to_log_in() -> None:
    stub = StubRegistry()
    stub.answers[""] = answer(403)
    with pytest.raises(OcicalibanError, match=r"no permission to read from .* without a login") as caught:
        stub.client().has_blob(BLOB)
    assert caught.value.hint == f"podman login {HERE.host}"


def test_hints_for_googles_registry_name_its_commands_and_roles() -> None:
    google = Repository(host="europe-docker.pkg.dev", path="project/research/digits")
    stub = StubRegistry()
    stub.answers = {"POST": answer(404), "HEAD": answer(403), "": answer(200)}
    at = stub.client(LOGIN, repository=google)
    with pytest.raises(OcicalibanError) as caught:
        at.check_push()
    assert caught.value.hint == (
        "gcloud artifacts repositories create research --repository-format=docker --location=europe --project=project"
    )
    with pytest.raises(OcicalibanError) as caught:
        at.has_blob(BLOB)
    assert "roles/artifactregistry.reader" in caught.value.hint


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (answer(404), "is not a registry"),
        (answer(200, b"<p>", Content_Type="text/html"), "is not a registry"),
        (answer(418), "answers 418"),
        (answer(204), "answers 204"),
    ],
)
def test_what_is_not_a_registry_is_told(reply: tuple[int, dict[str, str], bytes], words: str) -> None:
    stub = StubRegistry()
    stub.answers[""] = reply
    with pytest.raises(OcicalibanError, match=words):
        stub.client().check_push()
    assert len(stub.requests) == 1


def test_plain_http_is_tried_only_if_tls_is_not_required() -> None:
    stub = StubRegistry()
    stub.answers = {
        "GET https": requests.exceptions.SSLError("WRONG_VERSION_NUMBER"),
        "HEAD": answer(200, Docker_Content_Digest=BLOB),
        "": answer(200),
    }
    with pytest.raises(OcicalibanError, match="does not speak TLS"):
        stub.client().resolve("latest")
    at = stub.client(verify=False)
    assert not at.verified and at.resolve("latest") == BLOB
    assert stub.asked[-1] == f"HEAD http://{HERE.host}/v2/{HERE.path}/manifests/latest"


def test_a_blob_is_present_or_not() -> None:
    stub = StubRegistry()
    stub.answers = {f"HEAD {HOME}blobs/{BLOB}": answer(200)}
    assert stub.client().has_blob(BLOB) and not stub.client().has_blob("sha256:1")


def test_a_mount_that_becomes_an_upload_is_cancelled() -> None:
    stub = StubRegistry()
    stub.answers = {"POST": [answer(201), answer(202, Location="/v2/up"), answer(404)], "": answer(200)}
    at = stub.client()
    assert [at.mount_blob(BLOB, "team/other") for _ in range(3)] == [True, False, False]
    assert f"POST {HOME}blobs/uploads/?mount={BLOB}&from=team/other" in stub.asked[0]
    assert [each for each in stub.asked if each.startswith("DELETE")] == [f"DELETE https://{HERE.host}/v2/up"]


def test_a_digest_is_computed_if_the_registry_does_not_name_it() -> None:
    stub = StubRegistry()
    stub.answers = {"HEAD": answer(200), "GET": answer(200, b"{}")}
    assert stub.client().manifest_digest("v1") == f"sha256:{hashlib.sha256(b'{}').hexdigest()}"
    stub.answers["GET"] = answer(404)
    assert stub.client().manifest_digest("v1") == ""


CONFIG = {"os": "linux", "architecture": "amd64", "config": {"Entrypoint": ["/go"]}}


def serve(stub: StubRegistry, name: str, value: object) -> None:
    stub.answers[f"GET {HOME}{name}"] = answer(200, json.dumps(value).encode())


def test_the_image_for_cloud_machines_is_taken_from_an_index() -> None:
    stub = StubRegistry()
    platforms = [{"os": "linux", "architecture": "arm64"}, {"os": "linux", "architecture": "amd64"}]
    index = {"manifests": ["x", *({"digest": f"sha256:{n}", "platform": each} for n, each in enumerate(platforms))]}
    manifest = {"config": {"digest": BLOB, "size": 9}}
    serve(stub, "manifests/v1", index)
    serve(stub, "manifests/sha256:1", manifest)
    serve(stub, f"blobs/{BLOB}", CONFIG)
    assert stub.client().image("v1") == (manifest, CONFIG)
    other = {"manifests": index["manifests"][:2]}
    serve(stub, "manifests/v1", other)
    assert stub.client().image("v1") == (other, {})


@pytest.mark.parametrize(
    "manifest", [[], {}, {"config": "x"}, {"config": {"size": "9"}}, {"config": {"digest": BLOB, "size": 9 << 20}}]
)
def test_an_image_that_is_malformed_or_too_large_is_empty(manifest: object) -> None:
    stub = StubRegistry()
    serve(stub, "manifests/v1", manifest)
    assert stub.client().image("v1") == ({}, {})


def test_a_client_is_made_for_a_destination(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[tuple[Repository, str]] = []
    monkeypatch.setattr(auth, "find_login", lambda repository, *, key_file: looked_up.append((repository, key_file)))
    made = client.client_for(Destination(repository=HERE, tls_verify=False, key_file="key.json"), "pull", SILENT)
    assert looked_up == [(HERE, "key.json")] and not made.verified and made.repository == HERE
