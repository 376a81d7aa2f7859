"""How to reach a registry: with or without TLS, and which certificates to trust, as podman's files say.

The files are those of containers-registries.conf(5) and containers-certs.d(5).
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from ocicaliban.errors import OcicalibanError
from ocicaliban.formats.toml import read_toml
from ocicaliban.registry.reference import Repository

_AUTH_FILES = "containers-auth.json"


def is_insecure(repository: Repository, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether registries.conf allows a repository without TLS, or with an untrusted certificate.

    Raises OcicalibanError if registries.conf blocks it, and UsageError if a file is not TOML.
    """
    tables: dict[str, Mapping[str, Any]] = {}
    for path in _registries_files(environ):
        registries = read_toml(path)[1].get("registry")
        for table in registries if isinstance(registries, list) else ():
            tables[str(table.get("prefix") or table.get("location") or "")] = table
    # The longest prefix that matches applies.
    for prefix in sorted(tables, key=len, reverse=True):
        if _matches(str(repository), prefix):
            if tables[prefix].get("blocked") is True:
                raise OcicalibanError(f"registries.conf blocks {prefix}", "choose another repository: --to")
            return tables[prefix].get("insecure") is True
    return False


@frozen(kw_only=True)
class CredentialHelper:
    """A source of logins: the program docker-credential-NAME that a `file` names, or the auth files if that is None."""

    name: str
    file: Path | None = None


def credential_helpers(environ: Mapping[str, str] = os.environ) -> tuple[CredentialHelper, ...]:
    """Return the sources of logins in the order of registries.conf; the auth files alone if it names none.

    Raises UsageError if a file is not TOML.
    """
    helpers: tuple[CredentialHelper, ...] = ()
    for path in _registries_files(environ):
        if isinstance(names := read_toml(path)[1].get("credential-helpers"), list):
            helpers = tuple(
                CredentialHelper(name=str(name), file=None if name == _AUTH_FILES else path) for name in names
            )
    return helpers or (CredentialHelper(name=_AUTH_FILES),)


def _matches(name: str, prefix: str) -> bool:
    if prefix.startswith("*."):
        return name.partition("/")[0].partition(":")[0].endswith(prefix[1:])
    return bool(prefix) and (name == prefix or name.startswith(f"{prefix}/"))


def _registries_files(environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the files in the order in which they are read; a later one overrides an earlier one."""
    config = _config(environ)
    if only := environ.get("CONTAINERS_REGISTRIES_CONF"):
        yield Path(only)
        return
    main = [path for path in (config / "registries.conf", Path("/etc/containers/registries.conf")) if path.is_file()]
    yield from main[:1]
    for folder in (Path("/etc/containers/registries.conf.d"), config / "registries.conf.d"):
        yield from sorted(folder.glob("*.conf"))


def _config(environ: Mapping[str, str]) -> Path:
    # For these files the tools ignore XDG_CONFIG_HOME.
    return Path(environ.get("HOME") or Path.home()) / ".config" / "containers"


def context(host: str, *, verify: bool, environ: Mapping[str, str] = os.environ) -> ssl.SSLContext:
    """Return the TLS settings for a registry: the machine's authorities, and those in certs.d for this host.

    Raises OcicalibanError if a certificate cannot be read.
    """
    settings = ssl.create_default_context()
    # podman and skopeo accept authorities without a key usage, which Python refuses since 3.13.
    settings.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not verify:
        settings.check_hostname = False
        settings.verify_mode = ssl.CERT_NONE
    for top in (_config(environ), Path("/etc/containers"), Path("/etc/docker")):
        folder = top / "certs.d" / host
        if not folder.is_dir():
            continue
        for path in sorted(folder.iterdir()):
            try:
                if path.suffix == ".crt":
                    settings.load_verify_locations(path)
                elif path.suffix == ".cert":
                    settings.load_cert_chain(path, path.with_suffix(".key"))
            except (OSError, ssl.SSLError) as exc:
                raise OcicalibanError(
                    f"cannot use the certificate {path}: {exc}", "check that it is a PEM file"
                ) from exc
        break
    return settings
