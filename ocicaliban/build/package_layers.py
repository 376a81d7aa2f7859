"""Make layers of Python packages from the files that are kept of each, without running anything in the layer.

A large package has a part of the layer for itself. So a push after a change of one package sends that package alone:
a registry knows the other parts by their contents, wherever they are in the stack.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from attrs import evolve, frozen

from ocicaliban.build import installed_packages
from ocicaliban.build.mounting import RunPart
from ocicaliban.build.steps import BuildContext
from ocicaliban.containers import image_store
from ocicaliban.dependencies import installed_files
from ocicaliban.model.image import Copy, Image, PlannedLayer, Run, Step, Tree, TreeEntry
from ocicaliban.project import tree_entries
from ocicaliban.project.source_tree import tree_digest
from ocicaliban.reporter import SILENT

_LARGE = 300_000
"""The bytes of a package that has a part of the layer for itself."""
_PARTS = 30
"""The most parts of a layer. Docker takes about 127 of an image, and there are at most a few layers of packages."""


@frozen(kw_only=True)
class Environment:
    """The Python environment that layers of packages make together.

    `below` is the image below all of them, and `first` the key of the first one.
    """

    below: Callable[[], Image]
    first: str


@frozen(kw_only=True)
class TreeLayer:
    """A layer that copies trees, in place of one that runs something; `trees` has them by digest."""

    layer: PlannedLayer
    trees: Mapping[str, Tree]


def first_of(layers: Sequence[PlannedLayer]) -> int | None:
    """Return the number of the first layer that installs packages of which each has files of its own."""
    return next((number for number, layer in enumerate(layers) if _step(layer)), None)


def _step(layer: PlannedLayer) -> Run | None:
    """Return the step of a layer that installs packages; None if there is none, or more than one step that runs."""
    runs = [step for step in layer.steps if isinstance(step, Run)]
    copies = any(isinstance(step, Copy) for step in layer.steps)
    return runs[0] if len(runs) == 1 and runs[0].singly and not copies else None


def as_trees(
    layer: PlannedLayer, environment: Environment, folder: Path, context: BuildContext, *, again: bool
) -> TreeLayer | None:
    """Return a layer of packages as one that copies their files; None if it must run.

    `folder` is the work folder. With `again`, the packages are installed even if they are kept. Raises OcicalibanError
    if they cannot be installed.
    """
    step = _step(layer)
    if step is None or not step.within or image_store.may_have(environment.below(), step.within):
        return None
    part = RunPart(layer=layer, within=step.within)
    kept = installed_packages.make(part, environment.below, context, SILENT, again=again)
    if kept is None:
        return None
    roots = kept if environment.first == layer.key else kept[1:]
    owners = _owners(roots)
    if not owners:
        return None
    large = _large(roots, owners)
    trees = [_tree(root, [root], _paths(owners, {root})) for root in large]
    small = [root for root in roots if root not in large]
    if rest := _paths(owners, {*small}):
        together = folder / f"{layer.key[:12]}-packages"
        for path, root in rest.items():
            (together / path).parent.mkdir(parents=True, exist_ok=True)
            installed_packages.share(root / path, together / path)
        trees.append(_tree(together, small, rest))
    copies = tuple(Copy(tree=tree.digest, to=step.within) for tree in trees)
    steps: tuple[Step, ...] = (*copies, *(each for each in layer.steps if each is not step))
    return TreeLayer(layer=evolve(layer, steps=steps), trees={tree.digest: tree for tree in trees})


def _owners(roots: Sequence[Path]) -> dict[str, Path]:
    """Return each path in some folders, with the folder whose file it is: the last one that has it."""
    return {path: root for root in roots for path in installed_files.files_below(str(root))}


def _paths(owners: Mapping[str, Path], roots: set[Path]) -> dict[str, Path]:
    return {path: root for path, root in owners.items() if root in roots}


def _large(roots: Sequence[Path], owners: Mapping[str, Path]) -> list[Path]:
    """Return the folders with the most bytes, the largest first."""
    sizes = dict.fromkeys(roots, 0)
    for path, root in owners.items():
        sizes[root] += os.lstat(root / path).st_size
    found = [root for root in sorted(roots, key=lambda each: -sizes[each]) if sizes[root] >= _LARGE]
    return found[:_PARTS]


def _tree(root: Path, packages: Iterable[Path], paths: Iterable[str]) -> Tree:
    """Return the tree of some files below `root`, with all folders that some packages have; some are empty."""
    folders = {
        os.path.relpath(os.path.join(place, name), package)
        for package in packages
        for place, names, _ in os.walk(package)
        for name in names
        if not os.path.islink(os.path.join(place, name))
    }
    entries = [TreeEntry(path=path, kind="dir") for path in folders]
    entries += (tree_entries.own(str(root / path), path) for path in paths)
    ordered = tuple(sorted(entries, key=lambda entry: entry.path))
    return Tree(root=root, digest=tree_digest(ordered), entries=ordered)
