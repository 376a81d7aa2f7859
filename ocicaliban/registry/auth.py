"""Where the login of a registry is found: the auth files and helpers that podman knows, and Google's credentials.

The order of the files and their keys are those of containers-auth.json(5).
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
from ocicaliban.registry import tls
from ocicaliban.registry.repository import Repository
from ocicaliban.system import process

_HELPER_PATIENCE = 30.0  # seconds; some ask a service


@frozen(kw_only=True)
class Login:
    """Who we are to a registry, and where that was found.

    An `identity` is a refresh token in the password's place. What is `ours` only we have found: a tool has to be told.
    """

    user: str
    secret: str = field(repr=False)
    source: str
    identity: bool = False
    ours: bool = False


def find(repository: Repository, *, key_file: str = "", environ: Mapping[str, str] = os.environ) -> Login | None:
    """The login for a repository; None where there is none, which some registries want.

    For one of Google's that no auth file has, an access token is made of the service account's `key_file`, or else of
    the application-default credentials; a `key_file` that is given goes before the auth files. Raises OcicalibanError
    where a file or helper that shall have a login cannot be read, or Google gives no token.
    """
    if repository.google and key_file:
        return _google(key_file)
    for helper in tls.credential_helpers(environ):
        if helper.file is not None:
            if found := _ask_helper(helper.name, repository.host, helper.file, ours=False):
                return found
            continue
        for path in auth_files(environ):
            if found := _in_file(path, repository):
                return found
    return _google("") if repository.google else None


def auth_files(environ: Mapping[str, str]) -> Iterator[Path]:
    """The auth files in the order in which they are asked."""
    if named := environ.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
        return
    home = Path(environ.get("HOME") or Path.home())
    runtime = environ.get("XDG_RUNTIME_DIR")
    yield Path(runtime, "containers/auth.json") if runtime else Path(f"/run/containers/{os.getuid()}/auth.json")
    yield Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "containers/auth.json"
    yield Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json"


def _in_file(path: Path, repository: Repository) -> Login | None:
    try:
        held = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not JSON"
        raise OcicalibanError(f"the auth file {path} cannot be read: {why}", "mend it, or log in anew") from exc
    if not isinstance(held, dict) or not isinstance(held.get("auths", {}), dict):
        raise OcicalibanError(f"{path} is JSON, but no auth file", "mend it, or log in anew")
    if helper := _table(held, "credHelpers").get(repository.host):
        return _ask_helper(helper, repository.host, path, ours=False)
    auths = _table(held, "auths")
    for key in namespaces(repository):
        if found := _decoded(auths.get(key), path):
            return found
    # Docker writes addresses, as https://index.docker.io/v1/.
    for key, entry in auths.items():
        if _host(key) == _host(repository.host) and (found := _decoded(entry, path)):
            return found
    if helper := held.get("credsStore"):
        return _ask_helper(helper, repository.host, path, ours=True)
    return None


def namespaces(repository: Repository) -> Iterator[str]:
    """The keys of a repository in an auth file, the narrowest first."""
    whole = str(repository)
    while whole:
        yield whole
        whole = whole.rpartition("/")[0]


def _table(held: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = held.get(name)
    return value if isinstance(value, dict) else {}


def _host(key: str) -> str:
    host = key.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return "docker.io" if host in ("index.docker.io", "registry-1.docker.io") else host


def _decoded(entry: object, path: Path) -> Login | None:
    if not isinstance(entry, dict):
        return None
    token = entry.get("identitytoken")
    try:
        user, colon, secret = base64.b64decode(str(entry.get("auth") or ""), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as exc:
        raise OcicalibanError(
            f"the auth file {path} has a login that is no base64", "log in anew: podman login"
        ) from exc
    if token:
        return Login(user=user, secret=str(token), source=str(path), identity=True)
    if user and not colon:
        raise OcicalibanError(f"the auth file {path} has a login without a password", "log in anew: podman login")
    # Docker ends a password with zeros at times, as podman knows.
    return Login(user=user, secret=secret.strip("\0"), source=str(path)) if colon else None


def _ask_helper(helper: object, host: str, file: Path | None, *, ours: bool) -> Login | None:
    """What docker-credential-HELPER, which a `file` names, has for a registry.

    The protocol is that of docker-credential-helpers.
    """
    name = f"docker-credential-{helper}"
    if not isinstance(helper, str) or shutil.which(name) is None:
        hint = "gcloud brings it: install Google Cloud's SDK" if helper == "gcloud" else "install it"
        raise OcicalibanError(
            f"{file} names the credential helper {helper!r}, and there is no {name}",
            f"{hint}, or take it out of the file",
        )
    address = "https://index.docker.io/v1/" if host == "docker.io" else host
    try:
        held = json.loads(process.ask((name, "get"), address, limit=_HELPER_PATIENCE))
        user, secret = str(held["Username"]), str(held["Secret"])
    except ToolError as exc:
        if "credentials not found" in exc.stderr:
            return None
        raise
    except (ValueError, KeyError, TypeError) as exc:
        raise OcicalibanError(f"{name} gave no login for {host}", f"try it: echo {address} | {name} get") from exc
    return Login(user=user, secret=secret, source=name, identity=user == "<token>", ours=ours) if secret else None


def _google(key_file: str) -> Login:
    """A login with an access token, which lives for an hour."""
    try:
        held, _ = google_auth.credentials(key_file)
        from google.auth import exceptions
        from google.auth.transport.requests import Request
    except ImportError as exc:
        hint = "pip install 'ocicaliban[vertex]', or log in: gcloud auth configure-docker REGION-docker.pkg.dev"
        raise OcicalibanError(
            "there is no login for Google's registry, and google-auth is not installed", hint
        ) from exc
    source = f"the key file {key_file}" if key_file else "the application-default credentials"
    try:
        held.refresh(Request())
    except exceptions.TransportError as exc:
        raise OcicalibanError("Google's token service cannot be reached", "is there a way to the internet?") from exc
    except exceptions.GoogleAuthError as exc:
        hint = "log in anew: gcloud auth application-default login; or has the key been deleted?"
        if key_file:
            hint = "has the key been deleted? download a new one"
        if getattr(exc, "retryable", False):
            hint = "it may pass: try again in a moment"
        raise OcicalibanError(f"Google gives no token for {source}: {first_line(exc)}", hint) from exc
    return Login(user="oauth2accesstoken", secret=str(held.token), source=source, ours=True)


@contextlib.contextmanager
def auth_file(login: Login, repository: Repository) -> Iterator[str]:
    """The path of an auth file for a tool that we start: in memory alone, so that a kill leaves nothing behind."""
    entry = {"auth": base64.b64encode(f"{login.user}:{login.secret}".encode()).decode()}
    if login.identity:
        entry = {"auth": base64.b64encode(f"{login.user}:".encode()).decode(), "identitytoken": login.secret}
    with open(os.memfd_create("auth"), "w") as file:
        json.dump({"auths": {repository.host: entry}}, file)
        file.flush()
        os.set_inheritable(file.fileno(), True)
        yield f"/proc/self/fd/{file.fileno()}"
