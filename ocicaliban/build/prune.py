"""Remove images that ocicaliban has made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from ocicaliban.build import built_wheels, last_build
from ocicaliban.containers import image_store, layer_cache, podman
from ocicaliban.formats.text import amount
from ocicaliban.model.image import Image
from ocicaliban.reporter import Reporter


def in_last_builds() -> Callable[[Image], bool]:
    """Return a function that says whether an image is part of the last build of some project and mode."""
    records = last_build.newest()
    names = {image_store.layer_name(name, key) for each in records for name, key in each.keys.items()}
    names |= {name for each in records for name in each.here}
    bases = {each.base for each in records}
    return lambda image: not bases.isdisjoint((image.digest, f"sha256:{image.id}")) or not names.isdisjoint(image.names)


def folders_of_last_builds() -> frozenset[str]:
    """Return the keys of the folders that the last builds mount, of each project and mode."""
    return frozenset(name for each in last_build.newest() for name in each.here)


def removable(
    images: Sequence[Image], chains: Mapping[str, Mapping[str, int]], stays: Callable[[Image], bool]
) -> tuple[Image, ...]:
    """Return the images that can be removed, newest first; pure.

    They are those that ocicaliban has made, that `stays` does not keep, and that are not below an image that stays.
    `chains` holds the layers of each image. An image without a name is ours if all names that it once had are ours:
    when a layer is made again (`--no-cache`), its name goes to the newer image.
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


def remove(stays: Callable[[Image], bool], *, dry_run: bool, out: Callable[[str], None], reporter: Reporter) -> int:
    """Remove the images that can be removed, or only list them. Return the bytes freed; `out` gets a line for each.

    The wheels that were built in images that are gone are removed too, and the layers that are kept as files.
    """
    images, chains = image_store.images(), image_store.layer_chains()
    going = removable(images, chains, stays)
    holders = Counter(layer for chain in chains.values() for layer in chain)
    total = 0
    for image in going:
        if not dry_run:
            # Remove it by its names: it stays if it has got another name meanwhile.
            if not all(podman.remove_image(name) for name in image.names or (image.id,)):
                reporter.say(f"{(image.names or image.former)[0]} is in use and stays")
                continue
            image_store.forget_use(image.id)
        freed = 0
        for layer, size in chains.get(image.id, {}).items():
            holders[layer] -= 1
            freed += 0 if holders[layer] else size  # a layer goes with the last image that holds it
        total += freed
        out(f"{(image.names or image.former)[0]}  {amount(freed)}")
    if not dry_run:
        built_wheels.forget({image.id for image in image_store.images()})
    if files := layer_cache.forget(stays, dry_run=dry_run):
        total += files
        out(f"layers kept as files  {amount(files)}")
    return total
