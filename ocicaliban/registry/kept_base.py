"""Keep the base of a pushed image under a tag of its own, so that nobody has to make it again."""

from __future__ import annotations

from attrs import evolve

from ocicaliban.containers import image_store
from ocicaliban.errors import OcicalibanError
from ocicaliban.model.image import Image
from ocicaliban.registry import push
from ocicaliban.registry.client import RegistryClient
from ocicaliban.registry.reference import Destination
from ocicaliban.reporter import Reporter

_TAG = "ocicaliban-base-"


def tag_of(identity: str) -> str:
    """Return the tag of the base image with this id (hex)."""
    return f"{_TAG}{identity[:32]}"


def is_tag(tag: str) -> bool:
    """Return whether a tag is that of a base image, and so none of the user's."""
    return tag.startswith(_TAG)


def base_of(image: Image) -> Image | None:
    """Return the base image that an image was made on, if no registry has it: one that was made here, or is local."""
    layers = _layers(image)
    prefix = f"localhost/{image_store.layer_folder('base', '')}"
    for each in image_store.images():
        if not any(name.startswith(prefix) for name in each.names):
            continue
        below = _layers(each)
        if below and layers[: len(below)] == below:
            return each if all(name.startswith("localhost/") for name in each.names) else None
    return None


def _layers(image: Image) -> list[str]:
    return [*((image_store.image_config(image).get("rootfs") or {}).get("diff_ids") or ())]


def keep(image: Image, destination: Destination, registry: RegistryClient, reporter: Reporter) -> None:
    """Push the base of an image that was just pushed to `destination`; all its layers are there already.

    If that fails, the user gets a warning: the image itself is there.
    """
    base = base_of(image)
    if base is None or base.id == image.id:
        return
    try:
        if not registry.manifest_digest(tag_of(base.id)):
            push.push(base, evolve(destination, tag=tag_of(base.id)), registry, reporter=reporter)
    except OcicalibanError as fault:
        reporter.warning(f"the base image is not kept in {destination.repository}: {fault.message}")
