"""Keep the wheels that uv builds in a step apart, by the image that they were built in.

What a build of a source package gives depends on the compilers and libraries that it finds. uv's cache knows a built
wheel by the package alone. So each parent image has a cache of its own, inside of uv's, in which the folders for what
is downloaded are links to those of uv. All of it is one mount, since uv renames files from one folder to another.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from ocicaliban.dependencies.locked_requirements import normalized

_OWN = "ocicaliban"
_ARCHIVE = "archive-v0"
"""Where uv unpacks wheels. It may not be there yet, as uv unpacks none to resolve."""
_SHARED = re.compile(r"(?:archive|wheels|simple|flat-index|git|binaries)-v\d+")
"""The folders of uv's cache for what it downloads. Versions of uv number them."""


def uv_cache(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of uv's cache on this machine."""
    caches = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(environ.get("UV_CACHE_DIR") or Path(caches) / "uv")


def cache_of(parent: str) -> str:
    """Make the cache for steps on the image with the id `parent`, and return its path relative to uv's cache."""
    cache = uv_cache()
    own = cache / _OWN / parent
    own.mkdir(parents=True, exist_ok=True)
    (cache / _ARCHIVE).mkdir(exist_ok=True)
    for folder in cache.iterdir():
        link = own / folder.name
        if _SHARED.fullmatch(folder.name) and not os.path.lexists(link):
            try:
                link.symlink_to(f"../../{folder.name}")
            except FileExistsError:
                continue  # another process was faster
    return f"{_OWN}/{parent}"


def forget(there: Collection[str]) -> None:
    """Remove the wheels that were built in images that are not `there` any more, given the ids of those that are."""
    folder = uv_cache() / _OWN
    for own in folder.iterdir() if folder.is_dir() else ():
        if own.name not in there:
            shutil.rmtree(own, ignore_errors=True)


def names(parent: str) -> frozenset[str]:
    """Return the packages of which uv has built wheels in the image with the id `parent`."""
    built = (uv_cache() / _OWN / parent).glob("sdists-v*/**/*.whl")
    return frozenset(normalized(path.name.partition("-")[0]) for path in built)
