"""Artifacts in a registry with and without the referrers API, also when two write at once, and when it lies."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.containers import oci_layout
from ocicaliban.containers.oci_layout import Blob, digest_of
from ocicaliban.errors import OcicalibanError
from ocicaliban.registry.artifacts import ArtifactClient, is_own_tag
from tests.unit.registry.registry_stub import HERE, LOGIN, Answer, StubRegistry, answer

KIND = "application/vnd.example.v1"
IMAGE = f"sha256:{'a' * 64}"
INDEX_TAG = f"sha256-{'a' * 64}"


class Memory(StubRegistry):
    """A registry that keeps blobs and manifests; `api` says whether it has the referrers API."""

    def __init__(self, *, api: bool = False) -> None:
        super().__init__()
        self.api = api
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.before_put: Callable[[str], None] = lambda name: None
        self.answers = {"": self._answer}

    def _answer(self, request: requests.PreparedRequest) -> Answer:
        path = str(request.url).partition(f"/v2/{HERE.path}/")[2]
        kind, _, name = path.partition("/")
        if kind == "blobs":
            return self._blob(str(request.method), name, request.body)
        if kind == "manifests":
            return self._manifest(str(request.method), name, request.body)
        if kind == "tags":
            tags = [each for each in self.manifests if ":" not in each]
            return answer(200, json.dumps({"name": HERE.path, "tags": tags}).encode())
        if kind == "referrers" and self.api:
            found = [
                data for key, data in self.manifests.items() if key.startswith("sha256:") and self._is_about(data, name)
            ]
            listed = [{"digest": digest_of(data), "artifactType": json.loads(data)["artifactType"]} for data in found]
            return answer(200, json.dumps({"manifests": listed}).encode())
        return answer(200 if not kind else 404)

    @staticmethod
    def _is_about(data: bytes, digest: str) -> bool:
        return bool(json.loads(data).get("subject", {}).get("digest") == digest)

    def _blob(self, method: str, name: str, body: Any) -> Answer:
        if name.startswith("uploads/"):
            if method == "POST":
                return answer(202, Location=f"/v2/{HERE.path}/blobs/uploads/1?state=x")
            digest = re.search(r"[?&]digest=([^&]+)", name)
            body = body if isinstance(body, bytes) else b"".join(body)
            assert digest and digest_of(body) == digest[1]
            self.blobs[digest[1]] = body
            return answer(201)
        return answer(200, self.blobs[name]) if name in self.blobs else answer(404)

    def _manifest(self, method: str, name: str, body: Any) -> Answer:
        if method != "PUT":
            return answer(200, self.manifests[name]) if name in self.manifests else answer(404)
        self.before_put(name)
        self.manifests[name] = self.manifests[digest_of(body)] = body
        return answer(201, OCI_Subject=IMAGE) if self.api and b"subject" in body else answer(201)

    def artifacts(self) -> ArtifactClient:
        return self.client_of(ArtifactClient)


def artifact(name: str) -> bytes:
    subject = {"mediaType": oci_layout.MANIFEST, "digest": IMAGE, "size": 1}
    return oci_layout.canonical_json({"artifactType": KIND, "subject": subject, "annotations": {"name": name}})


def test_a_blob_is_uploaded_once_and_read_back() -> None:
    memory = Memory()
    client = memory.artifacts()
    blob = client.put_blob(b"text")
    assert client.put_blob(b"text") == blob and sum("PUT" in each for each in memory.asked) == 1
    assert client.get_blob(blob.digest, 4) == b"text"


@pytest.mark.parametrize(
    ("held", "size", "told"), [(b"evil", 4, "other contents"), (b"longer", 4, "other contents"), (None, 4, "any more")]
)
def test_a_blob_that_is_lost_or_changed_is_refused(held: bytes | None, size: int, told: str) -> None:
    memory = Memory()
    digest = digest_of(b"text")
    if held is not None:
        memory.blobs[digest] = held
    with pytest.raises(OcicalibanError, match=told) as raised:
        memory.artifacts().get_blob(digest, size)
    assert digest in raised.value.message and raised.value.hint.startswith("do not use it")


def test_a_registry_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how large a document is, and sends more, or more than any document has."""
    monkeypatch.setattr("ocicaliban.registry.artifacts.LARGEST_ANSWER", 10)
    monkeypatch.setattr("ocicaliban.registry.artifacts.LARGEST_TEXT", 1000)
    memory = Memory()
    digest = digest_of(b"text")
    memory.blobs[digest] = b"x" * 11
    with pytest.raises(OcicalibanError, match="sends more than"):
        memory.artifacts().get_blob(digest, 4)
    with pytest.raises(OcicalibanError, match="more than"):
        memory.artifacts().get_blob(digest, 1001)


def test_a_file_is_uploaded_and_read_back_into_a_file(tmp_path: Path) -> None:
    memory = Memory()
    client = memory.artifacts()
    (tmp_path / "a").write_bytes(b"text")
    blob = Blob(digest=digest_of(b"text"), size=4)
    client.put_file(tmp_path / "a", blob)
    with (tmp_path / "b").open("w+b") as file:
        client.save_blob(blob.digest, blob.size, file)
    assert (tmp_path / "b").read_bytes() == b"text"


def test_a_manifest_whose_digest_names_other_bytes_is_refused() -> None:
    memory = Memory()
    memory.manifests[IMAGE] = b"{}"
    with pytest.raises(OcicalibanError, match="other contents"):
        memory.artifacts().get_manifest(IMAGE)
    assert memory.artifacts().get_manifest("none") is None


@pytest.mark.parametrize("api", [True, False])
def test_artifacts_are_found_by_their_image(api: bool) -> None:
    memory = Memory(api=api)
    client = memory.artifacts()
    digests = {client.attach(artifact(name)) for name in ("one", "two")}
    assert {*client.referrers(IMAGE, KIND)} == digests and client.referrers(IMAGE, "other") == ()
    assert (INDEX_TAG in memory.manifests) == (not api)
    assert all(is_own_tag(tag) for tag in client.tags()) and not is_own_tag("v1")


@pytest.mark.parametrize(("kind", "last"), [("referrers", 2), ("tags", 2), ("referrers", 9), ("tags", 9)])
def test_lists_are_read_page_by_page(monkeypatch: pytest.MonkeyPatch, kind: str, last: int) -> None:
    monkeypatch.setattr("ocicaliban.registry.artifacts._PAGES", 3)

    def page(request: requests.PreparedRequest) -> Answer:
        number = int(str(request.url).partition("page=")[2] or 0)
        body = {"manifests": [{"digest": f"sha256:{number}", "artifactType": KIND}], "tags": [f"v{number}"]}
        more = {"Link": f'</v2/x?page={number + 1}>; rel="next"'} if number < last else {}
        return answer(200, json.dumps(body).encode(), **more)

    stub = StubRegistry()
    stub.answers = {"": page}
    client = stub.client_of(ArtifactClient)

    def read() -> tuple[str, ...]:
        return client.referrers(IMAGE, KIND) if kind == "referrers" else client.tags()

    if last == 2:
        assert read() == tuple(f"{'sha256:' if kind == 'referrers' else 'v'}{number}" for number in range(3))
        return
    with pytest.raises(OcicalibanError, match=f"has more than 3 pages of {kind}"):
        read()


@given(st.lists(st.integers(0, 2), min_size=1, max_size=8))
def test_what_others_write_at_the_same_time_is_not_lost(moments: list[int]) -> None:
    """Another program writes the index, as it was when that program read it, at some moments just before we do."""
    memory = Memory()
    client = memory.artifacts()
    pending = list(moments)
    written: list[bytes] = []

    def other(name: str) -> None:
        if name != INDEX_TAG or not pending or pending.pop():
            return
        old = json.loads(memory.manifests.get(INDEX_TAG, b'{"manifests": []}'))
        data = artifact(f"other {len(written)}")
        written.append(data)
        tag = f"{INDEX_TAG}.{digest_of(data)[7:23]}"
        memory.manifests[tag] = memory.manifests[digest_of(data)] = data
        # It read the index before anything of ours was in it.
        old["manifests"] = [{"digest": digest_of(data), "artifactType": KIND}]
        memory.manifests[INDEX_TAG] = json.dumps(old).encode()

    memory.before_put = other
    ours = {client.attach(artifact(f"ours {number}")) for number in range(3)}
    assert {*client.referrers(IMAGE, KIND)} == ours | {digest_of(each) for each in written}


def test_a_program_that_loses_our_entry_hides_nothing() -> None:
    memory = Memory()
    client = memory.artifacts()
    digest = client.attach(artifact("ours"))
    memory.manifests[INDEX_TAG] = b'{"manifests": []}'
    assert client.referrers(IMAGE, KIND) == (digest,)
    memory.manifests[INDEX_TAG] = b"no index"
    assert client.referrers(IMAGE, KIND) == (digest,)


def test_an_upload_that_meets_an_expired_login_logs_in_again() -> None:
    stub = StubRegistry()
    upload = f"https://{HERE.host}/v2/{HERE.path}/blobs/uploads/1"
    refused = answer(401, WWW_Authenticate='Basic realm="x"')
    stub.answers = {
        "HEAD": answer(404),
        "POST": answer(202, Location=upload),
        "PUT": [refused, answer(201)],
        "": answer(200),
    }
    stub.client_of(ArtifactClient, LOGIN).put_blob(b"text")
    assert [each.method for each in stub.requests].count("PUT") == 2
    assert str(stub.requests[-1].headers["Authorization"]).startswith("Basic ") and stub.requests[-1].body == b"text"
