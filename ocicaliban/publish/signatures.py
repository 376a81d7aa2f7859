"""Sign and verify with a key in a file: DSSE envelopes, and signatures in the form of cosign.

The keys are PEM files: plain ones, those with a password, and cosign's own (`cosign generate-key-pair`). What is
signed, and how, is what cosign does by default: ECDSA and RSA (PKCS #1 v1.5) with SHA-256, and Ed25519.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from ocicaliban.containers import oci_layout
from ocicaliban.errors import UsageError
from ocicaliban.formats.jsonc import parse_json
from ocicaliban.system import installation

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

ENVELOPE = "application/vnd.dsse.envelope.v1+json"
PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
"""The annotation of a payload with its signature, in base64."""

ARTIFACT = "application/vnd.dev.cosign.artifact.sig.v1+json"
"""The type of the artifact that holds a signature, where cosign looks for artifacts about an image."""

_COSIGN = re.compile(rb"-----BEGIN ENCRYPTED (?:COSIGN|SIGSTORE) PRIVATE KEY-----(.*?)-----END", re.S)
_KIND = "cosign container image signature"
_MOST_WORK = 1 << 20  # scrypt's N; cosign takes 2**15 to 2**16, and more would take memory and minutes
_LARGEST_KEY = 1 << 16  # bytes

Password = Callable[[], str]
"""Asks for the password of a key."""


@frozen
class PublicKey:
    """A key that verifies; `name` is the file that it is from."""

    name: str
    key: PublicKeyTypes

    @property
    def id(self) -> str:
        """The SHA-256 of the key, by which two keys are told apart."""
        from cryptography.hazmat.primitives import serialization as form

        der = self.key.public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(der).hexdigest()

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Return whether this key has signed some bytes."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

        try:
            if isinstance(self.key, ec.EllipticCurvePublicKey):
                self.key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
            elif isinstance(self.key, ed25519.Ed25519PublicKey):
                self.key.verify(signature, data)
            else:
                assert isinstance(self.key, rsa.RSAPublicKey)
                self.key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True


@frozen
class PrivateKey:
    """A key that signs; `name` is the file that it is from."""

    name: str
    key: PrivateKeyTypes

    @property
    def public(self) -> PublicKey:
        """The key that verifies what this one signs."""
        return PublicKey(self.name, self.key.public_key())

    def sign(self, data: bytes) -> bytes:
        """Return the signature of some bytes."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return bytes(self.key.sign(data, ec.ECDSA(hashes.SHA256())))
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return bytes(self.key.sign(data))
        assert isinstance(self.key, rsa.RSAPrivateKey)
        return bytes(self.key.sign(data, padding.PKCS1v15(), hashes.SHA256()))


# --- keys ---


def private_key(path: Path, password: Password) -> PrivateKey:
    """Return the private key in a file. `password` is asked if it has one.

    Raises UsageError if the file has no key that can be read, or the password is wrong.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization as form

    data = _contents(path)
    key: PrivateKeyTypes
    try:
        if encrypted := _COSIGN.search(data):
            key = form.load_der_private_key(_decrypted(encrypted[1], password, path), None)
        else:
            asked = _has_password(data)
            key = form.load_pem_private_key(data, password().encode() if asked else None)
    except (ValueError, TypeError, LookupError, UnsupportedAlgorithm) as exc:
        raise _unusable(path, "private key", "or the password is wrong") from exc
    _require_known(key.public_key(), path)
    return PrivateKey(str(path), key)


def public_key(path: Path) -> PublicKey:
    """Return the public key in a file. Raises UsageError if it has none that can be read."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization as form

    try:
        key = form.load_pem_public_key(_contents(path))
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise _unusable(path, "public key", "a private key has another file") from exc
    _require_known(key, path)
    return PublicKey(str(path), key)


def _contents(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_KEY)
    except OSError as exc:
        raise UsageError(f"the key {path} cannot be read: {exc.strerror}", "check the path") from exc


def _has_password(data: bytes) -> bool:
    return b"BEGIN ENCRYPTED PRIVATE KEY" in data or b"Proc-Type: 4,ENCRYPTED" in data


def _require_known(key: PublicKeyTypes, path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if not isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey):
        raise UsageError(f"{path} is a key of a kind that does not sign here", "ECDSA, Ed25519 and RSA do")


def _unusable(path: Path, what: str, more: str) -> UsageError:
    hint = "openssl ecparam -genkey -name prime256v1 -noout -out key.pem; openssl ec -in key.pem -pubout -out key.pub"
    return UsageError(f"{path} has no {what} in PEM form, {more}", hint)


def _decrypted(text: bytes, password: Password, path: Path) -> bytes:
    """Return the private key that cosign has encrypted. Raises ValueError or LookupError for another form."""
    try:
        from nacl.exceptions import CryptoError
        from nacl.secret import SecretBox
    except ImportError as exc:
        raise UsageError(
            f"{path} is encrypted by cosign, which needs the package PyNaCl", installation.with_extra("cosign")
        ) from exc
    told = json.loads(base64.b64decode(text))
    if told["kdf"]["name"] != "scrypt" or told["cipher"]["name"] != "nacl/secretbox":
        raise ValueError("another cipher")
    work, salt = told["kdf"]["params"], base64.b64decode(told["kdf"]["salt"])
    if not (0 < work["N"] <= _MOST_WORK and 0 < work["r"] <= 32 and 0 < work["p"] <= 16):
        raise ValueError("other parameters")
    room = 256 * work["N"] * work["r"]
    secret = hashlib.scrypt(
        password().encode(), salt=salt, n=work["N"], r=work["r"], p=work["p"], maxmem=room, dklen=32
    )
    try:
        return SecretBox(secret).decrypt(
            base64.b64decode(told["ciphertext"]), base64.b64decode(told["cipher"]["nonce"])
        )
    except CryptoError as exc:
        raise ValueError("another password") from exc


def password_from_environment() -> str | None:
    """Return the password that cosign's variable holds; None if it is not set."""
    return os.environ.get("COSIGN_PASSWORD")


# --- DSSE ---


def _encoded(kind: str, payload: bytes) -> bytes:
    """Return what a DSSE envelope's signature signs (the "pre-authentication encoding")."""
    return b" ".join((b"DSSEv1", b"%d" % len(kind.encode()), kind.encode(), b"%d" % len(payload), payload))


def envelope(payload: bytes, kind: str, key: PrivateKey) -> bytes:
    """Return a payload in an envelope with its signature. `kind` is its media type."""
    signature = base64.b64encode(key.sign(_encoded(kind, payload))).decode()
    return oci_layout.canonical_json(
        {
            "payloadType": kind,
            "payload": base64.b64encode(payload).decode(),
            "signatures": [{"keyid": key.public.id, "sig": signature}],
        }
    )


def opened(data: bytes, kind: str) -> tuple[bytes, tuple[bytes, ...]] | None:
    """Return the payload of an envelope and its signatures, unverified; None if it is none of this kind."""
    try:
        told: Any = parse_json(data)
        if told["payloadType"] != kind:
            return None
        payload = base64.b64decode(told["payload"], validate=True)
        return payload, tuple(base64.b64decode(each["sig"], validate=True) for each in told["signatures"])
    except (ValueError, TypeError, KeyError):
        return None


def is_signed(payload: bytes, signatures: tuple[bytes, ...], kind: str, key: PublicKey) -> bool:
    """Return whether one of an envelope's signatures is by a key."""
    return any(key.verifies(each, _encoded(kind, payload)) for each in signatures)


# --- cosign ---


def payload(place: str, digest: str) -> bytes:
    """Return what cosign's form of a signature signs, of an image or artifact at a place."""
    critical = {
        "identity": {"docker-reference": place},
        "image": {"docker-manifest-digest": digest},
        "type": _KIND,
    }
    return oci_layout.canonical_json({"critical": critical, "optional": {"creator": "ocicaliban"}})


def payload_digest(data: bytes) -> str:
    """Return the digest that a payload is about; "" if it is none."""
    try:
        critical: Any = parse_json(data)
        critical = critical["critical"]
        return str(critical["image"]["docker-manifest-digest"]) if critical["type"] == _KIND else ""
    except (ValueError, TypeError, KeyError):
        return ""


def layer(blob: oci_layout.Blob, signature: bytes) -> dict[str, Any]:
    """Return the descriptor of a payload with its signature."""
    notes = {SIGNATURE: base64.b64encode(signature).decode()}
    return {"mediaType": PAYLOAD, "digest": blob.digest, "size": blob.size, "annotations": notes}


def signature_in(layer: Mapping[str, Any]) -> bytes:
    """Return the signature in the descriptor of a payload; b"" if it has none."""
    try:
        return base64.b64decode(layer["annotations"][SIGNATURE], validate=True)
    except (ValueError, TypeError, KeyError):
        return b""


def config(payloads: tuple[str, ...]) -> bytes:
    """Return the config of an image whose layers are payloads with these digests, as cosign writes it."""
    rootfs = {"type": "layers", "diff_ids": list(payloads)}
    return oci_layout.canonical_json({"architecture": "", "os": "", "config": {}, "rootfs": rootfs})
