"""What all kinds of base images need."""

from __future__ import annotations

import os

from ocicaliban.containers import image_store
from ocicaliban.errors import OcicalibanError
from ocicaliban.model.image import Image


def platform() -> str:
    """Return the OCI platform of this machine, for example "linux/amd64"."""
    machine = os.uname().machine
    return "linux/" + {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def stored_image(identity: str, reference: str) -> Image:
    """Return the image with this id, which was just stored. Raises OcicalibanError if it has been removed."""
    if image := image_store.by_digest(f"sha256:{identity}"):
        return image
    raise OcicalibanError(f"the base image {reference} was removed from the store meanwhile", "run the command again")
