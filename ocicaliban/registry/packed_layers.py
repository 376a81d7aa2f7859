"""Remember which compressed blob each layer became, and where it was pushed last.

The files are `packed-gzip.json` and `packed-zstd.json` in the cache. Nothing is learned from what others have pushed:
anyone who can push may claim in a manifest that a blob is the layer that its config names, and podman believes it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Literal

from attrs import evolve, frozen

from ocicaliban.containers import oci_layout
from ocicaliban.formats.jsonc import parse_json
from ocicaliban.registry.reference import Repository
from ocicaliban.system import files

Compression = Literal["gzip", "zstd"]

_VERSION = 2
_MAX_LAYERS = 2000  # the oldest are dropped


@frozen(kw_only=True)
class PackedLayer:
    """A compressed layer as a manifest describes it; `diff_id` is the digest of its uncompressed bytes.

    `repository` is where it was pushed to last, as HOST/PATH; "" if that is not known.
    """

    diff_id: str
    digest: str
    size: int
    media_type: str
    repository: str = ""


def media_type(compression: Compression) -> str:
    """Return the media type of a layer compressed in this way."""
    return f"{oci_layout.LAYER}+{compression}"


def load(compression: Compression) -> list[PackedLayer]:
    """Return the remembered layers, the oldest first; none if the file is missing or cannot be read."""
    try:
        layers = [
            PackedLayer(
                diff_id=diff_id,
                digest=str(entry[0]),
                size=int(entry[1]),
                media_type=media_type(compression),
                repository=str(entry[2]) if entry[2:] else "",
            )
            for diff_id, entry in _entries(parse_json(_file(compression).read_text())).items()
        ]
        return [each for each in layers if each.size]
    except (OSError, ValueError, TypeError, LookupError, AttributeError, OverflowError):
        return []


def _entries(record: dict[str, Any]) -> dict[str, list[Any]]:
    """Return the digest, size and repository of each layer in a record, by its diff_id.

    Version 1 has nothing else in it, not even its version. Raises ValueError for a newer version.
    """
    version = record.get("version", 1)
    if version not in (1, _VERSION):
        raise ValueError(f"its version is {version}")
    entries: dict[str, list[Any]] = record if version == 1 else record["layers"]
    return entries


def remember(layers: Iterable[PackedLayer], compression: Compression) -> None:
    """Add layers to the file, in place of what it has of the same layers."""
    known = {each.diff_id: each for each in load(compression)}
    for each in layers:
        known.pop(each.diff_id, None)  # so that it becomes the newest
        known[each.diff_id] = each
    held = {each.diff_id: [each.digest, each.size, each.repository] for each in [*known.values()][-_MAX_LAYERS:]}
    files.keep(_file(compression), json.dumps({"version": _VERSION, "layers": held}))


def remember_pushed(digests: Collection[str], repository: Repository, compression: Compression) -> None:
    """Note that the blobs with these digests are in `repository` now."""
    moved = [each for each in load(compression) if each.digest in digests and each.repository != str(repository)]
    if moved:
        remember([evolve(each, repository=str(repository)) for each in moved], compression)


def _file(compression: Compression) -> Path:
    return files.cache() / f"packed-{compression}.json"
