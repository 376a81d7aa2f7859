"""Push an image to a registry, and send only the layers that it lacks.

A registry knows a layer by the digest of its compressed bytes, the store by that of the plain ones. So the image is
laid out locally first: the digest of a layer that was compressed before is remembered (`packed_layers`), and only the
other layers are compressed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

from attrs import frozen

from ocicaliban.containers import image_store, skopeo, workspace
from ocicaliban.model.image import Image
from ocicaliban.registry import client, image_layout, packed_layers, transfer
from ocicaliban.registry.client import RegistryClient
from ocicaliban.registry.packed_layers import Compression, PackedLayer
from ocicaliban.registry.reference import Destination, Repository
from ocicaliban.reporter import Reporter
from ocicaliban.system import threads

_PARALLEL_REQUESTS = 8


@frozen(kw_only=True)
class Pushed:
    """The result of a push: the bytes of the blobs that were `sent`, and of those that the registry had (`saved`)."""

    repository: Repository
    digest: str
    sent: int
    saved: int

    @property
    def reference(self) -> str:
        """The image by its digest, which no later push changes."""
        return f"{self.repository}@{self.digest}"


def connect(destination: Destination, reporter: Reporter) -> RegistryClient:
    """Return a client that has checked that the registry accepts a push; call this before anything slow.

    Raises OcicalibanError with a hint if the registry refuses, or if skopeo is missing.
    """
    skopeo.require()
    registry = client.client_for(destination, "pull,push", reporter)
    registry.check_push()
    return registry


def push(
    image: Image,
    destination: Destination,
    registry: RegistryClient,
    *,
    compression: Compression = "gzip",
    before: Callable[[], None] = lambda: None,
    reporter: Reporter,
) -> Pushed:
    """Push `image` to `destination`, through the client that `connect` returned for it.

    `before` is called before each slow step: before layers are compressed, and before anything is sent. If it raises,
    the push ends. A push that was interrupted continues where it stopped. Raises OcicalibanError if the registry
    refuses, or still fails after several attempts.
    """
    with workspace.open_workspace() as folder:
        folder = folder / "push"
        folder.mkdir(mode=0o700)
        diff_ids = tuple((image_store.image_config(image).get("rootfs") or {}).get("diff_ids") or ())
        present = _present_layers(registry, diff_ids, compression)
        packing: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
        if len(present) < len({*diff_ids}):
            before()
            packing = reporter.making("layers to push", "packing", done="packed")
        with packing:
            digest, blobs = image_layout.write(image, folder, present, compression)
        missing = blobs.keys() - {layer.digest for layer in present.values()}
        missing -= _present_blobs(registry, missing)
        sent = sum(blobs[name] for name in missing)
        if missing or registry.manifest_digest(destination.tag) != digest:
            before()
            with reporter.making(destination.reference, "pushing", done="pushed", taken=sent):
                transfer.upload(
                    folder,
                    destination,
                    verified=registry.verified,
                    check_login=lambda: connect(destination, reporter),
                    reporter=reporter,
                )
        packed_layers.remember_pushed(blobs, destination.repository, compression)
        return Pushed(repository=destination.repository, digest=digest, sent=sent, saved=sum(blobs.values()) - sent)


def _present_layers(
    registry: RegistryClient, diff_ids: tuple[str, ...], compression: Compression
) -> dict[str, PackedLayer]:
    """Return the layers that the repository has, by diff id; mount those that another repository there has."""
    known = [each for each in packed_layers.load(compression) if each.diff_id in diff_ids]

    def is_present(layer: PackedLayer) -> bool:
        if registry.has_blob(layer.digest):
            return True
        host, _, path = layer.repository.partition("/")
        here = registry.repository
        return host == here.host and path != here.path and registry.mount_blob(layer.digest, path)

    answers = threads.each(is_present, known, at_once=_PARALLEL_REQUESTS)
    return {layer.diff_id: layer for layer, present in answers if present}


def _present_blobs(registry: RegistryClient, digests: Iterable[str]) -> set[str]:
    answers = threads.each(registry.has_blob, sorted(digests), at_once=_PARALLEL_REQUESTS)
    return {digest for digest, present in answers if present}
