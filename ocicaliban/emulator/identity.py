"""Who is who: a certificate that makes clients trust the emulator, and a service account for its clients."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import ipaddress
import json
import os
import secrets
import time
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID


@frozen(kw_only=True)
class ServerCertificate:
    """The server's private key and certificate (PEM), and the file that makes a client trust it."""

    key: bytes
    certificate: bytes
    trusted: Path


def create_certificate(folder: Path) -> ServerCertificate:
    """Create a self-signed certificate for `localhost`, valid for ten days, and write its public half to `folder`.

    Its key is in memory only, so what a client trusts ends with the emulator.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=10))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    trusted = folder / "ca.pem"
    trusted.write_bytes(public)
    return ServerCertificate(key=_pem(key), certificate=public, trusted=trusted)


@frozen(kw_only=True)
class CloudProject:
    """A project by its ID. Its number is derived from the ID, so it is the same in every emulator."""

    id: str

    @property
    def number(self) -> str:
        """The number that the service's resource names have in place of the ID."""
        return str(10**11 + int.from_bytes(hashlib.sha256(self.id.encode()).digest()[:8]) % (9 * 10**11))

    def is_called(self, name: str) -> bool:
        """Return whether `name` is the ID or the number of this project."""
        return name in (self.id, self.number)


class ServiceAccount:
    """A service account of the emulator's own, with a new key and access token unless they are given.

    Only a client that can read its key file can prove to be it. `key` is a private RSA key (PEM).
    """

    def __init__(self, project: str, key: bytes = b"", token: str = "") -> None:
        self._project = project
        given = serialization.load_pem_private_key(key, None) if key else None
        new = given if isinstance(given, rsa.RSAPrivateKey) else None
        self._key = new or rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._token = token or secrets.token_urlsafe(32)

    def write_key_file(self, folder: Path, token_uri: str) -> Path:
        """Write the account's key in Google's format to a new file in `folder`, which only the user can read.

        A library gets access tokens from `token_uri`, which is the emulator's: nothing leaves the machine.
        """
        data = {
            "type": "service_account",
            "project_id": self._project,
            "private_key_id": os.urandom(20).hex(),
            "private_key": _pem(self._key).decode(),
            "client_email": f"rehearsal@{self._project}.iam.gserviceaccount.com",
            "client_id": "0",
            "auth_uri": token_uri,
            "token_uri": token_uri,
            "universe_domain": "googleapis.com",
        }
        path = folder / "key.json"
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(data, file, indent=1)
        return path

    def token(self, assertion: str) -> str:
        """Return the access token for an assertion signed by the account's key (RFC 7523); "" for any other."""
        return self._token if self._signed(assertion) else ""

    def is_authorized(self, authorization: str) -> bool:
        """Return whether this `Authorization` header proves to be the account.

        It holds the access token, or what Google's libraries send in its place: a token of their own, signed by the
        account's key (https://google.aip.dev/auth/4111).
        """
        scheme, _, token = authorization.partition(" ")
        return scheme == "Bearer" and (equal(token, self._token) or self._signed(token))

    def _signed(self, token: str) -> bool:
        """Return whether the account's key has signed this JSON web token, and it has not expired."""
        signed, _, signature = token.rpartition(".")
        try:
            self._key.public_key().verify(_decode(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        except (InvalidSignature, ValueError):
            return False
        # From here on it was made by someone who has the key.
        return bool(json.loads(_decode(signed.partition(".")[2]))["exp"] > time.time())


def equal(one: str, other: str) -> bool:
    """Return whether two texts are equal, in a time that does not depend on where they differ."""
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    plain = serialization.NoEncryption()
    return bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
