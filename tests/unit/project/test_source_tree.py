"""Reading a folder into a tree: what is in it, what its digest means, what it refuses, what it remembers."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.errors import OcicalibanError
from ocicaliban.model.image import Tree, TreeEntry
from ocicaliban.project import source_tree
from ocicaliban.project.source_tree import is_built_in, left_out, read_tree, whole_folders

trees = st.dictionaries(
    st.tuples(st.sampled_from(["", "d/", "d/e/"]), st.text("fg", min_size=1, max_size=3)).map("".join),
    st.tuples(st.binary(max_size=5), st.booleans()),
    min_size=1,
    max_size=5,
)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def files(tree: Tree) -> list[str]:
    return [entry.path for entry in tree.entries if entry.kind != "dir"]


def paths(tree: Tree) -> list[str]:
    return [entry.path for entry in tree.entries]


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + int(seconds * 1e9))


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that were read for their digest."""
    seen: list[str] = []
    real = source_tree._hash_file

    def spy(absolute: str, path: str) -> object:
        seen.append(path)
        return real(absolute, path)

    monkeypatch.setattr(source_tree, "_hash_file", spy)
    return seen


# --- entries and digest ---


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


# --- ignore rules ---


CACHES = ("a.pyc", ".git/x")
CREDENTIALS = (".env", ".env.local", ".aws/c", ".docker/config.json", "id_rsa", ".git-credentials")


@pytest.mark.parametrize("rules", [".gitignore", ".dockerignore"])
def test_caches_and_credentials_are_left_out_by_default_at_any_depth(tmp_path: Path, rules: str) -> None:
    kept = (".docker/x", ".env.example", "a.py", "id_rsa.pub")
    write(tmp_path, {f"{at}{name}": "" for at in ("", "d/") for name in (*CACHES, *CREDENTIALS, *kept)})
    write(tmp_path, {rules: ""})
    assert files(read_tree(tmp_path)) == sorted([rules, *kept, *(f"d/{name}" for name in kept)])
    assert all(map(is_built_in, left_out(tmp_path)))


@pytest.mark.parametrize("name", [".containerignore", ".dockerignore", ".gitignore"])
def test_defaults_can_be_re_included(tmp_path: Path, name: str) -> None:
    write(tmp_path, {name: "!.env\n", ".env": "", ".netrc": ""})
    assert files(read_tree(tmp_path)) == sorted([name, ".env"])


def test_the_first_ignore_file_counts_alone(tmp_path: Path) -> None:
    write(tmp_path, {".containerignore": "a", ".dockerignore": "b", ".gitignore": "c", "a": "", "b": "", "c": ""})
    assert files(read_tree(tmp_path))[-2:] == ["b", "c"]
    (tmp_path / ".containerignore").unlink()
    assert files(read_tree(tmp_path))[-2:] == ["a", "c"]
    (tmp_path / ".dockerignore").unlink()
    assert files(read_tree(tmp_path))[-2:] == ["a", "b"]


CASES = [
    # (patterns, paths, kept under Docker's rules, kept under git's)
    ("data", "data d/data", "d/data", ""),
    ("**/data", "data d/data", "", ""),
    ("/data/", "data/x d/data", "d/data", "d/data"),
    ("data/", "data", "", "data"),
    ("out\n!out/keep", "out/keep out/drop", "out/keep", ""),
    ("out/*\n!out/keep", "out/keep out/drop", "out/keep", "out/keep"),
    ("out/**\n!out/keep", "out/keep out/drop/x", "out/keep", "out/keep"),
    ("!out/keep\nout", "out/keep out/drop", "", ""),
    ("*\n!*/\n!*.py", "a.py a.bin d/a.py d/a.bin", "a.bin a.py d/a.bin d/a.py", "a.py d/a.py"),
    ("*\n!src\n*.log", "a src/b src/c.log", "src/b src/c.log", ""),
    ("# c\n\n  \n*.log  \n", "a.log b", "b", "b"),
    ("./a/../b", "a b", "a", "a b"),
    ("**/o\n!**/o/k/*.py", "o/k/a.py d/o/k/a.py o/k/b o/c.py", "d/o/k/a.py o/k/a.py", ""),
    ("\\#x\n[ab]?", "#x a1 c1", "c1", "c1"),
    (".\n", "a", "a", "a"),
]


@pytest.mark.parametrize(("patterns", "present", "docker", "git"), CASES)
def test_docker_and_git_read_the_same_lines_each_in_its_way(
    tmp_path: Path, patterns: str, present: str, docker: str, git: str
) -> None:
    for name, kept in ((".dockerignore", docker), (".gitignore", git)):
        root = write(tmp_path / name[1:], dict.fromkeys(present.split(), ""))
        (root / name).write_text(patterns)
        assert [path for path in files(read_tree(root)) if path != name] == kept.split()


def test_a_re_included_file_brings_the_folders_above_it_but_no_ignored_empty_ones(tmp_path: Path) -> None:
    write(tmp_path, {".dockerignore": "a\n!a/b/keep", "a/b/keep": "", "a/b/drop": "", "a/c/drop": ""})
    assert paths(read_tree(tmp_path)) == [".dockerignore", "a", "a/b", "a/b/keep"]


def test_the_clones_own_list_of_git_is_heard_and_the_users_global_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write(tmp_path / "root", {".git/info/exclude": "a\nb\n", ".gitignore": "!b\n", "a": "", "b": "", "c": ""})
    write(tmp_path, {"config/git/ignore": "c\n"})
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert files(read_tree(root)) == [".gitignore", "b", "c"]
    (root / ".dockerignore").write_text("")
    assert files(read_tree(root)) == [".dockerignore", ".gitignore", "a", "b", "c"]


def test_a_nested_gitignore_rules_its_own_folder_over_those_above(tmp_path: Path) -> None:
    write(tmp_path, {".gitignore": "*.log", "d/.gitignore": "!a.log\n/x", "d/a.log": "", "d/x": "", "x": ""})
    write(tmp_path, {"d/e/x": "", "a.log": ""})
    assert files(read_tree(tmp_path)) == [".gitignore", "d/.gitignore", "d/a.log", "d/e/x", "x"]


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
    tree = read_tree(root, never=(never, root / "gone"), ignore=ignore)
    assert files(tree) == ["a", "folder", "name"]


KEY = '{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----", "client_email": "a@b"}'
LOGIN = '{"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}'
AUTHS = '{"auths": {"ghcr.io": {"auth": "bWU6c2VjcmV0"}}}'


@pytest.mark.parametrize("ignore", [True, False])
@pytest.mark.parametrize(
    ("text", "what"),
    [(KEY, "the private key of a service account"), (LOGIN, "somebody's login at Google"), (AUTHS, "a login at a reg")],
)
def test_a_credential_by_whatever_name_is_refused_unless_ignored(
    tmp_path: Path, text: str, what: str, ignore: bool
) -> None:
    root, memo = tmp_path / "project", tmp_path / "memo"
    write(root, {"conf/trainer": text, "a.py": ""})
    for _ in range(2):  # whatever was read before
        with pytest.raises(OcicalibanError) as fault:
            read_tree(root, memo=memo, ignore=ignore)
        assert fault.value.message.startswith(f"conf/trainer: holds {what}") and "--cloud-key" in fault.value.hint
        assert ("Add conf/trainer to .gitignore, or" in fault.value.hint) == ignore
    write(root, {".gitignore": "/conf/trainer\n"})
    assert "conf/trainer" not in files(read_tree(root, memo=memo))


@pytest.mark.parametrize(
    "text",
    [
        *("", '{"private_key": 1}', '{"type": "service_account", "private_key": ""}', '["private_key"]'),
        *('{"auths": {"ghcr.io": {}}}', '{"auths": []}', '"private_key" {', "[" * 9000 + '"auths"', KEY + " " * 16384),
    ],
)
def test_what_only_looks_like_a_credential_is_a_file_like_any_other(tmp_path: Path, text: str) -> None:
    assert files(read_tree(write(tmp_path, {"a.json": text}))) == ["a.json"]


def test_without_ignore_rules_everything_but_credentials_is_read(tmp_path: Path) -> None:
    write(tmp_path, {".gitignore": "*", "d/.gitignore": "!.env", "a": "", **dict.fromkeys((*CACHES, "d/b"), "")})
    write(tmp_path, {f"{at}{name}": "" for at in ("", "d/") for name in CREDENTIALS})
    memo = tmp_path.parent / "memo"
    for _ in range(2):
        tree = read_tree(tmp_path, ignore=False, memo=memo)
        assert files(tree) == sorted([".gitignore", "a", "d/.gitignore", "d/b", *CACHES])


# --- faults ---


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
    assert caught.value.hint.startswith(f"Add f to {name}, or")


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


# --- memo ---


def test_an_unchanged_tree_is_not_read_again_and_its_memo_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hashed: list[str]
) -> None:
    root, memo = write(tmp_path / "root", {"a": "1", "d/b": "2"}), tmp_path / "state/memo"
    later(monkeypatch, 10)
    first = read_tree(root, memo=memo)
    assert sorted(hashed) == ["a", "d/b"]
    inode = memo.stat().st_ino
    monkeypatch.setattr(source_tree._Git, "decide", None)
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


def test_a_file_that_became_a_folder_is_judged_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


# --- parts ---


def tree_of(sizes: dict[str, int]) -> Tree:
    entries = tuple(TreeEntry(path=path, kind="file", digest=path, size=size) for path, size in sorted(sizes.items()))
    return Tree(root=Path("/p"), digest="whole", entries=entries)


def test_heavy_folders_at_the_top_are_parts_of_their_own_the_heaviest_first() -> None:
    tree = tree_of({"a/x": 600_000, "a/y": 600_000, "b/deep/z": 2_000_000, "c/x": 900_000, "big": 5_000_000, "a.py": 1})
    found = source_tree.parts(tree)
    assert [(label, [entry.path for entry in part.entries]) for label, part in found] == [
        ("b", ["b/deep/z"]),
        ("a", ["a/x", "a/y"]),
        ("", ["a.py", "big", "c/x"]),
    ]
    assert {part.root for _, part in found} == {tree.root}


def test_a_light_project_is_one_part() -> None:
    tree = tree_of({"a/x": 900_000, "big": 5_000_000})
    assert source_tree.parts(tree) == (("", tree),)


def test_an_edit_changes_the_part_alone_in_which_the_file_is() -> None:
    before = tree_of({"a/x": 2_000_000, "b/x": 1_000_000, "top": 1})
    after = tree_of({"a/x": 2_000_000, "b/x": 1_000_000, "top": 2, "new": 1})
    digests, others = ({label: part.digest for label, part in source_tree.parts(tree)} for tree in (before, after))
    assert {label for label in digests if digests[label] != others[label]} == {""}


@given(st.dictionaries(st.sampled_from([f"{c}/{n}" for c in "abcdefghijkl" for n in "xy"] + ["p", "q"]),
                       st.integers(0, 3_000_000)))  # fmt: skip
def test_every_file_is_in_exactly_one_of_a_few_parts(sizes: dict[str, int]) -> None:
    tree = tree_of(sizes)
    found = source_tree.parts(tree)
    assert sorted(entry.path for _, part in found for entry in part.entries) == [entry.path for entry in tree.entries]
    assert len(found) <= 9 and found[-1][0] == ""
