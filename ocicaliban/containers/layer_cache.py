"""Keep the layers of images as files named by their digests, from which a store that vanished is filled again.

The store of a cluster's node ends with the job, or with the node. The files lie on the shared disk, so another node
needs no build. A file that was damaged does not fit its name, and buildah refuses it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ocicaliban.containers import image_store, oci_layout, own_store, podman, workspace
from ocicaliban.errors import ToolError
from ocicaliban.model.image import Image
from ocicaliban.system import files

_VERSION = 1
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
    blobs = _folder() / "blobs"
    blobs.mkdir(mode=0o700, parents=True, exist_ok=True)
    missing = [each for each in diff_ids if not (blobs / _hex(each)).exists()]
    if missing:
        with workspace.open_workspace() as folder:
            place = folder / "image" / "blobs" / "sha256"
            place.mkdir(parents=True)
            for each in set(diff_ids) - set(missing):
                (place / _hex(each)).touch()  # podman then skips the layer
            podman.save_layout(image.id, folder / "image", doing=f"the layer '{layer}' cannot be kept")
            for each in missing:
                _keep_file(place / _hex(each), blobs / _hex(each))
    sizes = {each: (blobs / _hex(each)).stat().st_size for each in diff_ids}
    known = {"version": _VERSION, "config": config, "layers": [[each, sizes[each]] for each in diff_ids]}
    files.keep(_record(layer, key), json.dumps(known))


def find(layer: str, key: str) -> Image | None:
    """Return the image of a layer from the files, stored again; None if they do not have it, or not all of it."""
    if not own_store.is_node_local():
        return None
    blobs = _folder() / "blobs"
    try:
        known: dict[str, Any] = json.loads(_record(layer, key).read_text())
        if known["version"] != _VERSION:
            return None
        layers = [oci_layout.Blob(digest=digest, size=size) for digest, size in known["layers"]]
        if any((blobs / _hex(blob.digest)).stat().st_size != blob.size for blob in layers):
            return None
        config = str(known["config"]).encode()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    with workspace.open_workspace() as folder, contextlib.suppress(ToolError):
        layout = folder / image_store.layer_folder(layer, key)
        place = layout / "blobs" / "sha256"
        place.mkdir(parents=True)
        for blob in layers:
            with contextlib.suppress(FileExistsError):  # an image may have an empty layer twice
                (place / _hex(blob.digest)).symlink_to(blobs / _hex(blob.digest))
        oci_layout.write_layout(layout, config, layers)
        return image_store.import_layer(folder, layer, key)
    return None


def _folder() -> Path:
    given = os.environ.get(_FOLDER)
    return Path(given) if given else files.cache() / "layers"


def _record(layer: str, key: str) -> Path:
    return _folder() / "images" / f"{image_store.layer_folder(layer, key).replace('/', '-')}.json"


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
