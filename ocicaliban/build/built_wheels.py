"""Keep the wheels that uv builds in a step apart, by the image that they were built in.

What a build of a source package gives depends on the compilers and libraries that it finds. uv's cache knows a built
wheel by the package alone. So each parent image has its own folder for them, and what is downloaded is shared.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from ocicaliban.system import files

_BUCKETS = ("sdists-v*", "built-wheels-v*")
"""The folders of uv's cache with source packages and the wheels built from them. Versions of uv number them."""


def mounts(uv_cache: Path, place: str, parent: str) -> tuple[str, ...]:
    """Return the mounts by which a step on the image `parent` sees its own built wheels.

    `uv_cache` is the cache on this machine, and `place` is where the step sees it.
    """
    found: list[str] = []
    for bucket in sorted(path.name for pattern in _BUCKETS for path in uv_cache.glob(pattern)):
        own = _folder() / parent / bucket
        own.mkdir(parents=True, exist_ok=True)
        found.append(f"{own}:{place}/{bucket}")
    return tuple(found)


def forget(there: Collection[str]) -> None:
    """Remove the wheels that were built in images that are not `there` any more, given the ids of those that are."""
    folder = _folder()
    for own in folder.iterdir() if folder.is_dir() else ():
        if own.name not in there:
            shutil.rmtree(own, ignore_errors=True)


def _folder() -> Path:
    return files.cache() / "built-wheels"
