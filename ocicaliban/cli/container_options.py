"""The options of `podman run` that commands have too, under their own names."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ocicaliban.errors import UsageError

Env = Annotated[
    list[str] | None,
    typer.Option("--env", metavar="NAME[=VALUE]", help="A variable for the container (NAME: with the value here)."),
]
EnvFile = Annotated[
    list[str] | None, typer.Option("--env-file", metavar="FILE", help="A file with a variable in each line.")
]
Volume = Annotated[
    list[str] | None,
    typer.Option("-v", "--volume", metavar="SOURCE:TARGET[:OPTIONS]", help="Mount a folder, a file or a volume."),
]
Publish = Annotated[
    list[str] | None,
    typer.Option("--publish", metavar="[HOST:]PORT", help="Publish a port, from a network of the container's own."),
]
ShmSize = Annotated[
    str, typer.Option("--shm-size", metavar="SIZE", help="The size of /dev/shm (default: as large as the host's).")
]
Workdir = Annotated[
    str, typer.Option("--workdir", "-w", metavar="DIR", help="The folder in the container in which the command starts.")
]

_NAME = re.compile(r"[^=\s\0]+")
_SIZE = re.compile(r"[0-9]{1,15}[bkmgBKMG]?")


def podman_args(given: Mapping[str, Any]) -> str:
    """Return the text of --podman-args, with the options above before it; `given` are a command's parameters.

    Paths of this machine become absolute, since a job may run again from another folder. Raises UsageError.
    """
    words: list[str] = []
    for path in given.get("env_file") or ():
        words += ["--env-file", _file(path)]
    for each in given.get("env") or ():
        if not _NAME.fullmatch(each.partition("=")[0]):
            raise UsageError(f"--env {each}: not of the form NAME=VALUE", "for example --env OMP_NUM_THREADS=1")
        if "=" not in each and not each.endswith("*") and each not in os.environ:
            raise UsageError(f"--env {each}: the variable is not set", f"export {each}=..., or --env {each}=VALUE")
        words += ["--env", each]
    for each in given.get("volume") or ():
        words += ["--volume", _volume(each)]
    for each in given.get("publish") or ():
        words += ["--publish", each]
    if size := given.get("shm_size"):
        if not _SIZE.fullmatch(size):
            raise UsageError(f"--shm-size {size}: not a size", "for example --shm-size 8g")
        words += ["--shm-size", size]
    if folder := given.get("workdir"):
        if not folder.startswith("/"):
            raise UsageError(f"--workdir {folder}: not an absolute path", f"--workdir /usr/app/{folder}")
        words += ["--workdir", folder]
    text: str = given.get("podman_args") or ""
    return f"{shlex.join(words)} {text}".strip() if words else text


def _file(path: str) -> str:
    found = os.path.abspath(os.path.expanduser(path))
    if not os.path.isfile(found):
        raise UsageError(f"--env-file {path}: no such file", "name a file with lines NAME=VALUE")
    return found


def _volume(text: str) -> str:
    """Return a volume with an absolute source; podman takes a word without a slash or dot for the name of a volume."""
    source, colon, rest = text.partition(":")
    if not colon or not source.startswith((".", "~", "/")):
        return text
    found = os.path.abspath(os.path.expanduser(source))
    if not os.path.exists(found):
        raise UsageError(f"--volume {text}: there is no {source}", f"mkdir {shlex.quote(source)}")
    return f"{found}:{rest}"
