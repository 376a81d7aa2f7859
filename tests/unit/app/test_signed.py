"""Signatures of what is published: by the key, by another one, of something else, and none."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ocicaliban.app import signed
from ocicaliban.containers.oci_layout import Blob
from ocicaliban.errors import OcicalibanError
from ocicaliban.publish import documents, signatures, statement
from ocicaliban.publish.signatures import PrivateKey
from ocicaliban.registry.artifacts import ArtifactClient
from ocicaliban.registry.layouts import Layout
from tests.unit.publish.test_experiment import IMAGE, MADE
from tests.unit.registry.test_artifacts import Memory

KEY, OTHER = (PrivateKey(name, ec.generate_private_key(ec.SECP256R1())) for name in ("mine", "other"))
SUBJECT = documents.subject(IMAGE, 1)


@pytest.fixture(params=["api", "tags", "layout"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArtifactClient | Layout:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if request.param == "layout":
        return Layout(f"oci:{tmp_path / 'lay'}")
    return Memory(api=request.param == "api").artifacts()


def published(store: ArtifactClient | Layout, name: str = "paper") -> tuple[str, int]:
    data = documents.manifest([], SUBJECT, {"name": name})
    return store.attach(data), len(data)


def provenance(store: ArtifactClient | Layout, digest: str, key: PrivateKey) -> None:
    said = statement.statement(store.place, digest, MADE, [])
    envelope = documents.Document(
        media_type=signatures.ENVELOPE,
        title="provenance.json",
        data=signatures.envelope(said, statement.MEDIA_TYPE, key),
    )
    store.put_blob(envelope.data)
    store.attach(documents.manifest([envelope], SUBJECT, {}, artifact_type=signatures.ENVELOPE))


def test_what_a_key_has_signed_is_verified_by_it(store: ArtifactClient | Layout) -> None:
    digest, size = published(store)
    with pytest.raises(OcicalibanError, match="is not signed"):
        signed.verify(store, KEY.public, digest, IMAGE)
    for key in (OTHER, KEY, KEY):
        signed.sign(store, key, digest, size)
    for key in (OTHER, KEY):
        signed.verify(store, key.public, digest, IMAGE)
    assert len(signed._under_tag(store, digest)) == 2, "cosign finds both under its tag, each once"
    provenance(store, digest, KEY)
    signed.verify(store, KEY.public, digest, IMAGE)
    with pytest.raises(OcicalibanError, match=r"the provenance of .* is not signed by the key other"):
        signed.verify(store, OTHER.public, digest, IMAGE)


def test_a_broken_signature_does_not_hide_a_good_one(store: ArtifactClient | Layout) -> None:
    digest, size = published(store)
    gone = Blob(digest=f"sha256:{'0' * 64}", size=3)
    layer = signatures.layer(gone, b"x")
    store.put_blob(documents.EMPTY)
    store.attach(documents.artifact(signatures.ARTIFACT, [layer], documents.subject(digest, size), {}))
    store.attach(documents.artifact(signatures.ENVELOPE, [layer], SUBJECT, {}))
    with pytest.raises(OcicalibanError):
        signed.verify(store, KEY.public, digest, IMAGE)
    signed.sign(store, KEY, digest, size)
    provenance(store, digest, KEY)
    signed.verify(store, KEY.public, digest, IMAGE)
    with pytest.raises(OcicalibanError):
        signed.verify(store, OTHER.public, digest, IMAGE)


def test_a_signature_of_something_else_is_none(store: ArtifactClient | Layout) -> None:
    digest, size = published(store)
    other, _ = published(store, "other")
    signed.sign(store, OTHER, digest, size)
    with pytest.raises(OcicalibanError, match="is not signed by the key mine, but by another"):
        signed.verify(store, KEY.public, digest, IMAGE)
    # A signature is moved to an experiment that it does not sign.
    signed.sign(store, KEY, digest, size)
    for each in signed._under_tag(store, digest):
        store.attach(documents.artifact(signatures.ARTIFACT, [each], documents.subject(other, size), {}))
    with pytest.raises(OcicalibanError, match="is not signed by the key"):
        signed.verify(store, KEY.public, other, IMAGE)
