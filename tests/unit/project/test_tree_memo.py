"""An earlier read saves time and is never wrong."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ocicaliban.project import ignore_rules
from ocicaliban.project.source_tree import read_tree
from tests.folders import files, later, write


def test_an_unchanged_tree_is_not_read_again_and_its_memo_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hashed: list[str]
) -> None:
    root, memo = write(tmp_path / "root", {"a": "1", "d/b": "2"}), tmp_path / "state/memo"
    later(monkeypatch, 10)
    first = read_tree(root, memo=memo)
    assert sorted(hashed) == ["a", "d/b"]
    inode = memo.stat().st_ino
    monkeypatch.setattr(ignore_rules.GitRules, "decide", None)
    assert read_tree(root, memo=memo) == first
    assert sorted(hashed) == ["a", "d/b"]
    assert memo.stat().st_ino == inode
    assert os.listdir(memo.parent) == ["memo"]


def test_a_file_changed_within_two_seconds_of_hashing_is_not_trusted(tmp_path: Path, hashed: list[str]) -> None:
    root, memo = write(tmp_path / "root", {"a": "1"}), tmp_path / "memo"
    read_tree(root, memo=memo)
    read_tree(root, memo=memo)
    assert hashed == ["a", "a"]


@pytest.mark.parametrize("age", [0, 10])
def test_an_edit_of_the_same_size_with_its_mtime_restored_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age: int
) -> None:
    root, memo = write(tmp_path / "root", {"a": "1"}), tmp_path / "memo"
    status = (root / "a").stat()
    later(monkeypatch, age)
    before = read_tree(root, memo=memo)
    time.sleep(0.02 if age else 0)  # let the kernel's clock tick where only ctime can tell
    (root / "a").write_text("2")
    os.utime(root / "a", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert read_tree(root, memo=memo).digest != before.digest


def test_a_changed_executable_bit_a_new_and_a_lost_file_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, memo = write(tmp_path / "root", {"a": "1", "b": "2"}), tmp_path / "memo"
    later(monkeypatch, 10)
    seen = {read_tree(root, memo=memo).digest}
    (root / "a").chmod(0o755)
    seen.add(read_tree(root, memo=memo).digest)
    (root / "c").write_text("3")
    seen.add(read_tree(root, memo=memo).digest)
    (root / "b").unlink()
    last = read_tree(root, memo=memo)
    assert len(seen | {last.digest}) == 4
    assert last == read_tree(root)


@pytest.mark.parametrize("name", [".dockerignore", ".gitignore", "d/.gitignore"])
def test_a_changed_ignore_file_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    root, memo = write(tmp_path / "root", {"d/x": "1", "d/y": "2", name: "**/x"}), tmp_path / "memo"
    later(monkeypatch, 10)
    assert files(read_tree(root, memo=memo)) == sorted(["d/y", name])
    (root / name).write_text("**/y")
    assert files(read_tree(root, memo=memo)) == sorted(["d/x", name])


def test_a_file_that_became_a_folder_is_decided_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, memo = write(tmp_path / "root", {".gitignore": "x/", "x": ""}), tmp_path / "memo"
    later(monkeypatch, 10)
    assert files(read_tree(root, memo=memo)) == [".gitignore", "x"]
    (root / "x").unlink()
    write(root, {"x/y": ""})
    assert files(read_tree(root, memo=memo)) == [".gitignore"]


@pytest.mark.parametrize("damage", [b"", b"\x00", b"{}", b"other 1\n{}", None])
def test_a_corrupt_or_foreign_memo_is_ignored_and_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes | None
) -> None:
    root, memo = write(tmp_path / "root", {"a": "1"}), tmp_path / "memo"
    later(monkeypatch, 10)
    tree = read_tree(root, memo=memo)
    good = memo.read_bytes()
    memo.write_bytes(good[:-3] if damage is None else damage)
    assert read_tree(root, memo=memo) == tree
    assert memo.read_bytes() == good


def test_a_memo_that_cannot_be_written_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "root", {"a": "1"})
    (tmp_path / "file").touch()
    assert files(read_tree(root, memo=tmp_path / "file/memo")) == ["a"]
    later(monkeypatch, 10)
    (tmp_path / "taken").mkdir()
    assert files(read_tree(root, memo=tmp_path / "taken")) == ["a"]
    assert sorted(os.listdir(tmp_path)) == ["file", "root", "taken"]


def test_a_memo_inside_the_project_is_no_part_of_the_tree(tmp_path: Path) -> None:
    write(tmp_path, {"a": "1", "memo.py": ""})
    memo = tmp_path / "memo"
    assert files(read_tree(tmp_path, memo=memo)) == ["a", "memo.py"]
    assert memo.exists()
    assert files(read_tree(tmp_path, memo=memo)) == ["a", "memo.py"]
