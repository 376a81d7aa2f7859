"""Write an image to a folder as an OCI layout to be pushed, without the layers that the registry has."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ocicaliban.containers import buildah, oci_layout
from ocicaliban.model.image import Image
from ocicaliban.registry import packed_layers
from ocicaliban.registry.packed_layers import Compression, PackedLayer

FOLDER = "image"
"""The layout's folder below the one given to `write`."""

_DIGEST = re.compile("sha256:[0-9a-f]{64}")
_OTHER: Mapping[Compression, Compression] = {"gzip": "zstd", "zstd": "gzip"}
_LOCAL_ANNOTATIONS = "org.opencontainers.image.base."  # they name images of this machine


def write(
    image: Image, folder: Path, present: Mapping[str, PackedLayer], compression: Compression
) -> tuple[str, dict[str, int]]:
    """Write `image` to `folder`/image, without the layers that are `present` in the registry, by diff id.

    Compress the other layers and remember them. Return the digest of the manifest, and the size of each blob that it
    names, in bytes by digest. Raises ToolError if buildah fails.
    """
    layout = folder / FOLDER
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    # buildah neither compresses nor writes a blob that exists, even an empty one. A version that looked closer would
    # compress these layers as well, which costs only time.
    for diff_id in present:
        (blobs / _hex(diff_id)).touch()
    doing = "the image cannot be packed for the registry"
    # With --compression-format gzip newer versions do not trust blobs that exist.
    named = compression if compression != "gzip" else ""
    buildah.export_layout(image.id, folder, FOLDER, compression=named, doing=doing)
    manifest = _manifest(layout)
    unwanted = packed_layers.media_type(_OTHER[compression])
    if any(layer["mediaType"] == unwanted for layer in manifest["layers"]):
        # containers.conf sets another compression.
        buildah.export_layout(image.id, folder, FOLDER, compression=compression, doing=doing)
        manifest = _manifest(layout)
    config = json.loads((blobs / _hex(manifest["config"]["digest"])).read_text())
    # buildah describes an empty blob like any other.
    packed = [each for each in layers_in(manifest, config, compression) if each.diff_id not in present]
    packed_layers.remember(packed, compression)
    for diff_id in present:
        (blobs / _hex(diff_id)).unlink()
    whole = complete_manifest(manifest, config, {**present, **{each.diff_id: each for each in packed}})
    data = oci_layout.canonical_json(whole)
    digest = oci_layout.digest_of(data)
    (blobs / _hex(digest)).write_bytes(data)
    descriptor = {"mediaType": oci_layout.MANIFEST, "digest": digest, "size": len(data)}
    (layout / "index.json").write_bytes(oci_layout.canonical_json({"schemaVersion": 2, "manifests": [descriptor]}))
    return digest, {each["digest"]: each["size"] for each in (*whole["layers"], whole["config"])}


def layers_in(manifest: Mapping[str, Any], config: Mapping[str, Any], compression: Compression) -> list[PackedLayer]:
    """Return the layers of an image that have this compression; none if manifest or config are malformed (pure)."""
    rootfs, layers = config.get("rootfs"), manifest.get("layers")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list) or not isinstance(layers, list) or len(diff_ids) != len(layers):
        return []
    return [
        PackedLayer(diff_id=diff_id, digest=layer["digest"], size=layer["size"], media_type=layer["mediaType"])
        for diff_id, layer in zip(diff_ids, layers, strict=True)
        if isinstance(layer, dict)
        and layer.get("mediaType") == packed_layers.media_type(compression)
        and _DIGEST.fullmatch(str(diff_id))
        and _DIGEST.fullmatch(str(layer.get("digest")))
        and isinstance(layer.get("size"), int)
    ]


def complete_manifest(
    manifest: Mapping[str, Any], config: Mapping[str, Any], packed: Mapping[str, PackedLayer]
) -> dict[str, Any]:
    """Return the manifest with each layer as it is `packed`, by diff id (pure).

    Drop annotations about the base image: they name an image of the local store.
    """
    diff_ids = (config.get("rootfs") or {}).get("diff_ids") or []
    layers = [
        {"mediaType": packed[diff_id].media_type, "digest": packed[diff_id].digest, "size": packed[diff_id].size}
        if diff_id in packed
        else layer
        for diff_id, layer in zip(diff_ids, manifest["layers"], strict=True)
    ]
    given = manifest.get("annotations") or {}
    annotations = {name: value for name, value in given.items() if not name.startswith(_LOCAL_ANNOTATIONS)}
    rest = {name: value for name, value in manifest.items() if name != "annotations"}
    return {**rest, "layers": layers, **({"annotations": annotations} if annotations else {})}


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _manifest(layout: Path) -> dict[str, Any]:
    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads((layout / "blobs" / "sha256" / _hex(index["manifests"][-1]["digest"])).read_text())
    assert isinstance(manifest, dict)
    return manifest
