"""How Google's services are reached: with whose credentials, and at which address."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ocicaliban.errors import OcicalibanError, UsageError, first_line
from ocicaliban.targets.vertex import rate_limit

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


def quieten() -> None:
    """Settings of gRPC and google-auth, to be made before they are imported."""
    # It writes what it notices of connections to stderr, beside what it raises.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Its way to go on in a forked child waits for its threads, at times for ever. Our children become tools at once.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    # Without credentials google-auth asks whether this is one of Google's machines, by default three times for 3 s.
    os.environ.setdefault("GCE_METADATA_DETECT_RETRIES", "1")


def credentials(key_file: str = "") -> tuple[Any, str]:
    """The user's application-default credentials, or those of a key file, and the project that they are of ("": none).

    Raises OcicalibanError where there are no credentials or they are none, and ImportError without Google's library.
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
    """The file with the credentials that count: a key file, the one that is named by the environment, or gcloud's.

    Empty where there is none, which on Google's own machines is right.
    """
    if given := key_file or environ.get("GOOGLE_APPLICATION_CREDENTIALS", ""):
        return given
    folder = environ.get("CLOUDSDK_CONFIG") or Path(environ.get("HOME") or Path.home(), ".config/gcloud")
    login = Path(folder, "application_default_credentials.json")
    return str(login) if login.exists() else ""


def recorded(key_file: object) -> str:
    """The key file that a job was submitted with; nothing where that is gone, and the user's own credentials count."""
    return str(key_file) if key_file and os.path.lexists(str(key_file)) else ""


def unusable(exc: Exception, key_file: str = "") -> OcicalibanError:
    """Why the credentials that count are none, with what to do."""
    where = file(key_file)
    if not where:
        return OcicalibanError("there are no Google credentials", rate_limit.LOG_IN)
    named = key_file or os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    hint = (
        "download the key anew, and name it by --cloud-key or GOOGLE_APPLICATION_CREDENTIALS"
        if named
        else rate_limit.LOG_IN
    )
    if isinstance(exc, PermissionError):
        hint = f"make it readable to you: chmod u+r {shlex.quote(where)}"
    elif isinstance(exc, FileNotFoundError):
        hint = "name a file that is there: --cloud-key, or GOOGLE_APPLICATION_CREDENTIALS"
    return OcicalibanError(f"{where} gives no credentials: {first_line(exc)}", hint)


def check_form(key_file: str = "") -> None:
    """Raise ValueError or OSError where the file of credentials that counts is not of the form of one.

    The library would stumble over it.
    """
    if not (where := file(key_file)):
        return
    try:
        held = json.loads(Path(where).read_bytes())
    except ValueError as exc:
        raise ValueError("it is no JSON") from exc
    if not isinstance(held, dict) or "type" not in held:
        raise ValueError("it is JSON, but no key or login of Google's")


def endpoint(api: str, usual: str, given: str = "", environ: Mapping[str, str] = os.environ) -> str:
    """The host and port of a service: what is `given`, else gcloud's own override for that `api`, else the usual one.

    Raises UsageError for an address without TLS, over which no credential goes.
    """
    # A private network needs another endpoint.
    override = f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}"
    address = given or environ.get(override, "")
    if address.startswith("http://"):
        raise UsageError(f"{address}: no credential is sent without TLS", f"https://..., here or in {override}")
    return address.removeprefix("https://").rstrip("/") or usual
