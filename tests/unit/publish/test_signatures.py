"""Keys of every form that people have, what they sign, and what they do not verify."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from nacl.secret import SecretBox

from ocicaliban.errors import UsageError
from ocicaliban.publish import signatures, statement
from tests.unit.publish.test_experiment import IMAGE, MADE

KEYS = {
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "rsa": rsa.generate_private_key(65537, 2048),
}
PKCS8, PLAIN = form.PrivateFormat.PKCS8, form.NoEncryption()
OTHER = ec.generate_private_key(ec.SECP256R1())


def public(key: Any) -> bytes:
    data = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    assert isinstance(data, bytes)
    return data


def cosign(key: Any, password: str, name: str = "SIGSTORE", work: int = 1 << 10) -> bytes:
    """A private key as `cosign generate-key-pair` writes it; its N is 2**16."""
    secret = hashlib.scrypt(password.encode(), salt=b"s" * 32, n=work, r=8, p=1, dklen=32)
    box = SecretBox(secret).encrypt(key.private_bytes(form.Encoding.DER, PKCS8, PLAIN), b"n" * 24)

    def text(data: bytes) -> str:
        return base64.b64encode(data).decode()

    told = {
        "kdf": {"name": "scrypt", "params": {"N": work, "r": 8, "p": 1}, "salt": text(b"s" * 32)},
        "cipher": {"name": "nacl/secretbox", "nonce": text(b"n" * 24)},
        "ciphertext": text(box.ciphertext),
    }
    body = base64.encodebytes(json.dumps(told).encode()).decode()
    return f"-----BEGIN ENCRYPTED {name} PRIVATE KEY-----\n{body}-----END ENCRYPTED {name} PRIVATE KEY-----\n".encode()


def forms(key: Any) -> dict[str, bytes]:
    best = form.BestAvailableEncryption(b"hush")
    return {
        "pkcs8": key.private_bytes(form.Encoding.PEM, PKCS8, PLAIN),
        "password": key.private_bytes(form.Encoding.PEM, PKCS8, best),
        "sigstore": cosign(key, "hush"),
        "cosign": cosign(key, "hush", "COSIGN"),
    }


@pytest.mark.parametrize("kind", KEYS)
def test_a_key_signs_what_its_public_key_verifies(tmp_path: Path, kind: str) -> None:
    asked = []
    (tmp_path / "key.pub").write_bytes(public(KEYS[kind]))
    (tmp_path / "other.pub").write_bytes(public(OTHER))
    verifier = signatures.public_key(tmp_path / "key.pub")
    other = signatures.public_key(tmp_path / "other.pub")
    for name, text in forms(KEYS[kind]).items():
        (tmp_path / name).write_bytes(text)
        key = signatures.private_key(tmp_path / name, lambda: asked.append(1) or "hush")
        signature = key.sign(b"data")
        assert verifier.verifies(signature, b"data") and key.public.id == verifier.id
        assert not verifier.verifies(signature, b"date") and not other.verifies(signature, b"data")
        assert not verifier.verifies(b"", b"data")
    assert len(asked) == 3, "a plain key has no password"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "no private key"),
        (b"-----BEGIN PRIVATE KEY-----\nxxxx\n-----END PRIVATE KEY-----\n", "no private key"),
        (cosign(OTHER, "other"), "the password is wrong"),
        (cosign(OTHER, "hush").replace(b"SIGSTORE", b"SIGNSTORE"), "no private key"),
        (b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\ne30=\n-----END ENCRYPTED SIGSTORE", "no private key"),
        (public(OTHER), "no private key"),
        (x25519.X25519PrivateKey.generate().private_bytes(form.Encoding.PEM, PKCS8, PLAIN), "does not sign here"),
    ],
)
def test_what_is_no_key_says_so(tmp_path: Path, text: bytes, told: str) -> None:
    (tmp_path / "key").write_bytes(text)
    with pytest.raises(UsageError, match=told):
        signatures.private_key(tmp_path / "key", lambda: "hush")
    with pytest.raises(UsageError, match="cannot be read"):
        signatures.private_key(tmp_path / "none", lambda: "hush")


def test_a_key_that_asks_for_much_work_is_refused(tmp_path: Path) -> None:
    text = cosign(OTHER, "hush")
    body = json.loads(base64.b64decode(b"".join(text.splitlines()[1:-1])))
    body["kdf"]["params"]["N"] = 1 << 40
    words = text.splitlines()
    data = b"\n".join((words[0], base64.b64encode(json.dumps(body).encode()), words[-1]))
    (tmp_path / "key").write_bytes(data)
    with pytest.raises(UsageError, match="no private key"):
        signatures.private_key(tmp_path / "key", lambda: "hush")


def test_a_private_key_is_no_public_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(forms(OTHER)["pkcs8"])
    with pytest.raises(UsageError, match="no public key"):
        signatures.public_key(tmp_path / "key")


def test_an_envelope_holds_a_signed_statement() -> None:
    key = signatures.PrivateKey("k", OTHER)
    said = statement.statement("reg.example/x", f"sha256:{'e' * 64}", MADE, [])
    data = signatures.envelope(said, statement.MEDIA_TYPE, key)
    opened = signatures.opened(data, statement.MEDIA_TYPE)
    assert opened and opened[0] == said
    assert signatures.is_signed(*opened, statement.MEDIA_TYPE, key.public)
    assert not signatures.is_signed(said + b" ", opened[1], statement.MEDIA_TYPE, key.public)
    assert not signatures.is_signed(*opened, "text/plain", key.public)
    assert statement.is_about(said, f"sha256:{'e' * 64}") and statement.is_about(said, IMAGE)
    assert not statement.is_about(said, f"sha256:{'f' * 64}")


def test_the_signature_of_an_envelope_is_over_the_encoding_that_dsse_defines() -> None:
    # The example of DSSE's protocol.md.
    assert signatures._encoded("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"payloadType": "x"}', b'{"payloadType":"x","payload":"!"}'])
def test_what_is_no_envelope_is_none(data: bytes) -> None:
    assert signatures.opened(data, "x") is None
    assert signatures.payload_digest(data) == "" and not statement.is_about(data, IMAGE)
    assert signatures.signature_in({}) == signatures.signature_in({"annotations": {signatures.SIGNATURE: "!"}}) == b""


def test_a_payload_names_what_it_signs() -> None:
    assert signatures.payload_digest(signatures.payload("reg.example/x", IMAGE)) == IMAGE
