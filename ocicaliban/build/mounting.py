"""Divide a plan into an image to store, and folders that containers on this machine mount; pure.

Storing a layer takes longer than making it. So where a container can mount folders, the layers above the last one that
changes any place of the image are not stored: what they copy, or what their scripts change in one folder, lies in
folders named by the layers' inputs, and their settings are one layer.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Mapping

from attrs import evolve, frozen

from ocicaliban.build import keys
from ocicaliban.model.image import Configure, Copy, Plan, PlannedLayer, Run

_FORMAT = "ocicaliban-folder-1"
"""Part of every folder's key: raise it when the same trees would give other files."""

_SETTINGS = "settings"
"""The name of the layer with the settings of those that are mounted."""


@frozen(kw_only=True)
class Folder:
    """A folder to mount at `target`.

    `parts` are what is in it, each with its place in the folder ("" for the folder itself): the digest of a tree, or
    the key of what a layer's script changes. Where two have the same file, the later one's counts.
    """

    target: str
    parts: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str:
        """What names the folder: a digest of what is in it, and not of where it is mounted."""
        return hashlib.sha256(json.dumps([_FORMAT, self.parts]).encode()).hexdigest()

    def up_to(self, number: int) -> Folder:
        """Return the folder with its first `number` parts alone."""
        return evolve(self, parts=self.parts[:number])


@frozen(kw_only=True)
class RunPart:
    """A layer whose script changes the folder `within`; `settings` are the steps that configure the layers below it."""

    layer: PlannedLayer
    within: str
    settings: tuple[Configure, ...] = ()

    @property
    def key(self) -> str:
        """What names the changes. The folder is not part of the layer's key, since a stored layer would be the same."""
        return hashlib.sha256(json.dumps([_FORMAT, self.layer.key, self.within]).encode()).hexdigest()


@frozen(kw_only=True)
class MountedPlan:
    """How a container of a plan mounts folders.

    `below` is the plan of its image, which has the settings of all layers, and `bottom` the part of it without them, in
    which the scripts of the folders run. `runs` are these parts of the folders, by key. `layers` is what the folders
    hold of each layer, by its name: nothing of one that has settings alone.
    """

    below: Plan
    bottom: Plan
    folders: tuple[Folder, ...]
    layers: Mapping[str, tuple[str, ...]]
    runs: Mapping[str, RunPart]


def mounted(plan: Plan, *, scripts: bool = True) -> MountedPlan | None:
    """Return how a container of a plan mounts what needs no layer; None if nothing can be mounted.

    Without `scripts`, what scripts change needs a layer.
    """
    start = max((number for number, layer in enumerate(plan.layers, 1) if not _fits(layer, scripts)), default=0)
    top = plan.layers[start:]
    parts: list[tuple[str, str]] = []
    runs: dict[str, RunPart] = {}
    configured: list[Configure] = []
    layers: dict[str, tuple[str, ...]] = {}
    for layer in top:
        held: list[tuple[str, str]] = []
        for step in layer.steps:
            if isinstance(step, Copy):
                held.append((step.to, step.tree))
            elif isinstance(step, Run):
                run = RunPart(layer=layer, within=step.within, settings=tuple(configured))
                held.append((step.within, run.key))
                runs[run.key] = run
        layers[layer.name] = tuple(digest for _, digest in held)
        parts += held
        configured += (step for step in layer.steps if isinstance(step, Configure))
    if not parts or not all(_is_plain(to) for to, _ in parts):
        return None
    steps = tuple(configured)
    parent = plan.layers[start - 1].key if start else plan.base_key
    settings = PlannedLayer(
        name=_SETTINGS, steps=steps, key=keys.layer_key(parent, steps), inputs=keys.step_digests(steps)
    )
    return MountedPlan(
        below=evolve(plan, layers=(*plan.layers[:start], settings)),
        bottom=evolve(plan, layers=plan.layers[:start]),
        folders=_folders(parts),
        layers=layers,
        runs=runs,
    )


def _fits(layer: PlannedLayer, scripts: bool) -> bool:
    """Return whether all that a layer changes can be in folders: what it copies, or what its one script changes."""
    runs = [step for step in layer.steps if isinstance(step, Run)]
    if not runs:
        return True
    return (
        scripts and len(runs) == 1 and bool(runs[0].within) and not any(isinstance(step, Copy) for step in layer.steps)
    )


def _is_plain(to: str) -> bool:
    return bool(re.fullmatch(r"/[^:,\\]+", to)) and posixpath.normpath(to) == to and not to.startswith("//")


def _folders(parts: list[tuple[str, str]]) -> tuple[Folder, ...]:
    """Return one folder for all that belongs to the same place or below it."""
    roots: list[str] = []
    for to in sorted({to for to, _ in parts}):
        if not any(_is_within(to, root) for root in roots):
            roots.append(to)
    return tuple(
        Folder(
            target=root,
            parts=tuple((to[len(root) + 1 :], tree) for to, tree in parts if _is_within(to, root)),
        )
        for root in roots
    )


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
