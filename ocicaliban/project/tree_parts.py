"""Divide a project's tree into parts that seldom change together, a layer for each (pure)."""

from __future__ import annotations

from ocicaliban.model.image import Tree, TreeEntry
from ocicaliban.project.source_tree import tree_digest

_HEAVY = 1_000_000
"""Bytes from which a folder becomes a part: storing fewer takes no longer than storing one more layer."""
_MOST = 8
"""The largest number of such folders; each costs 0.1 s whenever a part below it changes."""


def divide(tree: Tree) -> tuple[tuple[str, Tree], ...]:
    """Return the parts of a tree with their names: heavy top-level folders, and "" foreverything else.

    The heaviest folder comes first, "" last; every entry is in exactly one part.
    """
    weights: dict[str, int] = {}
    for entry in tree.entries:
        top, slash, _ = entry.path.partition("/")
        if slash:
            weights[top] = weights.get(top, 0) + entry.size
    heavy = sorted((name for name, size in weights.items() if size >= _HEAVY), key=lambda name: (-weights[name], name))
    if not heavy:
        return (("", tree),)
    entries: dict[str, list[TreeEntry]] = {name: [] for name in (*heavy[:_MOST], "")}
    for entry in tree.entries:
        top = entry.path.partition("/")[0]
        entries[top if top in entries else ""].append(entry)
    divided = ((name, tuple(part)) for name, part in entries.items())
    return tuple((name, Tree(root=tree.root, digest=tree_digest(part), entries=part)) for name, part in divided)
