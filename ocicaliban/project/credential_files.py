"""Recognise files that hold credentials, by name or by contents (pure). No image may contain one.

The rules are our own. detect-secrets is much slower and needs a process of its own, and it reports 23 places in Flask's
sources; these report none. Planning must be fast, and what stops a build must be a credential.
"""

from __future__ import annotations

import codecs
import posixpath
import re
from typing import NamedTuple

from ocicaliban.formats.jsonc import parse_json
from ocicaliban.project import credential_rules

NAMES = (
    # All of .env.* except .env.example: a `!` would make us search every ignored folder for one.
    *(".env", ".env.[!e]*", ".env.e[!x]*", ".netrc", ".pypirc", ".git-credentials", ".docker/config.json"),
    *(".aws", ".ssh", "id_rsa", "id_ed25519", "application_default_credentials.json"),
)
"""Patterns of file names; folders of data leave these out too, since naming the folder does not mean these files."""

SCANNED = 1 << 20
"""Bytes of a file that are searched, from its beginning. Credentials are not at the end of large files."""

_LARGEST_JSON = 16384  # bytes; no login and no account's key is larger
_BINARY = 8192  # bytes in which a NUL shows that a file is no text, as for git


class Credential(NamedTuple):
    """What was found, and in which line (from 1)."""

    what: str
    line: int


def credential_in(data: bytes, path: str = "", *, whole: bool = True) -> Credential | None:
    """Return the first credential in a file's contents; None if it holds none, or is no text.

    `data` is the beginning of the file at `path`, or all of it if it is `whole`.
    """
    data = _as_utf8(data)
    if b"\0" in data[:_BINARY]:
        return None
    if whole and len(data) <= _LARGEST_JSON and (found := _in_json(data)):
        return found
    kind = credential_rules.kind_of(posixpath.basename(path))
    for rule in credential_rules.RULES:
        if any(sign in data for sign in rule.signs):
            for match in rule.pattern.finditer(data):
                if rule.holds(match, kind):
                    return Credential(rule.what, data.count(b"\n", 0, match.start()) + 1)
    for line, what in credential_rules.lines_with_passwords(data, kind):
        return Credential(what, line)
    return None


def _as_utf8(data: bytes) -> bytes:
    """Return a text in UTF-16 or UTF-32, as editors and shells of Windows write it, in UTF-8; other data as it is."""
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace").encode()
    # Without a mark, the letters of most languages' commands have a zero in each pair of bytes, at the same place.
    start = data[: _BINARY & ~1]
    if b"\0" in start:
        for zeros, letters, encoding in (
            (start[1::2], start[::2], "utf-16-le"),
            (start[::2], start[1::2], "utf-16-be"),
        ):
            if zeros.count(0) * 10 >= len(zeros) * 9 and not letters.count(0):
                return data.decode(encoding, "replace").encode()
    return data


_MARKS = {  # the longer ones first: that of UTF-32 begins like that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


def _in_json(data: bytes) -> Credential | None:
    """Return the key or login that a JSON file consists of.

    Google's key and login files are recognised by their types (AIP-4110), and auth files by the form that
    containers-auth.json(5) describes, which Docker uses too.
    """
    sign = re.search(rb'"(?:private_key|refresh_token|auths)"', data)
    if not sign:
        return None
    try:
        held = parse_json(data)
    except ValueError:
        return None
    if not isinstance(held, dict):
        return None
    what = ""
    auths = held.get("auths")
    entries = auths.values() if isinstance(auths, dict) else ()
    if held.get("private_key") and held.get("type") in ("service_account", "gdch_service_account"):
        what = "the private key of a service account"
    elif held.get("refresh_token") and held.get("type") in ("authorized_user", "external_account_authorized_user"):
        what = "a user's Google login"
    elif any(isinstance(entry, dict) and (entry.get("auth") or entry.get("identitytoken")) for entry in entries):
        what = "a registry login"
    return Credential(what, data.count(b"\n", 0, sign.start()) + 1) if what else None
