"""Divide a plan into an image to store, and folders that containers on this machine mount; pure.

Storing a layer takes longer than making it. So where a container can mount folders, the layers above the last one that
runs something are not stored: their files lie in folders named by their contents, and their settings are one layer.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re

from attrs import evolve, frozen

from ocicaliban.build import keys
from ocicaliban.model.image import Configure, Copy, Plan, PlannedLayer

_FORMAT = "ocicaliban-folder-1"
"""Part of every folder's key: raise it when the same trees would give other files."""

_SETTINGS = "settings"
"""The name of the layer with the settings of those that are mounted."""


@frozen(kw_only=True)
class Folder:
    """A folder to mount at `target`.

    `parts` are the digests of the trees in it, each with its place in the folder ("" for the folder itself). Where two
    have the same file, the later one's counts.
    """

    target: str
    parts: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str:
        """What names the folder: a digest of the trees in it, and not of where it is mounted."""
        return hashlib.sha256(json.dumps([_FORMAT, self.parts]).encode()).hexdigest()


@frozen(kw_only=True)
class MountedPlan:
    """The plan of the image below, the folders that are mounted in it, and the names of the layers that they hold."""

    below: Plan
    folders: tuple[Folder, ...]
    layers: tuple[str, ...]


def mounted(plan: Plan) -> MountedPlan | None:
    """Return how a container of a plan mounts what needs no layer; None if nothing can be mounted."""
    start = max((number for number, layer in enumerate(plan.layers, 1) if layer.runs), default=0)
    top = plan.layers[start:]
    copies = [(step.to, step.tree) for layer in top for step in layer.steps if isinstance(step, Copy)]
    if not copies or not all(_is_plain(to) for to, _ in copies):
        return None
    steps = tuple(step for layer in top for step in layer.steps if isinstance(step, Configure))
    parent = plan.layers[start - 1].key if start else plan.base_key
    settings = PlannedLayer(
        name=_SETTINGS, steps=steps, key=keys.layer_key(parent, steps), inputs=keys.step_digests(steps)
    )
    names = (layer.name for layer in top if any(isinstance(step, Copy) for step in layer.steps))
    return MountedPlan(
        below=evolve(plan, layers=(*plan.layers[:start], settings)), folders=_folders(copies), layers=tuple(names)
    )


def _is_plain(to: str) -> bool:
    return bool(re.fullmatch(r"/[^:,\\]+", to)) and posixpath.normpath(to) == to and not to.startswith("//")


def _folders(copies: list[tuple[str, str]]) -> tuple[Folder, ...]:
    """Return one folder for all trees that are copied to the same place or below it."""
    roots: list[str] = []
    for to in sorted({to for to, _ in copies}):
        if not any(_is_within(to, root) for root in roots):
            roots.append(to)
    return tuple(
        Folder(
            target=root,
            parts=tuple((to[len(root) + 1 :], tree) for to, tree in copies if _is_within(to, root)),
        )
        for root in roots
    )


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
