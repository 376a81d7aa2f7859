"""The command clean: removes what ocicaliban made, and nothing else."""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import typer

from ocicaliban import proc, record, render, store, workplace
from ocicaliban.errors import UsageError
from ocicaliban.model import Image

_AGE = re.compile(r"(\d+)([dh])")


def _seconds(age: str) -> int:
    match = _AGE.fullmatch(age)
    if match is None:
        raise UsageError(f"'{age}' is not an age", "for example 30d or 12h")
    return int(match[1]) * (86400 if match[2] == "d" else 3600)


def _wanted() -> Callable[[Image], bool]:
    """Tells the images that what was built last of some project and mode consists of."""
    records = record.newest()
    names = {store.name_for(name, key) for each in records for name, key in each.keys.items()}
    bases = {each.base for each in records}
    return lambda image: image.digest in bases or not names.isdisjoint(image.names)


def removable(
    images: Sequence[Image], chains: Mapping[str, Mapping[str, int]], stays: Callable[[Image], bool]
) -> tuple[Image, ...]:
    """The images that nothing needs, newest first: ours, which may go, and on which no image that stays stands. Pure.

    `chains` are the layers of each image.
    """
    going = [
        image
        for image in images
        if image.names and all(name.startswith(store.PREFIX) for name in image.names) and not stays(image)
    ]
    while True:
        ids = {image.id for image in going}
        needed = {layer for image in images if image.id not in ids for layer in chains.get(image.id, {})}
        free = [image for image in going if not chains.get(image.id) or next(iter(chains[image.id])) not in needed]
        if len(free) == len(going):
            return tuple(reversed(going))
        going = free


def clean(
    older_than: Annotated[str, typer.Option("--older-than", help="What was not used for this long: 30d, 12h.")] = "",
    unused: Annotated[bool, typer.Option("--unused", help="All but what was built last of each project.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Everything that ocicaliban made.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "--dry_run", help="Only print what would be removed.")] = False,
) -> None:
    """Remove images that ocicaliban made: all of them, the unused, or those not used for a while.

    An image stays that you gave a name of your own, that a container was made from, or on which another image stands.
    """
    if not (older_than or unused or all_):
        raise UsageError("say what to remove", "--unused, --older-than 30d, or --all")
    limit = time.time() - _seconds(older_than) if older_than else None
    workplace.sweep()
    busy = store.in_containers()
    wanted = _wanted() if unused else lambda _: False

    def stays(image: Image) -> bool:
        young = limit is not None and store.last_used(image.id) > limit
        return image.id in busy or young or wanted(image)

    images, chains = store.images(), store.chains()
    going = removable(images, chains, stays)
    holders = Counter(layer for chain in chains.values() for layer in chain)
    total = 0
    for image in going:
        if not dry_run:
            if not all(proc.ok(("podman", "image", "rm", name)) for name in image.names):
                print(f"{image.names[0]} is in use, and stays", file=sys.stderr)
                continue
            store.forget(image.id)
        freed = 0
        for layer, size in chains.get(image.id, {}).items():
            holders[layer] -= 1
            freed += 0 if holders[layer] else size  # a layer goes with the last image that holds it
        total += freed
        print(f"{image.names[0]}  {render.amount(freed)}")
    print(f"{render.amount(total)} {'would be ' if dry_run else ''}freed")
