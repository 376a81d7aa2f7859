"""A tree in parts."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.model.image import Tree, TreeEntry
from ocicaliban.project import tree_parts


def tree_of(sizes: dict[str, int]) -> Tree:
    entries = tuple(TreeEntry(path=path, kind="file", digest=path, size=size) for path, size in sorted(sizes.items()))
    return Tree(root=Path("/p"), digest="whole", entries=entries)


def test_heavy_folders_at_the_top_are_parts_of_their_own_the_heaviest_first() -> None:
    tree = tree_of({"a/x": 600_000, "a/y": 600_000, "b/deep/z": 2_000_000, "c/x": 900_000, "big": 5_000_000, "a.py": 1})
    found = tree_parts.divide(tree)
    assert [(label, [entry.path for entry in part.entries]) for label, part in found] == [
        ("b", ["b/deep/z"]),
        ("a", ["a/x", "a/y"]),
        ("", ["a.py", "big", "c/x"]),
    ]
    assert {part.root for _, part in found} == {tree.root}


def test_a_light_project_is_one_part() -> None:
    tree = tree_of({"a/x": 900_000, "big": 5_000_000})
    assert tree_parts.divide(tree) == (("", tree),)


def test_an_edit_changes_the_part_alone_in_which_the_file_is() -> None:
    before = tree_of({"a/x": 2_000_000, "b/x": 1_000_000, "top": 1})
    after = tree_of({"a/x": 2_000_000, "b/x": 1_000_000, "top": 2, "new": 1})
    digests, others = ({label: part.digest for label, part in tree_parts.divide(tree)} for tree in (before, after))
    assert {label for label in digests if digests[label] != others[label]} == {""}


@given(st.dictionaries(st.sampled_from([f"{c}/{n}" for c in "abcdefghijkl" for n in "xy"] + ["p", "q"]),
                       st.integers(0, 3_000_000)))  # fmt: skip
def test_every_file_is_in_exactly_one_of_a_few_parts(sizes: dict[str, int]) -> None:
    tree = tree_of(sizes)
    found = tree_parts.divide(tree)
    assert sorted(entry.path for _, part in found for entry in part.entries) == [entry.path for entry in tree.entries]
    assert len(found) <= 9 and found[-1][0] == ""
