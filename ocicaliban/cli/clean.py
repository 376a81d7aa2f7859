"""The command clean: removes what ocicaliban made, and nothing else."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.reporter import TERMINAL

if TYPE_CHECKING:
    from ocicaliban.model.image import Image

_AGE = re.compile(r"(\d+)([dh])")


def _seconds(age: str) -> int:
    match = _AGE.fullmatch(age)
    if match is None:
        raise UsageError(f"'{age}' is not an age", "for example 30d or 12h")
    return int(match[1]) * (86400 if match[2] == "d" else 3600)


def clean(
    older_than: Annotated[str, typer.Option("--older-than", help="What was not used for this long: 30d, 12h.")] = "",
    unused: Annotated[bool, typer.Option("--unused", help="All but what was built last of each project.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Everything that ocicaliban made.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "--dry_run", help="Only print what would be removed.")] = False,
) -> None:
    """Remove images that ocicaliban made: all of them, the unused, or those not used for a while.

    An image stays that you gave a name of your own, that a container was made from, that queued jobs are of, or on
    which another image stands.
    """
    from ocicaliban.build import prune
    from ocicaliban.containers import image_store, workspace

    if not (older_than or unused or all_):
        raise UsageError("say what to remove", "--unused, --older-than 30d, or --all")
    limit = time.time() - _seconds(older_than) if older_than else None
    workspace.remove_leftovers()
    busy = image_store.images_in_containers()
    wanted = prune.in_last_builds() if unused else lambda _: False
    awaited = _awaited()

    def stays(image: Image) -> bool:
        young = limit is not None and image_store.last_used(image.id) > limit
        return image.id in busy or image.id in awaited or young or wanted(image)

    prune.remove(stays, dry_run=dry_run, out=print, reporter=TERMINAL)


def _awaited() -> Mapping[str, frozenset[str]]:
    """The images (ids) that jobs wait for, with the names of their groups; each is told."""
    from ocicaliban.history import access
    from ocicaliban.jobs import provenance
    from ocicaliban.targets import registry

    try:
        if not access.exists():
            return {}
        with access.open(reporter=TERMINAL) as known:
            targets = registry.with_images_in_store()
            found = known.unfinished_images(user=provenance.user(), host=provenance.host(), targets=targets)
    except OcicalibanError as fault:
        TERMINAL.note(f"{fault.message}, so that jobs that wait for an image are not known")
        return {}
    for group in sorted(set().union(*found.values())):
        then = f"ocicaliban resume {group}, or stop --group {group}"
        TERMINAL.note(f"jobs of {group} wait for their image, which stays: {then}")
    return found
