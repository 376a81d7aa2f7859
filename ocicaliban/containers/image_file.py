"""Make an image a file, which nodes of a cluster run: their podman has a store of its own, and others have none."""

from __future__ import annotations

import contextlib
import hashlib
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

_HALF = re.compile(r"\.([0-9a-z-]+)\.[0-9a-f]{8}\.(?:sqfs|tar)", re.A)
"""The name of a file that is being made: that of the whole one, and a word for this try."""

_POINTS = ("/out", "/run/ocicaliban", "/usr/app")
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


@frozen(kw_only=True)
class FileForm:
    """What a file is like: a key of SUFFIXES, and more places that jobs mount something at (absolute paths).

    A place of which `files` has the name is one of a file, the others are of folders. A squashfs has all of them.
    """

    form: str = "squashfs"
    points: tuple[str, ...] = ()
    files: frozenset[str] = frozenset()

    def name(self, image: str) -> str:
        """Return the name of the file of an image: another one for each set of places that it has for mounts."""
        if self.form != "squashfs":
            return image
        digest = hashlib.sha256("\0".join(sorted(self.places())).encode()).hexdigest()
        return f"{image}-{digest[:12]}"

    def places(self) -> tuple[str, ...]:
        """Return the places that a squashfs has for mounts, each with "f" for a file or "d" for a folder before it."""
        paths = dict.fromkeys((*_POINTS, *self.points))
        return tuple(f"{'f' if path in self.files else 'd'} {path}" for path in paths)


def path_of(folder: Path, image: str, form: FileForm) -> Path:
    """Return where the file of the image with this id is, in a folder of image files."""
    return folder / f"{form.name(image)}{SUFFIXES[form.form]}"


def stored(folder: Path, image: str, form: FileForm) -> ImageFile | None:
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


def make(folder: Path, image: Image, form: FileForm) -> ImageFile:
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
    name = form.name(image.id)
    with _alone(folder / f"{name}.lock") as alone:
        if found := stored(folder, image.id, form):
            return found
        if alone:
            _remove_halves(folder, name)
        path = path_of(folder, image.id, form)
        half = folder / f".{name}.{os.urandom(4).hex()}{SUFFIXES[form.form]}"
        try:
            process.run(_argv(image.id, half, form), doing=f"the image file {path} cannot be made")
            files.replace(folder / f"{image.id}.json", json.dumps(image_store.image_config(image)))
            os.replace(half, path)
        finally:
            half.unlink(missing_ok=True)
    if found := stored(folder, image.id, form):
        return found
    raise OcicalibanError(f"the image file {path} was removed meanwhile", "run the command again")


# mksquashfs takes a folder that is there already for an error. A link may lead to a place of this machine.
_SQUASH = r"""
root=$(podman image mount "$1") || exit
image=$1 out=$2 count=$(($# - 2)) lines='
'
shift 2
for each; do
    kind=${each%% *} rest=${each#* /} whole=
    while [ -n "$rest" ]; do
        whole=$whole/${rest%%/*}
        case $rest in */*) rest=${rest#*/} ;; *) rest= ;; esac
        [ ! -L "$root$whole" ] || break
        [ ! -e "$root$whole" ] || continue
        line="$(printf %s "${whole#/}" | LC_ALL=C sed 's/[^A-Za-z0-9_./-]/\\&/g') d 755 0 0"
        [ -n "$rest" ] || [ "$kind" = d ] || line="${line% d 755 0 0} f 644 0 0 true"
        case $lines in *"
$line
"*) ;; *) lines="$lines$line
" && set -- "$@" -p "$line" ;; esac
    done
done
shift "$count"
mksquashfs "$root" "$out" -comp lz4 -noappend -no-progress -quiet "$@"
code=$?
podman image unmount "$image" >/dev/null
exit $code
"""


def _argv(image: str, path: Path, form: FileForm) -> tuple[str, ...]:
    if form.form == "oci-archive":
        return "podman", "save", "--quiet", "--format", "oci-archive", "--output", str(path), image
    process.tool("mksquashfs")
    unshare = ("podman", "unshare") if os.geteuid() else ()
    return *unshare, "sh", "-c", _SQUASH, "sh", image, str(path), *form.places()


def _remove_halves(folder: Path, mine: str) -> None:
    """Remove what processes left that were killed while they made files: of this name, and of those nobody makes.

    The caller has the lock of this name.
    """
    halves: dict[str, list[Path]] = {}
    for name in os.listdir(folder):
        if match := _HALF.fullmatch(name):
            halves.setdefault(match[1], []).append(folder / name)
    for each, paths in halves.items():
        with nullcontext(True) if each == mine else _alone(folder / f"{each}.lock", wait=False) as alone:
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
