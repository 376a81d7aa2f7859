"""Keep the layers of images as files named by their digests, from which a store that vanished is filled again.

The store of a cluster's node ends with the job, or with the node. The files lie on the shared disk, so another node
needs no build. A file that was damaged does not fit its name, and buildah refuses it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ocicaliban.containers import image_store, oci_layout, own_store, podman, user_choices, workspace
from ocicaliban.errors import ToolError
from ocicaliban.formats.jsonc import parse_json
from ocicaliban.model.image import Image
from ocicaliban.system import files

_VERSION = 1
_YOUNG = 3600.0
"""Seconds for which a file is new: it is written before the one that lists it."""
_FOLDER = "OCICALIBAN_LAYERS"
"""The variable with the folder of the files, for a disk with more room than the home."""


def keep(image: Image, layer: str, key: str, warn: Callable[[str], None]) -> None:
    """Keep the image of a layer, if the store may vanish; layers that are there already are not written again.

    A run does not depend on it: `warn` gets what went wrong.
    """
    if own_store.is_node_local() and not _record(layer, key).exists():
        try:
            _keep(image, layer, key)
        except (OSError, ToolError) as exc:
            warn(f"the layer '{layer}' is not kept for other nodes: {exc}")


def _keep(image: Image, layer: str, key: str) -> None:
    config = image_store.image_config_text(image)
    diff_ids: list[str] = (json.loads(config).get("rootfs") or {}).get("diff_ids") or []
    blobs = folder() / "blobs"
    blobs.mkdir(mode=0o700, parents=True, exist_ok=True)
    missing = [each for each in diff_ids if not (blobs / _hex(each)).exists()]
    if missing:
        with workspace.open_workspace() as work:
            place = work / "image" / "blobs" / "sha256"
            place.mkdir(parents=True)
            for each in set(diff_ids) - set(missing):
                (place / _hex(each)).touch()  # podman then skips the layer
            podman.save_layout(image.id, work / "image", doing=f"the layer '{layer}' cannot be kept")
            for each in missing:
                _keep_file(place / _hex(each), blobs / _hex(each))
    sizes = {each: (blobs / _hex(each)).stat().st_size for each in diff_ids}
    known = {"version": _VERSION, "config": config, "layers": [[each, sizes[each]] for each in diff_ids]}
    files.keep(_record(layer, key), json.dumps(known))


def find(layer: str, key: str) -> Image | None:
    """Return the image of a layer from the files, stored again; None if they do not have it, or not all of it."""
    if not own_store.is_node_local():
        return None
    blobs = folder() / "blobs"
    try:
        known: dict[str, Any] = parse_json(_record(layer, key).read_text())
        if known["version"] != _VERSION:
            return None
        layers = [oci_layout.Blob(digest=digest, size=size) for digest, size in known["layers"]]
        if any((blobs / _hex(blob.digest)).stat().st_size != blob.size for blob in layers):
            return None
        config = str(known["config"]).encode()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    with workspace.open_workspace() as work, contextlib.suppress(ToolError):
        layout = work / image_store.layer_folder(layer, key)
        place = layout / "blobs" / "sha256"
        place.mkdir(parents=True)
        for blob in layers:
            with contextlib.suppress(FileExistsError):  # an image may have an empty layer twice
                (place / _hex(blob.digest)).symlink_to(blobs / _hex(blob.digest))
        oci_layout.write_layout(layout, config, layers)
        return image_store.import_layer(work, layer, key)
    return None


def forget(stays: Callable[[Image], bool], *, dry_run: bool = False) -> int:
    """Remove the files of images and layers that nothing needs, or only count them; return their size in bytes.

    `stays` tells whether an image is still needed; what is below it is needed too. A layer stays while the file of an
    image lists it; all layers stay if such a file cannot be read. What is new stays: another node may be writing it.
    """
    records = [(path, _read(path)) for path in (folder() / "images").glob("*.json")]
    young = time.time() - _YOUNG
    staying = {
        _stack(known) for path, known in records if known and (_newer(path, young) or stays(_image(path, known)))
    }
    below = {stack[:depth] for stack in staying for depth in range(1, len(stack) + 1)}
    freed, needed, unknown = 0, {layer for stack in staying for layer in stack}, False
    for path, known in records:
        if known is None:
            unknown = unknown or path.exists()
        elif _stack(known) not in below:
            freed += _removed(path, dry_run=dry_run)
    for blob in () if unknown else (folder() / "blobs").glob("*"):
        if blob.name not in needed and not _newer(blob, young):
            freed += _removed(blob, dry_run=dry_run)
    return freed


def _read(record: Path) -> dict[str, Any] | None:
    """Return what the file of an image says; None if it cannot be read, or is of another version."""
    try:
        known: dict[str, Any] = json.loads(record.read_text())
        _stack(known)
        return known if known["version"] == _VERSION and isinstance(known["config"], str) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _stack(known: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the files of an image's layers, from the bottom up."""
    return tuple(_hex(digest) for digest, _ in known["layers"])


def _image(record: Path, known: Mapping[str, Any]) -> Image:
    """Return the image that a file describes."""
    layer, _, key = record.stem.removeprefix("ocicaliban-").rpartition("-")
    digest = hashlib.sha256(known["config"].encode()).hexdigest()
    return Image(id=digest, digest="", key="", names=(image_store.layer_name(layer, key),))


def _newer(path: Path, moment: float) -> bool:
    try:
        return path.stat().st_mtime > moment
    except OSError:
        return True


def _removed(path: Path, *, dry_run: bool) -> int:
    try:
        size = path.stat().st_size
        if not dry_run:
            path.unlink()
    except OSError:
        return 0  # another node has removed it, or the disk is read-only
    return size


def folder() -> Path:
    """Return the folder of the files."""
    given = user_choices.folder(_FOLDER, "layer_files")
    return Path(given) if given else files.cache() / "layers"


def _record(layer: str, key: str) -> Path:
    return folder() / "images" / f"{image_store.layer_folder(layer, key).replace('/', '-')}.json"


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _keep_file(source: Path, target: Path) -> None:
    """Copy a file so that it appears whole, or not at all; other nodes may do the same at the same time."""
    half = target.with_name(f".{target.name}.{os.urandom(4).hex()}")
    try:
        shutil.copyfile(source, half)
        half.replace(target)
    finally:
        half.unlink(missing_ok=True)
