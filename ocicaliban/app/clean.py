"""Remove images and folders that ocicaliban made."""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Callable, Mapping

from ocicaliban.app.requests import CleanRequest
from ocicaliban.build import folder_store, mounted_folders, prune
from ocicaliban.containers import image_store, workspace
from ocicaliban.dependencies.apt import fetch as debian_packages
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.formats.text import amount
from ocicaliban.jobs import provenance
from ocicaliban.model.image import Image
from ocicaliban.reporter import TERMINAL
from ocicaliban.targets import registry

_AGE = re.compile(r"(\d+)([dh])")


def clean(request: CleanRequest, removed: Callable[[str], None]) -> None:
    """Remove images, and folders that containers mount; `removed` gets a line for each, and one for the bytes freed.

    Debian packages of locks go too, unless only the unused images do: nobody knows whether a project needs them. What a
    container was made from, or what jobs wait for, stays. Raises UsageError if the request names nothing.
    """
    if not (request.older_than or request.unused or request.all_):
        raise UsageError("say what to remove", "--unused, --older-than 30d, or --all")
    limit = time.time() - _seconds(request.older_than) if request.older_than else None
    workspace.remove_leftovers()
    in_use = image_store.images_in_containers()
    wanted = prune.in_last_builds() if request.unused else lambda _: False
    recent = prune.folders_of_last_builds() if request.unused else frozenset()
    awaited, kept = _awaited()

    def stays(image: Image) -> bool:
        young = limit is not None and image_store.last_used(image.id) > limit
        return image.id in in_use or image.id in awaited or young or wanted(image)

    def folder_stays(key: str) -> bool:
        return key in kept or key in recent or (limit is not None and image_store.last_used(key) > limit)

    freed = prune.remove(stays, dry_run=request.dry_run, out=removed, reporter=TERMINAL)
    freed += mounted_folders.remove(folder_stays, dry_run=request.dry_run, out=removed)
    if limit is not None or request.all_:
        freed += _remove_packages(math.inf if limit is None else limit, request.dry_run, removed)
    removed(f"{amount(freed)} {'would be ' if request.dry_run else ''}freed")


def _remove_packages(since: float, dry_run: bool, removed: Callable[[str], None]) -> int:
    """Remove the Debian packages in the cache that were not used since a time; return the bytes freed."""
    going, freed = debian_packages.unused(since), 0
    for path in going:
        with contextlib.suppress(FileNotFoundError):
            freed += path.stat().st_size
            if not dry_run:
                path.unlink()
    if going:
        removed(f"{going[0].parent}  {len(going)} Debian package{'s' if len(going) > 1 else ''}, {amount(freed)}")
    return freed


def _seconds(age: str) -> int:
    """Return an age such as 30d or 12h in seconds. Raises UsageError if it has another form."""
    match = _AGE.fullmatch(age)
    if match is None:
        raise UsageError(f"--older-than '{age}' is not an age", "for example 30d or 12h")
    return int(match[1]) * (86400 if match[2] == "d" else 3600)


def _awaited() -> tuple[Mapping[str, frozenset[str]], frozenset[str]]:
    """Return the images (ids) that jobs wait for, with their groups, and the keys of folders; tell the user of each.

    If the history cannot be read, all folders are among them: unlike an image, a folder of files that have been edited
    since cannot be made again.
    """
    from ocicaliban.history import access

    try:
        if not access.exists():
            return {}, frozenset()
        with access.open(reporter=TERMINAL) as history:
            user, host, targets = provenance.user(), provenance.host(), registry.with_images_in_store()
            found = history.unfinished_images(user=user, host=host, targets=targets)
            launches = history.unfinished_launches(user=user, host=host, targets=targets)
    except OcicalibanError as fault:
        TERMINAL.note(f"cannot tell which images jobs wait for: {fault.message}")
        return {}, frozenset(mounted_folders.keys())
    for group in sorted(set().union(*found.values())):
        then = f"ocicaliban resume {group}, or stop --group {group}"
        TERMINAL.note(f"jobs of {group} wait for their image, so it stays: {then}")
    return found, folder_store.held_by(mount for launch in launches for mount in launch.mounts)
