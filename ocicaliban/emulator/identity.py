"""What a client needs to believe the emulator: a certificate for localhost, and the key of an account that is none."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID


@frozen(kw_only=True)
class Identity:
    """The server's private key and certificate (PEM), and the file that makes a client trust it."""

    key: bytes
    certificate: bytes
    trusted: Path


def certificate(folder: Path) -> Identity:
    """A certificate for `localhost` that signs itself and holds for ten days, with its public half in `folder`.

    Its key is in memory alone, so what a client trusts ends with the emulator.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
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
    public = made.public_bytes(serialization.Encoding.PEM)
    trusted = folder / "ca.pem"
    trusted.write_bytes(public)
    return Identity(key=_pem(key), certificate=public, trusted=trusted)


def key_file(folder: Path, project: str, token_uri: str) -> Path:
    """A service account's key in Google's format, of an account that exists nowhere; readable by the user alone.

    A library that wants an access token for it asks `token_uri`, which is the emulator's: nothing leaves the machine.
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    account = f"rehearsal@{project}.iam.gserviceaccount.com"
    data = {
        "type": "service_account",
        "project_id": project,
        "private_key_id": os.urandom(20).hex(),
        "private_key": _pem(key).decode(),
        "client_email": account,
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


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    plain = serialization.NoEncryption()
    return bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
