"""Where ocicaliban keeps its state, cache and running work, by the XDG base directory specification.

And how a file there, or one of the user's, is replaced.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path


def _xdg(variable: str, default: str, environ: Mapping[str, str]) -> Path:
    # By the specification a relative path is to be ignored.
    value = environ.get(variable, "")
    return Path(value) if value.startswith("/") else Path(environ.get("HOME") or "~").expanduser() / default


def settings(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder in which each program has a folder for the user's settings."""
    return _xdg("XDG_CONFIG_HOME", ".config", environ)


def config() -> Path:
    """The folder of what the user writes for all projects."""
    return settings() / "ocicaliban"


def state() -> Path:
    """The folder of what must last: the last plans, what was used when."""
    return _xdg("XDG_STATE_HOME", ".local/state", os.environ) / "ocicaliban"


def cache() -> Path:
    """The folder of what can be made again."""
    return _xdg("XDG_CACHE_HOME", ".cache", os.environ) / "ocicaliban"


def work() -> Path:
    """The folder of builds under way."""
    return cache() / "work"


def used(image: str) -> Path:
    """The file whose time tells when the image with this id was used last."""
    return state() / "used" / image


def replace(path: Path, content: str | bytes, *, mode: int = 0o666, lasting: bool = False) -> None:
    """Make `path` a file that holds `content`, at once: whoever reads it sees the old one or the new one, whole.

    `mode` is that of the new file, less the umask. One that is `lasting` is on the disk before it takes the old one's
    place, so that a loss of power leaves one of the two. Raises OSError, about `path`, where that cannot be; then the
    old one is as it was, and nothing lies beside it.
    """
    half = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        with open(half, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        os.replace(half, path)
    except BaseException as fault:  # a Ctrl-C too
        with contextlib.suppress(OSError):
            os.unlink(half)
        if isinstance(fault, OSError):
            fault.filename = str(path)
        raise


def keep(path: Path, content: str | bytes, *, mode: int = 0o666) -> None:
    """As `replace`, of a file of ours, whose folder is made where it is missing; what it holds can be made again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, content, mode=mode)
