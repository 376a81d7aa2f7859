"""Make an image a file, which nodes of a cluster run: their podman has a store of its own, and others have none."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from attrs import frozen

from ocicaliban.containers import image_store
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.formats.jsonc import parse_json
from ocicaliban.model.image import Image
from ocicaliban.system import files, locks, process

SUFFIXES: Mapping[str, str] = {"squashfs": ".sqfs", "oci-archive": ".tar"}
"""The forms of a file, and how its name ends."""

_HALF = re.compile(r"\.([0-9a-z]+)\.[0-9a-f]{8}\.(?:sqfs|tar)", re.A)
"""The name of a file that is being made: the image's id, and a word for this try."""

_POINTS = ("out", "usr/app")
"""Folders that a job mounts: a runtime that cannot write to the file needs them to be there."""


@frozen(kw_only=True)
class ImageFile:
    """An image as a file, and its configuration, which no runtime reads from such a file.

    `name` is the image's id, its name in podman's store once an OCI archive is loaded.
    """

    path: str
    name: str = ""
    env: tuple[tuple[str, str], ...] = ()
    workdir: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


def path_of(folder: Path, image: str, form: str) -> Path:
    """Return where the file of the image with this id is, in a folder of image files."""
    return folder / f"{image}{SUFFIXES[form]}"


def stored(folder: Path, image: str, form: str) -> ImageFile | None:
    """Return the file of the image with this id, or None if it was not made, or is gone."""
    path = path_of(folder, image, form)
    try:
        config = parse_json((folder / f"{image}.json").read_text(encoding="utf-8"))
        return described(path, image, config) if path.is_file() else None
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def described(path: Path, image: str, config: Mapping[str, Any]) -> ImageFile:
    """Return the file of an image with this OCI configuration."""
    inner = config.get("config") or {}
    return ImageFile(
        path=str(path),
        name=image,
        env=tuple((name, value) for name, _, value in (word.partition("=") for word in inner.get("Env") or ())),
        workdir=str(inner.get("WorkingDir") or ""),
        entrypoint=tuple(inner.get("Entrypoint") or ()),
        command=tuple(inner.get("Cmd") or ()),
    )


def make(folder: Path, image: Image, form: str) -> ImageFile:
    """Make the file of an image that is in podman's store, unless it is there, and return it.

    Another process that makes the same one is waited for. Raises OcicalibanError if that fails.
    """
    if found := stored(folder, image.id, form):
        return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        hint = "[targets.slurm] shared names a folder that all nodes see"
        raise UsageError(f"{folder} cannot be made: {exc.strerror}", hint) from exc
    with _alone(folder / f"{image.id}.lock") as alone:
        if found := stored(folder, image.id, form):
            return found
        if alone:
            _remove_halves(folder, image.id)
        path = path_of(folder, image.id, form)
        half = folder / f".{image.id}.{os.urandom(4).hex()}{SUFFIXES[form]}"
        try:
            process.run(_argv(image.id, half, form), doing=f"the image file {path} cannot be made")
            files.replace(folder / f"{image.id}.json", json.dumps(image_store.image_config(image)))
            os.replace(half, path)
        finally:
            half.unlink(missing_ok=True)
    if found := stored(folder, image.id, form):
        return found
    raise OcicalibanError(f"the image file {path} was removed meanwhile", "run the command again")


def _argv(image: str, path: Path, form: str) -> tuple[str, ...]:
    if form == "oci-archive":
        return "podman", "save", "--quiet", "--format", "oci-archive", "--output", str(path), image
    process.tool("mksquashfs")
    script = (
        'root=$(podman image mount "$1") || exit; out=$2; shift 2; '
        # mksquashfs takes a folder that is there already for an error.
        'for each; do [ -d "$root/$each" ] || points="${points:-} -p \'$each d 755 0 0\'"; done; '
        'eval mksquashfs \'"$root" "$out"\' -comp lz4 -noappend -no-progress -quiet ${points:-}; code=$?; '
        'podman image unmount "$0" >/dev/null; exit $code'
    )
    unshare = ("podman", "unshare") if os.geteuid() else ()
    return *unshare, "sh", "-c", script, image, image, str(path), *_POINTS


def _remove_halves(folder: Path, image: str) -> None:
    """Remove what processes left that were killed while they made files: of this image, and of those nobody makes.

    The caller has the lock of this image.
    """
    halves: dict[str, list[Path]] = {}
    for name in os.listdir(folder):
        if match := _HALF.fullmatch(name):
            halves.setdefault(match[1], []).append(folder / name)
    for each, paths in halves.items():
        with nullcontext(True) if each == image else _alone(folder / f"{each}.lock", wait=False) as alone:
            for path in paths if alone else ():
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(lock: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold a lock beside the image file, and remove it at the end.

    Yields whether it is held: a file system may have no locks, and without `wait` another process may hold it.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locks.held(lock, wait=wait))
            alone = True
        except OSError:
            alone = False
        yield alone
