"""Make what a container on this machine needs: an image, and the folders that it mounts instead of further layers."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import evolve, frozen

from ocicaliban.build import (
    builder,
    changes,
    downloads,
    folder_store,
    installed_packages,
    mounting,
    other_python,
    steps,
)
from ocicaliban.build.folder_store import Part
from ocicaliban.build.mounting import Folder, MountedPlan
from ocicaliban.build.steps import BuildContext
from ocicaliban.containers import image_store
from ocicaliban.model.image import Image, Plan
from ocicaliban.reporter import Reporter
from ocicaliban.system import filesystems, kernel

_SWITCH = "OCICALIBAN_MOUNTED"
"""The variable that, if it is 0, makes containers on this machine mount nothing in place of layers."""

_PLAIN = re.compile(r"/[^:,\\\"\n]*")
"""Paths that podman's option for an overlay mount can hold."""


@frozen(kw_only=True)
class LocalImage:
    """An image, the plan that it was made by, and the mounts (`SOURCE:TARGET:O`) that a container of it needs.

    `changes` are the keys of what scripts have changed in the folders.
    """

    image: Image
    plan: Plan
    mounts: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()

    @property
    def folders(self) -> tuple[str, ...]:
        """The paths of the folders that are mounted."""
        return tuple(mount.partition(":")[0] for mount in self.mounts)

    @property
    def held(self) -> tuple[str, ...]:
        """The names of the images of its layers, and the keys of its folders and of what is in them."""
        names = (image_store.layer_name(layer.name, layer.key) for layer in self.plan.layers)
        return *names, *map(folder_store.key_in, self.folders), *self.changes


def mounted(plan: Plan) -> MountedPlan | None:
    """Return how a container here mounts the top layers of a plan; None if all of them must be stored.

    Podman mounts a folder with an overlay above it where its store has overlays. Files on a network are opened slowly,
    so there an image is better. What a script changes lies in an overlay of ours, which not every file system can hold.
    With SELinux a container can read only files labelled for it, as those of images are.
    """
    place = folder_store.root()
    if os.environ.get(_SWITCH) == "0" or image_store.location()[1] != "overlay" or not _PLAIN.fullmatch(str(place)):
        return None
    if kernel.has_selinux():
        return None
    kind = filesystems.kind(place, filesystems.mounted())
    if filesystems.SHARED.fullmatch(kind):
        return None
    return mounting.mounted(plan, scripts=filesystems.holds_images(kind) and kind != "tmpfs")


def mounted_layers(plan: Plan) -> frozenset[str]:
    """Return the names of the layers of a plan that a container here would mount, and whose files are there."""
    divided = mounted(plan)
    if divided is None:
        return frozenset()
    there = {key for key in divided.runs if folder_store.changes_of(key).is_dir()}
    for folder in divided.folders:
        if folder_store.path_of(folder.key).is_dir():
            there |= {digest for _, digest in folder.parts}
    settings = divided.below.layers[-1]
    configured = image_store.find_layer(settings.name, settings.key) is not None
    return frozenset(name for name, held in divided.layers.items() if there.issuperset(held) and (held or configured))


def build(plan: Plan, context: BuildContext, *, reporter: Reporter, cache: bool = True) -> LocalImage:
    """Return the image of a plan, or one without the layers that are mounted; make what is missing of it.

    Without `cache`, every layer is made again. Raises OcicalibanError if a step fails.
    """
    divided = mounted(plan)
    if divided:
        image = builder.build(divided.below, context, reporter=reporter, cache=cache)
        # What a layer adds to a folder of the image, a mount would hide.
        if not any(image_store.may_have(image, folder.target) for folder in divided.folders):
            if not cache:
                for key in divided.runs:
                    folder_store.forget_changes(key)
                for folder in divided.folders if divided.runs else ():
                    folder_store.forget(folder)
            mounts = tuple(_mounts(divided, context, reporter, again=not cache))
            return LocalImage(image=image, plan=divided.below, mounts=mounts, changes=tuple(divided.runs))
    return LocalImage(image=builder.build(plan, context, reporter=reporter, cache=cache), plan=plan)


def _below(folder: Folder, number: int, part: Callable[[Folder, int], Part]) -> Path | None:
    """Return the place of a part in the folder as the parts below it make it; None if they put nothing there."""
    if not number:
        return None
    place = folder_store.make(folder.up_to(number), part) / folder.parts[number][0]
    return place if place.is_dir() else None


def _mounts(divided: MountedPlan, context: BuildContext, reporter: Reporter, *, again: bool) -> Iterator[str]:
    runs = [part.layer for key, part in divided.runs.items() if not folder_store.changes_of(key).is_dir()]
    if much := downloads.announcement(runs, context.downloads):
        reporter.note(much)
    conda = any("conda" in layer.kinds for layer in divided.bottom.layers)
    python = evolve(divided.bottom.base, python="") if conda else divided.bottom.base

    locked = other_python.locked_in(part.layer for part in divided.runs.values())

    def parent() -> Image:
        return builder.build(divided.bottom, context, reporter=reporter)

    with (
        steps.made_trees(context, reporter) as tree_of,
        other_python.telling(python, context.indexes, context.python, locked),
    ):

        def part(folder: Folder, number: int) -> Part:
            digest = folder.parts[number][1]
            run = divided.runs.get(digest)
            if run is None:
                return tree_of(digest)
            kept = installed_packages.make(run, parent, context, reporter, again=again)
            return kept or (changes.make(run, parent, lambda: _below(folder, number, part), context, reporter),)

        for key in divided.runs:
            image_store.mark_used(key)
        for folder in divided.folders:
            path = folder_store.make(folder, part)
            image_store.mark_used(folder.key)
            yield f"{path}:{folder.target}:O"
