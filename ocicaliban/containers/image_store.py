"""Read the local image store from its own index: which of our images it has, by key."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ocicaliban.containers import buildah, podman
from ocicaliban.errors import OcicalibanError, ToolError
from ocicaliban.formats.jsonc import parse_json
from ocicaliban.model.image import Image
from ocicaliban.system import files

PREFIX = "localhost/ocicaliban/"


def layer_name(layer: str, key: str) -> str:
    """Return the name of a layer's image: the recipe, and 128 bits of the key."""
    return f"localhost/{layer_folder(layer, key)}:latest"


def layer_folder(layer: str, key: str) -> str:
    """Return the relative folder of a layout that `buildah pull oci:FOLDER` stores under `layer_name`."""
    word = re.sub("[^a-z0-9]+", "-", layer.split()[0].lower()).strip("-") or "layer"
    return f"ocicaliban/{word}/{key[:32]}"


def settings_files() -> tuple[Path, ...]:
    """Return the configuration files that may say where the store is."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    named = (os.environ.get(name) for name in ("CONTAINERS_STORAGE_CONF", "CONTAINERS_STORAGE_CONF_OVERRIDE"))
    machine = (Path(folder) / "containers/storage.conf" for folder in ("/etc", "/usr/share"))
    return *(Path(name) for name in named if name), config / "containers" / "storage.conf", *machine


def index_file() -> Path:
    """Return the file with containers/storage's list of all images."""
    root, driver = location()
    return root / f"{driver}-images" / "images.json"


def _conf_stamp() -> str:
    stamps = [os.environ.get(name, "") for name in ("CONTAINERS_STORAGE_CONF", "STORAGE_DRIVER", "XDG_DATA_HOME")]
    for path in settings_files():
        stamps.append(str(path.stat().st_mtime_ns) if path.exists() else "-")
    return "|".join(stamps)


def location() -> tuple[Path, str]:
    """Return the store's graph root and driver; podman is asked once, until storage.conf changes."""
    memo = files.cache() / "store.json"
    stamp = _conf_stamp()
    try:
        known = parse_json(memo.read_text())
        if known.get("version", 1) == 1 and known["stamp"] == stamp:
            return Path(known["root"]), known["driver"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    root, driver = podman.store_location()
    files.keep(memo, json.dumps({"version": 1, "stamp": stamp, "root": str(root), "driver": driver}))
    return root, driver


def _index() -> list[dict[str, Any]]:
    """Return the contents of containers/storage's images.json, which its writers replace atomically."""
    index = index_file()
    try:
        status = index.stat()
        return _parsed(index, status.st_ino, status.st_mtime_ns, status.st_size)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as exc:
        raise ToolError(f"the image store's index {index} cannot be read: {exc}", "run `podman system check`") from exc


@functools.lru_cache(maxsize=1)
def _parsed(index: Path, *_state: int) -> list[dict[str, Any]]:
    """Read the list; `_state` tells a new file from the cached one (it is replaced, never written into)."""
    return _items(index)


def _items(path: Path) -> list[dict[str, Any]]:
    """Return the objects in one of containers/storage's lists. Raises OSError, and ValueError for another form."""
    raw = _objects(path)
    if not all(isinstance(item.get("id"), str) for item in raw):
        raise ValueError("an object in it has no id")
    return raw


def _objects(path: Path) -> list[dict[str, Any]]:
    raw = parse_json(path.read_bytes())
    if not isinstance(raw, list) or not all(isinstance(item, dict) for item in raw):
        raise ValueError("it is not a list of objects")
    return raw


def _size(layer: Mapping[str, Any]) -> int:
    size = layer.get("diff-size", 0)
    return size if isinstance(size, int) else 0


def _image(item: dict[str, Any]) -> Image:
    return Image(
        id=item["id"],
        digest=str(item.get("digest", "")),
        key="",
        names=_texts(item.get("names")),
        former=_texts(item.get("names-history")),
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _manifests(item: Mapping[str, Any]) -> dict[str, str]:
    """Return the digests of an image's manifests in the store, by the names under which it keeps them."""
    known = item.get("big-data-digests")
    return {name: str(value) for name, value in known.items()} if isinstance(known, dict) else {}


def images() -> tuple[Image, ...]:
    """Return all images in the store."""
    return tuple(_image(item) for item in _index())


def by_digest(digest: str) -> Image | None:
    """Return the image whose config, manifest or manifest list has this digest ("sha256:..."), or None.

    An image has a manifest for each form in which it was stored: compressed by a registry, in a list, uncompressed.
    """
    for item in _index():
        known = {value for name, value in _manifests(item).items() if name.startswith("manifest")}
        if digest in known | {f"sha256:{item['id']}", str(item.get("digest"))}:
            return _image(item)
    return None


def by_name(name: str) -> Image | None:
    """Return the image with this full name ("localhost/mine:latest"), or None."""
    return next((image for image in images() if name in image.names), None)


def last_manifest(image: str) -> str:
    """Return the digest of the manifest that the image with this id was last stored with: its registry's."""
    for item in _index():
        if item["id"] == image:
            return _manifests(item).get("manifest") or str(item.get("digest", ""))
    return ""


def import_layer(folder: Path, layer: str, key: str) -> Image:
    """Import the layout at `folder`/`layer_folder(layer, key)` as the image of that layer; return the image.

    libimage names an image that is pulled from a relative `oci:` folder after the folder, which saves a command. If a
    version does not, the image is tagged.
    """
    doing = f"the layer '{layer}' cannot be stored"
    identity = buildah.pull_layout(folder, layer_folder(layer, key), doing=doing, whole=True)
    if image := find_layer(layer, key):
        return image
    buildah.tag(identity, layer_name(layer, key))
    return layer_image(layer, key)


def layer_image(layer: str, key: str) -> Image:
    """Return the image of a layer that was just made; raises OcicalibanError if it was removed in the meantime."""
    if image := find_layer(layer, key):
        return image
    raise OcicalibanError(f"the image of the layer '{layer}' was removed from the store", "run the command again")


def find_layer(layer: str, key: str, known: tuple[Image, ...] | None = None) -> Image | None:
    """Return the image of the layer with this key, or None; `known` are the images to search, by default all."""
    name = layer_name(layer, key)
    for image in images() if known is None else known:
        if name in image.names:
            return Image(id=image.id, digest=image.digest, key=key, names=image.names)
    return None


def image_config(image: Image) -> dict[str, Any]:
    """Return the OCI config of an image, which containers/storage keeps in a file named after its digest in base64.

    Raises ToolError if the store no longer has the image.
    """
    try:
        value = parse_json(image_config_text(image).encode())
        if not isinstance(value, dict):
            raise ValueError("its config is not an object")
    except ValueError as exc:
        raise ToolError(f"the image {image.id[:12]} cannot be read: {exc}", "run the command again") from exc
    return value


def image_config_text(image: Image) -> str:
    """Return the OCI config of an image as it is stored, which the image's id is the digest of; see `image_config`."""
    name = base64.b64encode(f"sha256:{image.id}".encode()).decode()
    try:
        return (index_file().parent / image.id / f"={name}").read_text(encoding="utf-8")
    except (OSError, ValueError) as exc:
        raise ToolError(f"the image {image.id[:12]} cannot be read: {exc}", "run the command again") from exc


def layer_sizes() -> dict[str, int]:
    """Return the bytes of each uncompressed layer in the store, by diff id."""
    root, driver = location()
    index = root / f"{driver}-layers" / "layers.json"
    try:
        raw = _items(index)
    except (OSError, ValueError):
        return {}
    return {str(item["diff-digest"]): _size(item) for item in raw if "diff-digest" in item}


def layer_chains() -> dict[str, dict[str, int]]:
    """Return the layers of each image, by image id: the layers' ids, from the top down, with their bytes."""
    root, driver = location()
    try:
        layers = _items(root / f"{driver}-layers" / "layers.json")
        raw = _items(index_file())
    except (OSError, ValueError):
        return {}
    by_id = {layer["id"]: layer for layer in layers}
    found: dict[str, dict[str, int]] = {}
    for image in raw:
        chain: dict[str, int] = {}
        layer = by_id.get(str(image.get("layer", "")))
        while layer is not None and layer["id"] not in chain:  # a damaged list may lead back
            chain[layer["id"]] = _size(layer)
            layer = by_id.get(str(layer.get("parent", "")))
        found[image["id"]] = chain
    return found


def image_sizes() -> dict[str, int]:
    """Return the bytes of each image, by id; a shared layer counts in every image."""
    return {image: sum(chain.values()) for image, chain in layer_chains().items()}


def may_have(image: Image, path: str) -> bool:
    """Return whether an image may have the absolute path, or a link above it; False only if it certainly does not.

    The layers of an overlay store are folders, and are looked at as they are.
    """
    root, driver = location()
    inside = PurePosixPath(path).relative_to("/")
    try:
        for layer in layer_chains()[image.id]:
            files = root / driver / layer / "diff"
            files.lstat()
            for parent in reversed(inside.parents[:-1]):
                if (files / parent).is_symlink():
                    return True
            if os.path.lexists(files / inside):
                return True
    except (OSError, KeyError):
        return True
    return False


def images_in_containers() -> frozenset[str]:
    """Return the ids of the images that podman's and buildah's containers were made from."""
    root, driver = location()
    try:
        raw = _objects(root / f"{driver}-containers" / "containers.json")
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError) as exc:
        raise ToolError(f"the store's list of containers cannot be read: {exc}", "run `podman system check`") from exc
    return frozenset(str(item.get("image", "")) for item in raw)


def mark_used(image: str) -> None:
    """Note that the image with this id is used now, if the state folder can be written to."""
    mark = files.used(image)
    with contextlib.suppress(OSError):
        files.make_folder(mark.parent)
        mark.touch(mode=0o600)


def last_used(image: str) -> float:
    """Return when we last built or ran the image, in seconds since 1970; 0 for never."""
    try:
        return files.used(image).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def forget_use(image: str) -> None:
    """Remove the note about an image that was removed."""
    (files.state() / "used" / image).unlink(missing_ok=True)
