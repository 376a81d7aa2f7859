"""How to reach Google's services: with which credentials, and at which address."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ocicaliban.errors import OcicalibanError, UsageError, first_line
from ocicaliban.formats.jsonc import parse_json

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"

LOG_IN = "gcloud auth application-default login, or --cloud-key FILE with a service account's key"
"""How to get credentials."""

_NO_TOKEN = "Getting metadata from plugin failed"
"""gRPC's words if google-auth cannot get a token for the credentials."""

_NOT_REACHED = re.compile(
    "ConnectionPool|Connection aborted|Max retries|timed out|RemoteDisconnected|Temporary failure", re.I
)
"""The words of requests, by which google-auth asks for tokens, if the token service does not answer."""


def quieten() -> None:
    """Set what keeps gRPC and google-auth quiet. Call this before they are imported."""
    # gRPC writes about connections to stderr, beside the errors that it raises.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # In a forked child gRPC waits for its threads, sometimes forever. Our children become tools at once.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    # Without credentials google-auth asks whether this is one of Google's machines, by default three times for 3 s.
    os.environ.setdefault("GCE_METADATA_DETECT_RETRIES", "1")


def credentials(key_file: str = "") -> tuple[Any, str]:
    """Return the credentials of a key file, or else the application-default ones, and their project ("": none).

    Raises OcicalibanError if there are no credentials or they are malformed, and ImportError without Google's library.
    """
    quieten()
    import google.auth
    from google.auth.exceptions import GoogleAuthError
    from google.oauth2 import service_account

    try:
        check_form(key_file)
        if key_file:
            own = service_account.Credentials.from_service_account_file(key_file, scopes=[_SCOPE])
            return own, own.project_id or ""
        found, project = google.auth.default(scopes=[_SCOPE])
        return found, project or ""
    except (GoogleAuthError, ValueError, OSError) as exc:
        raise unusable(exc, key_file) from exc


def file(key_file: str = "", environ: Mapping[str, str] = os.environ) -> str:
    """Return the file with the credentials: the key file, the one that the environment names, or gcloud's.

    Return "" if there is none. On Google's own machines none is needed.
    """
    if given := key_file or environ.get("GOOGLE_APPLICATION_CREDENTIALS", ""):
        return given
    folder = environ.get("CLOUDSDK_CONFIG") or Path(environ.get("HOME") or Path.home(), ".config/gcloud")
    login = Path(folder, "application_default_credentials.json")
    return str(login) if login.exists() else ""


def recorded(key_file: object) -> str:
    """Return the key file that a job was submitted with, or "" if it is gone; then use the user's own credentials."""
    return str(key_file) if key_file and os.path.lexists(str(key_file)) else ""


def no_login(message: str) -> str:
    """Return why google-auth gets no token for the credentials, if this message of gRPC says so; else "".

    A token service that did not answer is no such reason: it may answer the next time.
    """
    if _NO_TOKEN not in message or _NOT_REACHED.search(message):
        return ""
    return message.partition("with error: ")[2] or message


def login_failed(why: str, before: str = "") -> OcicalibanError:
    """Return the error for credentials that Google rejects; `before` says what was done until then."""
    return OcicalibanError(f"Google rejects the credentials{before}: {why}", LOG_IN)


def unusable(exc: Exception, key_file: str = "") -> OcicalibanError:
    """Return the error for credentials that cannot be used, with what to do."""
    where = file(key_file)
    if not where:
        return OcicalibanError("there are no Google credentials", LOG_IN)
    if isinstance(exc, PermissionError):
        hint = f"make it readable to you: chmod u+r {shlex.quote(where)}"
    elif isinstance(exc, FileNotFoundError):
        hint = "name an existing file: --cloud-key, or GOOGLE_APPLICATION_CREDENTIALS"
    elif key_file or os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        hint = "download the key again, and name it by --cloud-key or GOOGLE_APPLICATION_CREDENTIALS"
    else:
        hint = LOG_IN
    return OcicalibanError(f"{where} holds no usable credentials: {first_line(exc)}", hint)


def check_form(key_file: str = "") -> None:
    """Raise ValueError or OSError if the file with the credentials is malformed, since the library would crash."""
    if not (where := file(key_file)):
        return
    try:
        held = parse_json(Path(where).read_bytes())
    except ValueError as exc:
        raise ValueError("it is not JSON") from exc
    if not isinstance(held, dict) or "type" not in held:
        raise ValueError("it is JSON, but neither a key nor a login of Google's")


def endpoint(api: str, usual: str, given: str = "", environ: Mapping[str, str] = os.environ) -> str:
    """Return the host and port of a service: `given`, else gcloud's own override for that `api`, else `usual`.

    Raises UsageError for an address without TLS: credentials must not be sent to it.
    """
    # A private network needs another endpoint.
    override = f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}"
    address = given or environ.get(override, "")
    if address.startswith("http://"):
        raise UsageError(f"{address}: credentials are not sent without TLS", f"write https://... here or in {override}")
    return address.removeprefix("https://").rstrip("/") or usual
