"""A base image in an OCI layout (`oci:DIR`) or an archive of one (`oci-archive:FILE`)."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ocicaliban.build.base.stored import stored_image
from ocicaliban.containers import buildah, image_store, workspace
from ocicaliban.errors import DiskFull, OcicalibanError, UsageError
from ocicaliban.formats.jsonc import parse_json
from ocicaliban.formats.text import amount
from ocicaliban.model.image import Image

_REF = "org.opencontainers.image.ref.name"
_MOST = 4 << 20
"""Bytes of an index.json: as much as registries accept."""
_PART = r"(\./)?(index\.json|oci-layout|blobs/sha256/[0-9a-f]{64})"


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path) as tar:
            yield tar
    except (tarfile.TarError, EOFError, zlib.error) as exc:
        hint = "make one: podman save --format oci-archive -o FILE IMAGE"
        raise UsageError(f"layers.base.image: {path} is not an OCI archive", hint) from exc


def _index_of_folder(folder: Path) -> Any:
    # Opened without waiting: it may be anything, a FIFO too.
    descriptor = os.open(folder / "index.json", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is not a regular file")
        return _index(file)


def _index(file: IO[bytes]) -> Any:
    """Return the value in an index.json. Raises ValueError if it is larger than an index can be, or not JSON."""
    data = file.read(_MOST + 1)
    if len(data) > _MOST:
        raise ValueError(f"it is larger than {amount(_MOST)}")
    return parse_json(data)


def locate(reference: str) -> tuple[Path, str, str]:
    """Return the path of an archive, the image's name in it ("" if it has only one), and its manifest's digest.

    Raises UsageError if there is no such image.
    """
    transport, _, rest = reference.partition(":")
    path, name = Path(rest), ""
    if not path.exists() and ":" in rest:
        path, name = Path(rest.rpartition(":")[0]), rest.rpartition(":")[2]
    if not (path.is_dir() if transport == "oci" else path.is_file()):
        what = "folder" if transport == "oci" else "file"
        raise UsageError(f"layers.base.image: there is no {what} '{rest}'", "the path is relative to the project")
    try:
        if transport == "oci":
            index = _index_of_folder(path)
        else:
            with _opened(path) as tar:
                member = next((m for m in tar if m.name.removeprefix("./") == "index.json" and m.isfile()), None)
                file = tar.extractfile(member) if member else None
                index = _index(file) if file else {}
        manifests = {str(m["digest"]): str((m.get("annotations") or {}).get(_REF, "")) for m in index["manifests"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        what = f"layers.base.image: {path} does not hold an OCI image"
        why = f": {exc}" if isinstance(exc, ValueError) else ""
        raise UsageError(f"{what}{why}", "its index.json is missing or damaged") from exc
    matches = [digest for digest, own in manifests.items() if not name or own == name]
    if len(matches) != 1:
        known = ", ".join(filter(None, manifests.values())) or "none of them has a name"
        word = f"no image '{name}'" if name and not matches else f"{len(matches)} images"
        raise UsageError(f"layers.base.image: {path} holds {word}", f"choose one: {transport}:{path}:NAME ({known})")
    return path, name, matches[0]


def fetch(reference: str, digest: str) -> tuple[Image, str]:
    """Store the image of an archive if it has this digest ("" for any). Return it with its manifest's digest.

    It gets a name of ours, because another image in the store may have its own name.
    """
    path, name, now = locate(reference)
    if digest not in ("", now):
        raise OcicalibanError(
            f"{path} has changed: it no longer holds the image with the digest {digest}", "run the command again"
        )
    with workspace.open_workspace() as folder:
        # buildah names the image after the path, and refuses upper case, blanks and dots in the path.
        layout = folder / image_store.layer_folder("base", now.removeprefix("sha256:"))
        layout.parent.mkdir(parents=True)
        if path.is_dir():
            layout.symlink_to(path.resolve())
        else:
            (layout / "blobs" / "sha256").mkdir(parents=True)
            with _opened(path) as tar:
                for member in tar:
                    if member.isfile() and (match := re.fullmatch(_PART, member.name)):
                        _check_room(path, member, layout)
                        _copy(tar.extractfile(member), layout / match[2])
        oci = f"{layout.relative_to(folder)}{':' + name if name else ''}"
        identity = buildah.pull_layout(folder, oci, doing=f"the base image {reference} cannot be stored")
    return stored_image(identity, reference), now


def _check_room(path: Path, member: tarfile.TarInfo, folder: Path) -> None:
    """Raise DiskFull for a part of an archive that does not fit on the disk of `folder`, whatever the archive has."""
    free = shutil.disk_usage(folder).free
    if member.size > free:
        raise DiskFull(
            f"{path}: {member.name} in it has {amount(member.size)}, and there is no room for it in {folder}",
            path=str(folder),
        )


def _copy(source: IO[bytes] | None, target: Path) -> None:
    assert source is not None
    with source, target.open("wb") as file:
        shutil.copyfileobj(source, file)
