"""Sign what is published, and verify it: with a key in a file, in the form that cosign uses."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ocicaliban.containers import oci_layout
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.publish import documents, signatures, statement
from ocicaliban.publish.signatures import PrivateKey, PublicKey
from ocicaliban.registry.artifact_store import ArtifactStore
from ocicaliban.registry.artifacts import json_object
from ocicaliban.reporter import TERMINAL
from ocicaliban.system import process

_TRIES = 5


def private_key(path: str) -> PrivateKey:
    """Return the private key in a file; ask for its password if it has one. Raises UsageError if it cannot be read."""
    return signatures.private_key(Path(path), lambda: _password(path))


def public_key(path: str) -> PublicKey:
    """Return the public key in a file. Raises UsageError if it cannot be read."""
    return signatures.public_key(Path(path))


def _password(path: str) -> str:
    if (given := signatures.password_from_environment()) is not None:
        return given
    if not process.has_terminal():
        raise UsageError(f"the key {path} has a password, and there is no terminal", "export COSIGN_PASSWORD=...")
    import getpass

    return getpass.getpass(f"password of {path}: ")


# --- sign ---


def sign(store: ArtifactStore, key: PrivateKey, digest: str, size: int) -> None:
    """Attach a signature to an image or artifact with this digest, whose manifest has `size` bytes.

    It is found twice: as an artifact about what it signs, and under the tag where every cosign looks. A key signs once.
    """
    payload = signatures.payload(store.place, digest)
    if _is_signed(store, key.public, digest, _signatures(store, digest))[0]:
        return
    layer = signatures.layer(store.put_blob(payload), key.sign(payload))
    store.put_blob(documents.EMPTY)
    store.attach(documents.artifact(signatures.ARTIFACT, [layer], documents.subject(digest, size), {}))
    for _ in range(_TRIES):  # another program may write the tag meanwhile, so read it again afterwards
        known = _unique([*_under_tag(store, digest), layer])
        config = store.put_blob(signatures.config(tuple(each["digest"] for each in known)))
        manifest = {
            "schemaVersion": 2,
            "mediaType": oci_layout.MANIFEST,
            "config": {"mediaType": oci_layout.CONFIG, "digest": config.digest, "size": config.size},
            "layers": known,
        }
        store.put_manifest(_tag(digest), oci_layout.canonical_json(manifest))
        if layer in _under_tag(store, digest):
            return


def _tag(digest: str) -> str:
    return f"{digest.replace(':', '-')}.sig"


def _under_tag(store: ArtifactStore, digest: str) -> list[dict[str, Any]]:
    found = store.get_manifest(_tag(digest))
    return _layers(found[1]) if found else []


def _layers(manifest: bytes) -> list[dict[str, Any]]:
    layers = json_object(manifest).get("layers")
    return [each for each in layers if isinstance(each, dict)] if isinstance(layers, list) else []


def _unique(layers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({json.dumps(each, sort_keys=True): each for each in layers}.values())


# --- verify ---


def verify(store: ArtifactStore, key: PublicKey, digest: str, image: str) -> None:
    """Check that a key has signed the experiment with this digest, and the provenance that names it.

    The experiment names its image by its digest, so that the signature holds for it too. Raises OcicalibanError.
    """
    found = _unique([*_signatures(store, digest)])
    good, fault = _is_signed(store, key, digest, found)
    if not good:
        raise fault or _not_signed(f"{store.place}@{digest}", key, len(found))
    _verify_provenance(store, key, digest, image)


def _is_signed(
    store: ArtifactStore, key: PublicKey, digest: str, layers: Iterable[Mapping[str, Any]]
) -> tuple[bool, OcicalibanError | None]:
    """Return whether one of these signatures is by a key, and what was wrong with another one, if there was something.

    Everybody who may write to the place can attach a broken one.
    """
    broken: OcicalibanError | None = None
    for layer in layers:
        try:
            if _signs(store, key, layer, digest):
                return True, broken
        except OcicalibanError as fault:
            broken = broken or fault
    return False, broken


def _signs(store: ArtifactStore, key: PublicKey, layer: Mapping[str, Any], digest: str) -> bool:
    """Return whether the payload that a descriptor names is about a digest, and signed by a key."""
    payload = _blob(store, layer)
    signature = signatures.signature_in(layer)
    return signatures.payload_digest(payload) == digest and key.verifies(signature, payload)


def _not_signed(what: str, key: PublicKey, count: int) -> OcicalibanError:
    if count:
        return OcicalibanError(
            f"{what} is not signed by the key {key.name}, but by {'another' if count == 1 else f'{count} others'}",
            "do not use it, unless you know the other key",
        )
    return OcicalibanError(f"{what} is not signed", "`ocicaliban publish --sign-key KEY` signs what it publishes")


def _signatures(store: ArtifactStore, digest: str) -> Iterator[dict[str, Any]]:
    """Yield the descriptors of the payloads that are said to sign a digest."""
    yield from _attached(store, digest, signatures.ARTIFACT)
    yield from _under_tag(store, digest)


def _attached(store: ArtifactStore, digest: str, kind: str) -> Iterator[dict[str, Any]]:
    """Yield the layers of the artifacts of a kind about a digest."""
    for each in store.referrers(digest, kind):
        if found := store.get_manifest(each):
            yield from _layers(found[1])


def _blob(store: ArtifactStore, layer: Mapping[str, Any]) -> bytes:
    size = layer.get("size")
    return store.get_blob(str(layer.get("digest")), size if isinstance(size, int) else 0)


def _verify_provenance(store: ArtifactStore, key: PublicKey, digest: str, image: str) -> None:
    """Check that the provenance that names an experiment is signed. Raises OcicalibanError."""
    about: list[bool] = []
    broken: OcicalibanError | None = None
    for layer in _attached(store, image, signatures.ENVELOPE):
        try:
            opened = signatures.opened(_blob(store, layer), statement.MEDIA_TYPE)
        except OcicalibanError as fault:
            broken = broken or fault
        else:
            if opened and statement.is_about(opened[0], digest):
                about.append(signatures.is_signed(*opened, statement.MEDIA_TYPE, key))
    if broken and not any(about):
        raise broken
    if not about:
        TERMINAL.note(f"{store.place}@{digest} has no signed provenance")
    elif not any(about):
        raise OcicalibanError(
            f"the provenance of {store.place}@{digest} is not signed by the key {key.name}", "do not use it"
        )
