"""The command clean: removes what ocicaliban made, and nothing else."""

from __future__ import annotations

import re
import sys
import time
from typing import Annotated

import typer

from ocicaliban.errors import UsageError

_AGE = re.compile(r"(\d+)([dh])")


def _seconds(age: str) -> int:
    match = _AGE.fullmatch(age)
    if match is None:
        raise UsageError(f"'{age}' is not an age", "for example 30d or 12h")
    return int(match[1]) * (86400 if match[2] == "d" else 3600)


def clean(
    older_than: Annotated[str, typer.Option("--older-than", help="What was not used for this long: 30d, 12h.")] = "",
    all_: Annotated[bool, typer.Option("--all", help="Everything that ocicaliban made.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "--dry_run", help="Only print what would be removed.")] = False,
) -> None:
    """Remove images that ocicaliban made: all of them, or those not used for a while."""
    from ocicaliban import proc, store, workplace

    if not older_than and not all_:
        raise UsageError("say what to remove", "--older-than 30d, or --all")
    limit = time.time() - _seconds(older_than) if older_than else None
    workplace.sweep()
    sizes = store.image_sizes()
    # Newest first: an image can only be removed after those that stand on it.
    for image in reversed(store.images()):
        ours = [name for name in image.names if name.startswith(store.PREFIX)]
        if not ours or (limit is not None and store.last_used(image.id) > limit):
            continue
        print(f"{ours[0]}  {sizes.get(image.id, 0) / 1e6:.1f} MB")
        if not dry_run:
            # Names are taken away one by one: an image that a user named as well, or that a container
            # or another image stands on, stays.
            for name in ours:
                if not proc.ok(("podman", "untag", image.id, name)):
                    print(f"{name} cannot be untagged", file=sys.stderr)
            if len(ours) == len(image.names):
                proc.ok(("podman", "image", "rm", image.id))
