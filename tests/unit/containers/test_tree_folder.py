"""A tree laid out for a build step."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.containers.tree_folder import write_folder
from ocicaliban.errors import OcicalibanError
from ocicaliban.project.source_tree import read_tree
from tests import folders


def test_a_folder_has_the_entries_of_the_tree_alone(tmp_path: Path) -> None:
    root = folders.write(tmp_path / "p", {"a/b.py": "code", "run.sh": "echo"})
    (root / "run.sh").chmod(0o755)
    (root / "link").symlink_to("a/b.py")
    tree = read_tree(root)
    write_folder(tree, tmp_path / "copy")
    assert read_tree(tmp_path / "copy").digest == tree.digest


def test_an_entry_without_bytes_is_empty_whatever_the_file_holds(tmp_path: Path) -> None:
    tree = read_tree(folders.write(tmp_path / "p", {"b.py": "code"}))
    write_folder(evolve(tree, entries=(evolve(tree.entries[0], size=0),)), tmp_path / "copy")
    assert (tmp_path / "copy" / "b.py").read_text() == ""


def test_a_file_that_changed_since_is_refused(tmp_path: Path) -> None:
    tree = read_tree(folders.write(tmp_path / "p", {"b.py": "code"}))
    folders.write(tmp_path / "p", {"b.py": "other"})
    with pytest.raises(OcicalibanError, match=r"b\.py changed while it was being copied"):
        write_folder(tree, tmp_path / "copy")
