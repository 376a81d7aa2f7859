"""How a registry is reached: whether it may lack TLS, and whose certificates are trusted, as podman's files say.

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
from ocicaliban.registry.repository import Repository

_FILES = "containers-auth.json"


def insecure(repository: Repository, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether registries.conf lets the repository be reached without TLS, or with a certificate that nobody knows.

    Raises OcicalibanError for one that it blocks, and UsageError for a file that is not TOML.
    """
    tables: dict[str, Mapping[str, Any]] = {}
    for path in _registries_files(environ):
        registries = read_toml(path)[1].get("registry")
        for table in registries if isinstance(registries, list) else ():
            place = str(table.get("prefix") or table.get("location") or "")
            tables[place] = table
    # Of those that fit the longest counts.
    for place in sorted(tables, key=len, reverse=True):
        if _within(str(repository), place):
            if tables[place].get("blocked") is True:
                raise OcicalibanError(f"registries.conf blocks {place}", "choose another repository: --to")
            return tables[place].get("insecure") is True
    return False


@frozen(kw_only=True)
class CredentialHelper:
    """Who is asked for logins: the program docker-credential-NAME that a `file` names, without one the auth files."""

    name: str
    file: Path | None = None


def credential_helpers(environ: Mapping[str, str] = os.environ) -> tuple[CredentialHelper, ...]:
    """Who is asked for logins, in this order, as registries.conf says, and the auth files alone where it says nothing.

    Raises UsageError for a file that is not TOML.
    """
    found: tuple[CredentialHelper, ...] = ()
    for path in _registries_files(environ):
        if isinstance(names := read_toml(path)[1].get("credential-helpers"), list):
            found = tuple(CredentialHelper(name=str(name), file=None if name == _FILES else path) for name in names)
    return found or (CredentialHelper(name=_FILES),)


def _within(name: str, place: str) -> bool:
    if place.startswith("*."):
        return name.partition("/")[0].partition(":")[0].endswith(place[1:])
    return bool(place) and (name == place or name.startswith(f"{place}/"))


def _registries_files(environ: Mapping[str, str]) -> Iterator[Path]:
    """The files in the order in which they are read, the later ones over the earlier."""
    config = _config(environ)
    if named := environ.get("CONTAINERS_REGISTRIES_CONF"):
        yield Path(named)
        return
    first = [path for path in (config / "registries.conf", Path("/etc/containers/registries.conf")) if path.is_file()]
    yield from first[:1]
    for folder in (Path("/etc/containers/registries.conf.d"), config / "registries.conf.d"):
        yield from sorted(folder.glob("*.conf"))


def _config(environ: Mapping[str, str]) -> Path:
    # The tools look there for these files whatever XDG_CONFIG_HOME says.
    return Path(environ.get("HOME") or Path.home()) / ".config" / "containers"


def context(host: str, *, verify: bool, environ: Mapping[str, str] = os.environ) -> ssl.SSLContext:
    """The TLS settings for a registry: the machine's authorities, and those that are there for this host alone.

    Raises OcicalibanError for a certificate that cannot be read.
    """
    made = ssl.create_default_context()
    if not verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    for top in (_config(environ), Path("/etc/containers"), Path("/etc/docker")):
        folder = top / "certs.d" / host
        if not folder.is_dir():
            continue
        for path in sorted(folder.iterdir()):
            try:
                if path.suffix == ".crt":
                    made.load_verify_locations(path)
                elif path.suffix == ".cert":
                    made.load_cert_chain(path, path.with_suffix(".key"))
            except (OSError, ssl.SSLError) as exc:
                raise OcicalibanError(f"the certificate {path} cannot be used: {exc}", "is it in PEM's form?") from exc
        break
    return made
