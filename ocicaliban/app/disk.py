"""What ocicaliban's images, folders and results take on the disk."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from attrs import frozen

from ocicaliban.build import mounted_folders
from ocicaliban.containers import image_store
from ocicaliban.formats.text import amount
from ocicaliban.jobs.status_table import aligned
from ocicaliban.system import files

IMAGES = "images"


@frozen
class Use:
    """The bytes on the disk of one kind of files, and where they are. A file with several names counts once."""

    what: str
    size: int
    place: Path


def uses() -> tuple[Use, ...]:
    """Return what there is, without the bases, results and records of jobs that are elsewhere (--out)."""
    seen: set[tuple[int, int]] = set()
    found = [Use(IMAGES, _images(), image_store.location()[0])]
    found += [Use(what, _on_disk(place, seen), place) for what, place in mounted_folders.places()]
    debian = files.cache() / "debian"
    found.append(Use("Debian packages", _on_disk(debian, seen), debian))
    caches = [path for path in _entries(files.cache()) if path not in (mounted_folders.root(), debian)]
    found.append(Use("other caches", sum(_on_disk(path, seen) for path in caches), files.cache()))
    found.append(Use("results and records of jobs", _on_disk(files.state(), seen), files.state()))
    return tuple(found)


def lines(found: Iterable[Use]) -> list[str]:
    """Return a line for each kind of files, and how to remove some."""
    rows = [(each.what, amount(each.size), str(each.place)) for each in found]
    return [*aligned(rows), "", "to remove what no project or job needs: ocicaliban clean --unused"]


def as_json(found: Iterable[Use]) -> list[dict[str, object]]:
    """Return the same as values for JSON. Sizes are in bytes."""
    return [{"what": each.what, "size": each.size, "place": str(each.place)} for each in found]


def _images() -> int:
    """Return the bytes of the layers in the store that only images of ocicaliban have."""
    chains = image_store.layer_chains()
    ours: dict[str, int] = {}
    others: set[str] = set()
    for image in image_store.images():
        names = image.names or image.former
        if names and all(name.startswith(image_store.PREFIX) for name in names):
            ours |= chains.get(image.id, {})
        else:
            others |= chains.get(image.id, {}).keys()
    return sum(size for layer, size in ours.items() if layer not in others)


def _entries(folder: Path) -> Iterator[Path]:
    try:
        yield from folder.iterdir()
    except OSError:
        return


def _on_disk(place: Path, seen: set[tuple[int, int]]) -> int:
    """Return the bytes that a file, or all in a folder, takes on the disk, without files that were `seen`."""
    total = 0
    paths = [str(place)]
    while paths:
        path = paths.pop()
        try:
            status = os.lstat(path)
            if os.path.isdir(path) and not os.path.islink(path):
                paths += (item.path for item in os.scandir(path))
        except OSError:  # it is gone, or of another user
            continue
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            total += status.st_blocks * 512
    return total
