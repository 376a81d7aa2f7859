"""Check the user: not root, with ranges of subordinate ids and a runtime folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

from ocicaliban.containers import user_ids
from ocicaliban.doctor.finding import Finding

SUBIDS = 65534
"""With this many ids and the user's own, an image can use all ids up to that of nobody, 65534."""


def not_root(uid: int) -> Finding:
    """Check that the user is not root."""
    if uid:
        return Finding(name="user", level="ok", message=f"an ordinary user (uid {uid})")
    return Finding(
        name="user",
        level="warning",
        message="running as root: ocicaliban needs no root, and root's images are separate from your own user's",
        remedy="run it as an ordinary user, without sudo",
    )


def ids(facts: user_ids.Facts) -> tuple[Finding, ...]:
    """Tell how many ids a container of the user can have, and check the sub-ids if it can have several."""
    mode = user_ids.decide(facts)
    user, uid = facts.user, facts.uid
    if mode == "sub-ids":
        if not uid:
            return (Finding(name="ids", level="ok", message="root needs no sub-ids"),)
        checked = subids("subuid", facts.subuid, user, uid), subids("subgid", facts.subgid, user, uid)
        if poor := tuple(finding for finding in checked if finding.level != "ok"):
            return poor
        return (Finding(name="ids", level="ok", message=f"sub-ids: {checked[0].message}"),)
    why = f"{user} has no sub-ids" if mode == "one uid" else "newuidmap and newgidmap are not there, or not setuid"
    more = (
        f"`usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}`, with a range that is free"
        if mode == "one uid"
        else "`apt install uidmap`, or `dnf install shadow-utils`"
    )
    return (
        Finding(
            name="ids",
            level="ok",
            message=f"{mode}: {why}. Everything works; in layers of Debian packages all files belong to root. "
            f"To have the owners too, an administrator runs {more}",
        ),
    )


def subids(name: Literal["subuid", "subgid"], text: str, user: str, uid: int) -> Finding:
    """Check that /etc/subuid or /etc/subgid, whose text is given, has a large enough range for the user."""
    if uid == 0:
        return Finding(name=name, level="ok", message="root needs no range")
    count = user_ids.subid_count(text, user, uid)
    if count >= SUBIDS:
        return Finding(name=name, level="ok", message=f"{count} ids for {user}")
    has = f"only {count} ids, fewer than {SUBIDS}" if count else "no range of ids"
    return Finding(
        name=name,
        level="error",
        message=f"{user} has {has}: images with files of several users cannot be unpacked",
        remedy=f"sudo usermod --add-{name}s 100000-165535 {user} (use a range that no other line of /etc/{name} has), "
        "then `podman system migrate`",
    )


def runtime_dir(environ: Mapping[str, str], uid: int) -> Finding:
    """Check that XDG_RUNTIME_DIR is a folder of the user."""
    name = "XDG_RUNTIME_DIR"
    value = environ.get(name, "")
    if not value:
        if uid == 0:
            return Finding(name=name, level="ok", message="not set; root does not need it")
        return Finding(
            name=name,
            level="warning",
            message="not set: podman keeps its running state under /run/user or /tmp",
            remedy=f"log in with ssh instead of su, run `loginctl enable-linger`, or export {name}=/run/user/{uid}",
        )
    remedy = f"unset {name}, or set it to a folder of yours with mode 700"
    try:
        owner = os.stat(value).st_uid
    except OSError as error:
        message = f"{value} is set, but cannot be used: {error.strerror}"
        return Finding(name=name, level="error", message=message, remedy=remedy)
    if not os.path.isdir(value):
        return Finding(name=name, level="error", message=f"{value} is not a folder", remedy=remedy)
    if owner != uid:
        message = f"{value} belongs to uid {owner}, not to you (uid {uid})"
        return Finding(name=name, level="error", message=message, remedy=remedy)
    return Finding(name=name, level="ok", message=value)
