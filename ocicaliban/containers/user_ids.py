"""Decide how many user ids a rootless container of this user can have: its sub-ids, or only the user's own.

podman maps the root of a container to the user outside, and all other ids to the user's sub-ids. Clusters often give
users no sub-ids, or lack newuidmap, which maps them. Then a container has one uid: files cannot have other owners.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from ocicaliban.system import files, process

Mode = Literal["sub-ids", "one uid", "one uid without newuidmap"]

_DIGITS = re.compile("[0-9]{1,10}")
_DIRECTORY = re.compile(r"^subid:(?!\s*files\s*(#|$))", re.M)
_TRUSTED = 86_400.0
"""Seconds for which the answer of a directory service about sub-ids is believed: asking it starts a process."""
_EMPTY_TRUSTED = 3_600.0
"""The same if it names none: getsubids says no more than that when the service is down."""


class Facts(NamedTuple):
    """What decides: the texts of /etc/subuid and /etc/subgid, or the same from a directory service, and the tools.

    `tools` is whether newuidmap and newgidmap are there and may map ids: as setuid programs, or with a capability.
    """

    user: str
    uid: int
    subuid: str
    subgid: str
    tools: bool


def decide(facts: Facts) -> Mode:
    """Return what applies to a user; root is as good as a user with sub-ids. Pure."""
    if facts.uid == 0:
        return "sub-ids"
    if not facts.tools:
        return "one uid without newuidmap"
    ranges = (subid_count(text, facts.user, facts.uid) for text in (facts.subuid, facts.subgid))
    return "sub-ids" if all(ranges) else "one uid"


def subid_count(text: str, user: str, uid: int) -> int:
    """Return how many ids a text in the form of /etc/subuid gives to a user; lines that are not valid give none."""
    count = 0
    for line in text.splitlines():
        parts = line.strip().split(":")
        if len(parts) == 3 and parts[0] in (user, str(uid)) and all(map(_DIGITS.fullmatch, parts[1:])):
            count += int(parts[2])
    return count


@functools.cache
def mode() -> Mode:
    """Return what applies to this user on this machine. It is read once."""
    uid = os.geteuid()
    if uid == 0:
        return "sub-ids"
    return decide(read_facts(user_name(uid), uid))


def one_uid() -> bool:
    """Return whether containers of this user have one uid."""
    return mode() != "sub-ids"


def described() -> str:
    """Return a line for a user whose containers have one uid, "" for others."""
    why = {"one uid": "no sub-ids", "one uid without newuidmap": "no newuidmap"}.get(mode())
    return f"user: containers have one uid ({why}; see `ocicaliban doctor`)" if why else ""


def read_facts(user: str, uid: int, *, fresh: bool = False) -> Facts:
    """Read the facts about a user; a `fresh` look asks a directory service again, if one knows the sub-ids."""
    tools = all(_maps_ids(name) for name in ("newuidmap", "newgidmap"))
    subuid, subgid = subid_texts(user, fresh=fresh) if tools else ("", "")
    return Facts(user=user, uid=uid, subuid=subuid, subgid=subgid, tools=tools)


def subid_texts(user: str, *, fresh: bool = False) -> tuple[str, str]:
    """Return /etc/subuid and /etc/subgid, or what a directory service says in the same form."""
    texts = _text(Path("/etc/subuid")), _text(Path("/etc/subgid"))
    if _DIRECTORY.search(_text(Path("/etc/nsswitch.conf"))) and process.on_path("getsubids"):
        return _from_service(user, fresh=fresh) or texts
    return texts


def _from_service(user: str, *, fresh: bool) -> tuple[str, str] | None:
    """Return what the directory service says (SSSD, LDAP); None if it does not answer."""
    from ocicaliban.formats.jsonc import parse_json  # most users have no directory service

    memo = files.cache() / "subids.json"
    try:
        known: Mapping[str, object] = parse_json(memo.read_text())
        current = known["version"] == 1 and known["user"] == user
        trusted = _TRUSTED if known["subuid"] else _EMPTY_TRUSTED
        if current and not fresh and 0 <= time.time() - memo.stat().st_mtime < trusted:
            return str(known["subuid"]), str(known["subgid"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    said = tuple(_ranges(process.output(("getsubids", *options, user))) for options in ((), ("-g",)))
    with contextlib.suppress(OSError):
        files.keep(memo, json.dumps({"version": 1, "user": user, "subuid": said[0], "subgid": said[1]}))
    return said[0], said[1]


def _ranges(said: str) -> str:
    """Return what getsubids prints ("0: jane 100000 65536") in the form of /etc/subuid."""
    return "\n".join(":".join(line.split()[1:]) for line in said.splitlines())


def _maps_ids(name: str) -> bool:
    path = process.on_path(name)
    if path is None:
        return False
    try:
        setuid = os.stat(path).st_mode & 0o4000 and os.stat(path).st_uid == 0
        return bool(setuid) or "security.capability" in os.listxattr(path)
    except OSError:
        return False


def user_name(uid: int) -> str:
    """Return the name of a user, or the uid in digits if it has none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
