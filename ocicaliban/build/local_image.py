"""Make what a container on this machine needs: an image, and the folders that it mounts instead of further layers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import frozen

from ocicaliban.build import builder, folder_store, mounting
from ocicaliban.build.builder import BuildContext
from ocicaliban.build.mounting import MountedPlan
from ocicaliban.containers import image_store
from ocicaliban.model.image import Image, Plan
from ocicaliban.reporter import Reporter
from ocicaliban.system import filesystems

_PLAIN = re.compile(r"/[^:,\\\"\n]*")
"""Paths that podman's option for an overlay mount can hold."""


@frozen(kw_only=True)
class LocalImage:
    """An image, the plan that it was made by, and the mounts (`SOURCE:TARGET:O`) that a container of it needs."""

    image: Image
    plan: Plan
    mounts: tuple[str, ...] = ()

    @property
    def folders(self) -> tuple[str, ...]:
        """The paths of the folders that are mounted."""
        return tuple(mount.partition(":")[0] for mount in self.mounts)

    @property
    def held(self) -> tuple[str, ...]:
        """The names of the images of its layers, and the keys of its folders."""
        names = (image_store.layer_name(layer.name, layer.key) for layer in self.plan.layers)
        return *names, *map(folder_store.key_in, self.folders)


def mounted(plan: Plan) -> MountedPlan | None:
    """Return how a container here mounts the top layers of a plan; None if all of them must be stored.

    Podman mounts a folder with an overlay above it where its store has overlays. Files on a network are opened slowly,
    so there an image is better.
    """
    place = str(folder_store.root())
    if image_store.location()[1] != "overlay" or not _PLAIN.fullmatch(place):
        return None
    if filesystems.SHARED.fullmatch(filesystems.kind(folder_store.root(), filesystems.mounted())):
        return None
    return mounting.mounted(plan)


def build(plan: Plan, context: BuildContext, *, reporter: Reporter, cache: bool = True) -> LocalImage:
    """Return the image of a plan, or one without the layers that are mounted; make what is missing of it.

    Without `cache`, every layer is made again. Raises OcicalibanError if a step fails.
    """
    divided = mounted(plan)
    if divided:
        image = builder.build(divided.below, context, reporter=reporter, cache=cache)
        # What a layer adds to a folder of the image, a mount would hide.
        if not any(image_store.may_have(image, folder.target) for folder in divided.folders):
            return LocalImage(image=image, plan=divided.below, mounts=tuple(_mounts(divided, context, reporter)))
    return LocalImage(image=builder.build(plan, context, reporter=reporter, cache=cache), plan=plan)


def _mounts(divided: MountedPlan, context: BuildContext, reporter: Reporter) -> Iterator[str]:
    with builder.made_trees(context, reporter) as tree_of:
        for folder in divided.folders:
            path = folder_store.make(folder, tree_of)
            image_store.mark_used(folder.key)
            yield f"{path}:{folder.target}:O"
