"""Find the login for a registry: in the auth files and helpers that podman uses, or from Google's credentials.

The order of the files and the keys in them are those of containers-auth.json(5).
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from ocicaliban import google_auth
from ocicaliban.errors import OcicalibanError, ToolError, first_line
from ocicaliban.formats.jsonc import parse_json
from ocicaliban.registry import tls
from ocicaliban.registry.reference import Repository
from ocicaliban.system import installation, process

_HELPER_TIMEOUT = 30.0  # seconds; some helpers ask a service


@frozen(kw_only=True)
class Login:
    """A user and a secret for a registry, and where they were found.

    If `is_refresh_token`, the secret is an OAuth 2 refresh token, not a password. If `unknown_to_tools`, podman and
    skopeo would not find this login by themselves and must be given it.
    """

    user: str
    secret: str = field(repr=False)
    source: str
    is_refresh_token: bool = False
    unknown_to_tools: bool = False


def find_login(repository: Repository, *, key_file: str = "", environ: Mapping[str, str] = os.environ) -> Login | None:
    """Return the login for a repository; None if there is none, as for registries that need no login.

    For a Google registry without a login in an auth file, get an access token: with the service account's `key_file`,
    or else with the application-default credentials. If a `key_file` is given, the auth files are not read. Raises
    OcicalibanError if a file cannot be read, a helper fails, or Google refuses a token.
    """
    if repository.is_google and key_file:
        return _google_login(key_file)
    for helper in tls.credential_helpers(environ):
        if helper.file is not None:
            if login := _ask_helper(helper.name, repository.host, helper.file, unknown_to_tools=False):
                return login
            continue
        for path in auth_files(environ):
            if login := _login_in_file(path, repository):
                return login
    return _google_login("") if repository.is_google else None


def auth_files(environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the paths of the auth files, the first to look in first; they may not exist."""
    if only := environ.get("REGISTRY_AUTH_FILE"):
        yield Path(only)
        return
    home = Path(environ.get("HOME") or Path.home())
    runtime = environ.get("XDG_RUNTIME_DIR")
    yield Path(runtime, "containers/auth.json") if runtime else Path(f"/run/containers/{os.getuid()}/auth.json")
    yield Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "containers/auth.json"
    yield Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json"


def _login_in_file(path: Path, repository: Repository) -> Login | None:
    try:
        held = parse_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not JSON"
        raise OcicalibanError(f"cannot read the auth file {path}: {why}", "correct it, or log in again") from exc
    if not isinstance(held, dict) or not isinstance(held.get("auths", {}), dict):
        raise OcicalibanError(f"{path} is not an auth file: it has no table 'auths'", "correct it, or log in again")
    if helper := _table(held, "credHelpers").get(repository.host):
        return _ask_helper(helper, repository.host, path, unknown_to_tools=False)
    auths = _table(held, "auths")
    for key in namespaces(repository):
        if login := _decode(auths.get(key), path):
            return login
    # Docker writes URLs, such as https://index.docker.io/v1/.
    for key, entry in auths.items():
        if _host(key) == _host(repository.host) and (login := _decode(entry, path)):
            return login
    if helper := held.get("credsStore"):
        return _ask_helper(helper, repository.host, path, unknown_to_tools=True)
    return None


def namespaces(repository: Repository) -> Iterator[str]:
    """Yield the keys under which an auth file may have a repository, the most specific first."""
    name = str(repository)
    while name:
        yield name
        name = name.rpartition("/")[0]


def _table(held: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = held.get(name)
    return value if isinstance(value, dict) else {}


def _host(key: str) -> str:
    host = key.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return "docker.io" if host in ("index.docker.io", "registry-1.docker.io") else host


def _decode(entry: object, path: Path) -> Login | None:
    """Return the login in an entry of an auth file; None if it has none. Raises OcicalibanError if it is malformed."""
    if not isinstance(entry, dict):
        return None
    token = entry.get("identitytoken")
    try:
        user, colon, secret = base64.b64decode(str(entry.get("auth") or ""), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as exc:
        raise OcicalibanError(
            f"the auth file {path} has a login that is not base64", "log in again: podman login"
        ) from exc
    if token:
        return Login(user=user, secret=str(token), source=str(path), is_refresh_token=True)
    if user and not colon:
        raise OcicalibanError(f"the auth file {path} has a login without a password", "log in again: podman login")
    # Docker sometimes pads a password with NUL bytes; podman strips them too.
    return Login(user=user, secret=secret.strip("\0"), source=str(path)) if colon else None


def _ask_helper(helper: object, host: str, file: Path | None, *, unknown_to_tools: bool) -> Login | None:
    """Return the login that docker-credential-HELPER has for a registry; None if it has none.

    `file` is the file that names the helper. The protocol is that of docker-credential-helpers.
    """
    name = f"docker-credential-{helper}"
    if not isinstance(helper, str) or shutil.which(name) is None:
        hint = "install the Google Cloud SDK, which contains it" if helper == "gcloud" else "install it"
        raise OcicalibanError(
            f"{file} names the credential helper {helper!r}, but {name} is not installed",
            f"{hint}, or remove it from the file",
        )
    address = "https://index.docker.io/v1/" if host == "docker.io" else host
    try:
        held = parse_json(process.ask((name, "get"), address, limit=_HELPER_TIMEOUT))
        user, secret = str(held["Username"]), str(held["Secret"])
    except ToolError as exc:
        if "credentials not found" in exc.stderr:
            return None
        raise
    except (ValueError, KeyError, TypeError) as exc:
        raise OcicalibanError(f"{name} returned no login for {host}", f"try it: echo {address} | {name} get") from exc
    if not secret:
        return None
    return Login(
        user=user,
        secret=secret,
        source=name,
        is_refresh_token=user == "<token>",
        unknown_to_tools=unknown_to_tools,
    )


def _google_login(key_file: str) -> Login:
    """Return a login with an access token, which is valid for an hour."""
    try:
        credentials, _ = google_auth.credentials(key_file)
        from google.auth import exceptions
        from google.auth.transport.requests import Request
    except ImportError as exc:
        hint = f"{installation.with_extra('vertex')}, or log in: gcloud auth configure-docker REGION-docker.pkg.dev"
        raise OcicalibanError(
            "no login for Google's registry was found, and google-auth is not installed", hint
        ) from exc
    source = f"the key file {key_file}" if key_file else "the application-default credentials"
    try:
        credentials.refresh(Request())
    except exceptions.TransportError as exc:
        raise OcicalibanError("Google's token service cannot be reached", "check the network connection") from exc
    except exceptions.GoogleAuthError as exc:
        hint = "log in again: gcloud auth application-default login; a key that was deleted must be replaced"
        if key_file:
            hint = "if the key was deleted, create and download a new one"
        if getattr(exc, "retryable", False):
            hint = "try again in a moment"
        raise OcicalibanError(f"Google refuses a token for {source}: {first_line(exc)}", hint) from exc
    return Login(user="oauth2accesstoken", secret=str(credentials.token), source=source, unknown_to_tools=True)


@contextlib.contextmanager
def auth_file(login: Login, repository: Repository) -> Iterator[str]:
    """Yield the path of an auth file for a child process; it exists in memory only, so a kill leaves nothing behind."""
    entry = {"auth": base64.b64encode(f"{login.user}:{login.secret}".encode()).decode()}
    if login.is_refresh_token:
        entry = {"auth": base64.b64encode(f"{login.user}:".encode()).decode(), "identitytoken": login.secret}
    with open(os.memfd_create("auth"), "w") as file:
        json.dump({"auths": {repository.host: entry}}, file)
        file.flush()
        os.set_inheritable(file.fileno(), True)
        yield f"/proc/self/fd/{file.fileno()}"
