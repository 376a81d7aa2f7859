"""Reading a folder into a tree: its entries, its digest, and what it refuses."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.errors import OcicalibanError
from ocicaliban.project import source_tree
from ocicaliban.project.ignore_rules import is_built_in
from ocicaliban.project.source_tree import left_out, read_tree, whole_folders
from tests.folders import files, paths, write

trees = st.dictionaries(
    st.tuples(st.sampled_from(["", "d/", "d/e/"]), st.text("fg", min_size=1, max_size=3)).map("".join),
    st.tuples(st.binary(max_size=5), st.booleans()),
    min_size=1,
    max_size=5,
)


def test_entries_are_files_folders_and_links_sorted_by_path(tmp_path: Path) -> None:
    write(tmp_path, {"b/x.py": "x", "b.txt": "t", "ä": "u"})
    (tmp_path / "b/x.py").chmod(0o755)
    (tmp_path / "empty").mkdir()
    (tmp_path / "a").symlink_to("b/x.py")
    (tmp_path / "b/up").symlink_to("../empty")
    tree = read_tree(tmp_path)
    assert paths(tree) == sorted(paths(tree), key=str.encode) == ["a", "b", "b.txt", "b/up", "b/x.py", "empty", "ä"]
    by = {entry.path: entry for entry in tree.entries}
    assert (by["a"].kind, by["a"].digest) == ("link", "b/x.py")
    assert (by["b"].kind, by["b"].digest) == ("dir", "")
    assert by["b/x.py"].executable and not by["b.txt"].executable
    assert by["b/x.py"].digest == hashlib.sha256(b"x").hexdigest()
    assert tree.size == 3


def build(root: Path, content: dict[str, tuple[bytes, bool]]) -> None:
    for name, (data, executable) in content.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755 if executable else 0o644)


@given(trees, st.data())
def test_any_edit_changes_the_digest_and_a_copy_does_not(
    content: dict[str, tuple[bytes, bool]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as place:
        root, copy = Path(place, "one"), Path(place, "two")
        build(root, content)
        shutil.copytree(root, copy)
        for path in copy.rglob("*"):
            path.chmod(path.stat().st_mode & 0o700)
            os.utime(path, (1, 1))
        before = read_tree(root).digest
        assert read_tree(copy).digest == before
        path = root / data.draw(st.sampled_from(sorted(content)))
        edit = data.draw(st.sampled_from(["contents", "executable", "name", "gone", "kind"]))
        if edit == "contents":
            old = path.read_bytes()
            path.write_bytes(data.draw(st.binary(max_size=5).filter(lambda new: new != old)))
        elif edit == "executable":
            path.chmod(path.stat().st_mode ^ 0o100)
        elif edit == "name":
            path.rename(path.with_name("new"))
        else:
            path.unlink()
            if edit == "kind":
                path.mkdir()
        assert read_tree(root).digest != before


def test_a_link_to_somewhere_else_changes_the_digest(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    before = read_tree(tmp_path).digest
    (tmp_path / "a").unlink()
    (tmp_path / "a").symlink_to("c")
    assert read_tree(tmp_path).digest != before


def test_excluded_folders_are_left_out_whatever_the_ignore_files_say(tmp_path: Path) -> None:
    write(tmp_path, {".dockerignore": "!d/data", "d/data/x": "", "d/y": "", "data": ""})
    for ignore in (True, False):
        tree = read_tree(tmp_path, exclude=("./d/data/",), ignore=ignore)
        assert files(tree) == [".dockerignore", "d/y", "data"]


@pytest.mark.parametrize("ignore", [True, False])
@pytest.mark.parametrize("named", ["sub/token", "folder/token", "name", "outside/token"])
def test_a_file_that_must_never_enter_stays_out_by_whatever_name(tmp_path: Path, named: str, ignore: bool) -> None:
    root = write(tmp_path / "p", {"sub/token": "secret", "a": ""})
    (root / "folder").symlink_to("sub")
    (root / "name").symlink_to("sub/token")
    (root / "again").hardlink_to(root / "sub/token")
    (tmp_path / "outside").symlink_to(root / "sub")
    never = (tmp_path if named.startswith("outside") else root) / named
    tree = read_tree(root, never=(never, root / "gone", root / ("x" * 300)), ignore=ignore)
    assert files(tree) == ["a", "folder", "name"]


def refused(root: Path, name: str) -> OcicalibanError:
    with pytest.raises(OcicalibanError) as caught:
        read_tree(root)
    assert name in caught.value.message
    assert name in caught.value.hint and ".gitignore" in caught.value.hint
    (root / ".gitignore").write_text("d")
    assert paths(read_tree(root)) == [".gitignore"]
    return caught.value


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "../..", "../x/../../y"])
def test_a_link_out_of_the_project_is_refused_unless_ignored(tmp_path: Path, target: str) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/l").symlink_to(target)
    refused(tmp_path, "d/l")


def test_a_link_to_a_name_that_is_not_utf8_is_refused_unless_ignored(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    os.symlink(b"\xff", bytes(tmp_path / "d/l"))
    refused(tmp_path, "d/l")


def test_a_name_that_is_not_utf8_is_refused_unless_ignored(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    Path(os.fsdecode(bytes(tmp_path / "d") + b"/\xff")).touch()
    refused(tmp_path, "d/\\xff")


@pytest.mark.parametrize("name", [".wh.x", ".wh..wh..opq"])
def test_a_name_that_removes_something_in_a_layer_is_refused_unless_ignored(tmp_path: Path, name: str) -> None:
    write(tmp_path, {f"d/{name}": ""})
    refused(tmp_path, f"d/{name}")


def test_a_fifo_is_refused_unless_ignored(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    os.mkfifo(tmp_path / "d/f")
    refused(tmp_path, "d/f")


@pytest.mark.parametrize("name", [".containerignore", ".dockerignore", ".gitignore"])
def test_the_ignore_file_that_counts_is_named_and_no_other(tmp_path: Path, name: str) -> None:
    write(tmp_path, {name: "secret\n", ".gitignore": "secret\n", "secret": ""})
    os.mkfifo(tmp_path / "f")
    with pytest.raises(OcicalibanError) as caught:
        read_tree(tmp_path)
    assert caught.value.hint.startswith(f"add f to {name}, or")


def test_a_folder_of_data_has_no_ignore_file_and_its_links_lead_within_the_project(tmp_path: Path) -> None:
    data = write(tmp_path / "p", {"sub/data/a": "", "other": ""}) / "sub/data"
    (data / "l").symlink_to("../../other")
    assert files(read_tree(data, ignore=False, top="sub/data")) == ["a", "l"]
    (data / "out").symlink_to("../../../x")
    with pytest.raises(OcicalibanError, match="sub/data/out: links out of the project") as caught:
        read_tree(data, ignore=False, top="sub/data")
    assert "ignore" not in caught.value.hint
    assert f'--podman-args "-v {tmp_path}/x:/usr/app/sub/data/out:ro"' in caught.value.hint


def test_a_socket_is_refused_unless_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d").mkdir()
    monkeypatch.chdir(tmp_path / "d")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
    refused(tmp_path, "d/s")


def test_an_unreadable_file_is_refused_unless_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"d/secret": ""})
    real = os.open

    def deny(path: str, *rest: int, **more: int) -> int:
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", path)
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", deny)
    assert "Permission denied" in refused(tmp_path, "d/secret").message


@pytest.mark.parametrize("rules", ["d", "d\n!d/e/x"])
def test_an_unreadable_folder_is_refused_unless_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rules: str
) -> None:
    write(tmp_path, {"d/e/x": ""})
    real = source_tree._scan

    def deny(path: str) -> list[os.DirEntry[str]]:
        if path.endswith("/e"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(source_tree, "_scan", deny)
    refused(tmp_path, "d/e")
    (tmp_path / ".gitignore").unlink()
    (tmp_path / ".containerignore").write_text(rules)
    assert files(read_tree(tmp_path)) == [".containerignore"]


def test_an_unreadable_ignore_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"d/.gitignore": ""})

    real = Path.read_bytes

    def deny(path: Path) -> bytes:
        if path.name == ".gitignore":
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", deny)
    with pytest.raises(OcicalibanError, match=r"d/\.gitignore"):
        read_tree(tmp_path)


def test_a_root_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("missing", "file"):
        with pytest.raises(OcicalibanError, match=name) as caught:
            read_tree(tmp_path / name)
        assert caught.value.hint


def test_whole_folders_are_those_of_which_nothing_is_left_out(tmp_path: Path) -> None:
    for name in ("a/b/file", "a/c/kept", "a/c/__pycache__/x.pyc", "empty/none/x.pyc", "top"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "b" / "link").symlink_to("file")
    tree = read_tree(tmp_path)
    assert whole_folders(tree) == {"a/b"}
    assert whole_folders(read_tree(tmp_path / "a" / "b")) == {""}


@pytest.mark.parametrize("name", [".gitignore", ".dockerignore"])
def test_what_is_left_out_is_told_with_folders_as_one(tmp_path: Path, name: str) -> None:
    files = {name: "data\n**/*.log\n!keep.log\n", "a.py": "", "a.log": "", "keep.log": "", "sub/b.log": ""}
    write(tmp_path, files | {"data/one.csv": "", "data/deep/two.csv": "", ".git/HEAD": "", "sub/__pycache__/a.pyc": ""})
    found = left_out(tmp_path)
    assert found == (".git/", "a.log", "data/", "sub/__pycache__/", "sub/b.log")
    assert [path for path in found if not is_built_in(path)] == ["a.log", "data/", "sub/b.log"]


def test_an_ignored_folder_of_which_something_is_let_in_is_not_told_as_one(tmp_path: Path) -> None:
    write(tmp_path, {".dockerignore": "data\n!data/small.csv\n", "data/small.csv": "", "data/big.csv": ""})
    assert left_out(tmp_path) == ("data/big.csv",)


@pytest.mark.parametrize("name", [".gitignore", ".dockerignore"])
def test_a_virtual_environment_is_left_out_whatever_its_name(tmp_path: Path, name: str) -> None:
    write(tmp_path, {name: "**/*.log\n", "train.py": "", "deep/more.py": ""})
    before = read_tree(tmp_path)
    write(tmp_path, {"own/pyvenv.cfg": "home = /usr/bin", "own/bin/x": "", "deep/env39/pyvenv.cfg": "", "z/a.log": ""})
    (tmp_path / "own/bin/python").symlink_to("/usr/bin/python3")
    assert paths(read_tree(tmp_path)) == sorted([*paths(before), "z"])
    assert left_out(tmp_path) == ("z/a.log",)
    # A folder of data is what its user says.
    assert "env39/pyvenv.cfg" in paths(read_tree(tmp_path / "deep", ignore=False, top="deep"))


def test_what_is_left_out_is_told_of_a_folder_that_no_image_could_hold(tmp_path: Path) -> None:
    write(tmp_path, {".gitignore": "*.log\n", "a.log": "", "elsewhere/b.log": ""})
    (tmp_path / "out").symlink_to("/etc")
    os.mkfifo(tmp_path / "fifo")
    assert left_out(tmp_path, exclude=("elsewhere",)) == ("a.log",)


def test_what_is_left_out_is_told_without_writing_the_memo(tmp_path: Path, hashed: list[str]) -> None:
    root, memo = write(tmp_path / "p", {".gitignore": "*.log\n", "a.log": "", "a.py": ""}), tmp_path / "memo"
    assert left_out(root, memo=memo) == ("a.log",)
    assert not memo.exists() and hashed == []
    read_tree(root, memo=memo)
    kept = memo.read_bytes()
    (root / "b.log").touch()
    assert left_out(root, memo=memo) == ("a.log", "b.log")
    assert memo.read_bytes() == kept
