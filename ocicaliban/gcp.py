"""How Google's services are reached: with whose credentials, and at which address."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ocicaliban import pace
from ocicaliban.errors import OcicalibanError, UsageError

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


def quieten() -> None:
    """Settings of gRPC, to be made before it is imported."""
    # It writes what it notices of connections to stderr, beside what it raises.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Its way to go on in a forked child waits for its threads, at times for ever. Our children become tools at once.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")


def credentials(key_file: str = "") -> tuple[Any, str]:
    """The user's application-default credentials, or those of a key file, and the project that they are of ("": none).

    Raises OcicalibanError where there are no credentials or they are none, and ImportError without Google's library.
    """
    quieten()
    import google.auth
    from google.auth.exceptions import GoogleAuthError
    from google.oauth2 import service_account

    try:
        if given := key_file or os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", ""):
            check_file(given)
        if key_file:
            own = service_account.Credentials.from_service_account_file(key_file, scopes=[_SCOPE])
            return own, own.project_id or ""
        found, project = google.auth.default(scopes=[_SCOPE])
        return found, project or ""
    except (GoogleAuthError, ValueError, OSError) as exc:
        where = key_file or os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")
        if where:
            hint = "download the key anew, and name it by --cloud-key or GOOGLE_APPLICATION_CREDENTIALS"
            raise OcicalibanError(f"{where} gives no credentials: {_first_line(exc)}", hint) from exc
        raise OcicalibanError("there are no Google credentials", pace.LOG_IN) from exc


def check_file(path: str) -> None:
    """Raise ValueError where a file of credentials is not of the form of one, which the library would stumble over."""
    try:
        held = json.loads(Path(path).read_bytes())
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


def _first_line(exc: Exception) -> str:
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    return (str(exc.args[0] if exc.args else exc).splitlines() or [type(exc).__name__])[0]
