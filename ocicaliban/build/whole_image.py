"""Make one image of an image and the folders that its containers mount, for machines that have no such folders."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ocicaliban.build import builder, folder_store
from ocicaliban.build.steps import BuildContext
from ocicaliban.containers import image_store, workspace
from ocicaliban.model.image import Copy, Image, PlannedLayer, Tree, TreeEntry
from ocicaliban.project import tree_entries
from ocicaliban.project.source_tree import tree_digest
from ocicaliban.reporter import Reporter

_FORMAT = "ocicaliban-files-1"
_NAME = "files"
"""The name of the layers with the files of folders."""


def stored(image: Image, mounts: Iterable[str], reporter: Reporter) -> Image:
    """Return an image that has the files of the folders of ours among `mounts`; the image itself if there are none.

    The same image and folders give the same image everywhere. Raises OcicalibanError if it cannot be stored, and
    FileNotFoundError if a folder is gone.
    """
    places = {key: target for key, target in _places(mounts)}
    if not places:
        return image
    steps = tuple(Copy(tree=key, to=target) for key, target in sorted(places.items(), key=lambda each: each[1]))
    key = hashlib.sha256(json.dumps([_FORMAT, image.id, [[step.tree, step.to] for step in steps]]).encode()).hexdigest()
    layer = PlannedLayer(name=_NAME, steps=steps, key=key)
    if found := image_store.find_layer(layer.name, layer.key):
        return found
    with workspace.open_workspace() as folder, workspace.exclusive(key), reporter.making(_NAME, "storing"):
        trees = {each: _tree(folder_store.path_of(each)) for each in places}
        return builder.tree_layer(layer, image, folder, BuildContext(trees=trees))


def _places(mounts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the key of each folder of ours among mounts, and where it is mounted."""
    for mount in mounts:
        source, _, rest = mount.partition(":")
        if key := folder_store.key_in(source):
            yield key, rest.partition(":")[0]


def _tree(root: Path) -> Tree:
    entries = tuple(sorted(_entries(str(root), ""), key=lambda entry: entry.path))
    return Tree(root=root, digest=tree_digest(entries), entries=entries)


def _entries(root: str, place: str) -> Iterator[TreeEntry]:
    for item in os.scandir(os.path.join(root, place)):
        path = os.path.join(place, item.name)
        if item.is_dir(follow_symlinks=False):
            yield TreeEntry(path=path, kind="dir")
            yield from _entries(root, path)
        else:
            yield tree_entries.own(item.path, path)
