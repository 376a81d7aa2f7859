"""Which of the images that ocicaliban made can go, and their removal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from ocicaliban.build import last_build
from ocicaliban.containers import image_store, podman
from ocicaliban.formats.text import amount
from ocicaliban.model.image import Image
from ocicaliban.reporter import Reporter


def wanted() -> Callable[[Image], bool]:
    """Tells the images that what was built last of some project and mode consists of."""
    records = last_build.newest()
    names = {image_store.layer_name(name, key) for each in records for name, key in each.keys.items()}
    bases = {each.base for each in records}
    return lambda image: not bases.isdisjoint((image.digest, f"sha256:{image.id}")) or not names.isdisjoint(image.names)


def removable(
    images: Sequence[Image], chains: Mapping[str, Mapping[str, int]], stays: Callable[[Image], bool]
) -> tuple[Image, ...]:
    """The images that nothing needs, newest first: ours, which may go, and on which no image that stays stands. Pure.

    `chains` are the layers of each image. One without a name is ours when it had ours alone: that of a layer that was
    made anew (`--no-cache`) belongs to the newer image now.
    """
    going = [
        image
        for image in images
        if (names := image.names or image.former)
        and all(name.startswith(image_store.PREFIX) for name in names)
        and not stays(image)
    ]
    while True:
        ids = {image.id for image in going}
        needed = {layer for image in images if image.id not in ids for layer in chains.get(image.id, {})}
        free = [image for image in going if not chains.get(image.id) or next(iter(chains[image.id])) not in needed]
        if len(free) == len(going):
            return tuple(reversed(going))
        going = free


def remove(stays: Callable[[Image], bool], *, dry_run: bool, out: Callable[[str], None], reporter: Reporter) -> None:
    """Remove our images, but for those that stay or are needed; `out` gets a line for each, and the bytes freed."""
    images, chains = image_store.images(), image_store.layer_chains()
    going = removable(images, chains, stays)
    holders = Counter(layer for chain in chains.values() for layer in chain)
    total = 0
    for image in going:
        if not dry_run:
            # By its names, so that it stays when it has got another one meanwhile.
            if not all(podman.remove_image(name) for name in image.names or (image.id,)):
                reporter.say(f"{(image.names or image.former)[0]} is in use, and stays")
                continue
            image_store.forget_use(image.id)
        freed = 0
        for layer, size in chains.get(image.id, {}).items():
            holders[layer] -= 1
            freed += 0 if holders[layer] else size  # a layer goes with the last image that holds it
        total += freed
        out(f"{(image.names or image.former)[0]}  {amount(freed)}")
    out(f"{amount(total)} {'would be ' if dry_run else ''}freed")
