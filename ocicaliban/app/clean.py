"""Remove images that ocicaliban made."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping

from ocicaliban.app.requests import CleanRequest
from ocicaliban.build import prune
from ocicaliban.containers import image_store, workspace
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.jobs import provenance
from ocicaliban.model.image import Image
from ocicaliban.reporter import TERMINAL
from ocicaliban.targets import registry

_AGE = re.compile(r"(\d+)([dh])")


def clean(request: CleanRequest, removed: Callable[[str], None]) -> None:
    """Remove images; `removed` gets a line for each of them, and one for the bytes that were freed.

    Images stay that a container was made from, or that jobs wait for. Raises UsageError if the request names none.
    """
    if not (request.older_than or request.unused or request.all_):
        raise UsageError("say what to remove", "--unused, --older-than 30d, or --all")
    limit = time.time() - _seconds(request.older_than) if request.older_than else None
    workspace.remove_leftovers()
    in_use = image_store.images_in_containers()
    wanted = prune.in_last_builds() if request.unused else lambda _: False
    awaited = _awaited()

    def stays(image: Image) -> bool:
        young = limit is not None and image_store.last_used(image.id) > limit
        return image.id in in_use or image.id in awaited or young or wanted(image)

    prune.remove(stays, dry_run=request.dry_run, out=removed, reporter=TERMINAL)


def _seconds(age: str) -> int:
    """Return an age such as 30d or 12h in seconds. Raises UsageError if it has another form."""
    match = _AGE.fullmatch(age)
    if match is None:
        raise UsageError(f"--older-than '{age}' is not an age", "for example 30d or 12h")
    return int(match[1]) * (86400 if match[2] == "d" else 3600)


def _awaited() -> Mapping[str, frozenset[str]]:
    """Return the images (ids) that jobs wait for, with the names of their groups, and tell the user of each group."""
    from ocicaliban.history import access

    try:
        if not access.exists():
            return {}
        with access.open(reporter=TERMINAL) as history:
            found = history.unfinished_images(
                user=provenance.user(), host=provenance.host(), targets=registry.with_images_in_store()
            )
    except OcicalibanError as fault:
        TERMINAL.note(f"cannot tell which images jobs wait for: {fault.message}")
        return {}
    for group in sorted(set().union(*found.values())):
        then = f"ocicaliban resume {group}, or stop --group {group}"
        TERMINAL.note(f"jobs of {group} wait for their image, so it stays: {then}")
    return found
