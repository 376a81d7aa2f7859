"""Recognise files that hold credentials, by name or by contents (pure). No image may contain one."""

from __future__ import annotations

import re

from ocicaliban.formats.jsonc import parse_json

NAMES = (
    # All of .env.* except .env.example: a `!` would make us search every ignored folder for one.
    *(".env", ".env.[!e]*", ".env.e[!x]*", ".netrc", ".pypirc", ".git-credentials", ".docker/config.json"),
    *(".aws", ".ssh", "id_rsa", "id_ed25519", "application_default_credentials.json"),
)
"""Patterns of file names; folders of data leave these out too, since naming the folder does not mean these files."""

LARGEST = 16384
"""Bytes of the largest file to inspect: no login and no account's key is larger."""


def credential_in(data: bytes) -> str:
    """Return which credential a file with these contents holds, or "" if it holds none.

    Google's key and login files are recognised by their types (AIP-4110), and auth files by the form that
    containers-auth.json(5) describes, which Docker uses too.
    """
    if not re.search(rb'"(?:private_key|refresh_token|auths)"', data):
        return ""
    try:
        held = parse_json(data)
    except ValueError:
        return ""
    if not isinstance(held, dict):
        return ""
    if held.get("private_key") and held.get("type") in ("service_account", "gdch_service_account"):
        return "the private key of a service account"
    if held.get("refresh_token") and held.get("type") in ("authorized_user", "external_account_authorized_user"):
        return "a user's Google login"
    auths = held.get("auths")
    entries = auths.values() if isinstance(auths, dict) else ()
    if any(isinstance(entry, dict) and (entry.get("auth") or entry.get("identitytoken")) for entry in entries):
        return "a registry login"
    return ""
