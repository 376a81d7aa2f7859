"""Folders that containers mount: what is in them, that they never change, and when they are removed."""

from __future__ import annotations

import errno
import os
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from ocicaliban.build import folder_store, mounted_folders
from ocicaliban.build.mounting import Folder
from ocicaliban.containers import image_store, oci_layout, workspace
from ocicaliban.errors import OcicalibanError
from ocicaliban.model.image import Tree
from ocicaliban.project import source_tree
from ocicaliban.system import filesystems


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setattr(mounted_folders, "mounted_now", frozenset)
    root = tmp_path / "project"
    for name, text in {
        "train.py": "1",
        "package/__init__.py": "",
        "package/a.py": "a",
        "run.sh": "#!/bin/sh\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "run.sh").chmod(0o700)
    (root / "link").symlink_to("package/a.py")
    return root


def made(root: Path, *more: tuple[str, Tree]) -> Path:
    tree = source_tree.read_tree(root)
    trees = {tree.digest: tree, **{each.digest: each for _, each in more}}
    folder = Folder(target="/usr/app", parts=(("", tree.digest), *((place, each.digest) for place, each in more)))
    return folder_store.make(folder, lambda whole, number: trees[whole.parts[number][1]])


def seen(folder: Path) -> dict[str, tuple[str, int, bytes, float]]:
    """What is in a folder: each path with its kind, mode, contents and time."""
    found = {}
    for path in (folder, *folder.rglob("*")):
        status = path.lstat()
        kind = "link" if path.is_symlink() else "dir" if path.is_dir() else "file"
        content = os.fsencode(os.readlink(path)) if kind == "link" else path.read_bytes() if kind == "file" else b""
        mode = 0o777 if kind == "link" else status.st_mode & 0o7777
        found[str(path.relative_to(folder))] = (kind, mode, content, status.st_mtime)
    return found


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_folder_is_what_a_layer_would_be(project: Path, tmp_path: Path, mask: int) -> None:
    tree = source_tree.read_tree(project)
    before = os.umask(mask)
    try:
        folder = made(project)
    finally:
        os.umask(before)
    oci_layout.write_layer(tree, "/usr/app", tmp_path / "layer.tar")
    with tarfile.open(tmp_path / "layer.tar") as tar:
        kinds = {tarfile.REGTYPE: "file", tarfile.DIRTYPE: "dir", tarfile.SYMTYPE: "link"}
        expected = {}
        for member in tar.getmembers():
            if member.name.startswith("usr/app"):
                file = tar.extractfile(member) if member.isreg() else None
                content = file.read() if file else os.fsencode(member.linkname)
                name = os.path.relpath(member.name, "usr/app")
                expected[name] = (kinds[member.type], member.mode, content, member.mtime)
    assert seen(folder) == expected
    assert len(expected) == 7


def test_an_edit_in_its_place_changes_no_folder_and_unchanged_files_are_there_once(project: Path) -> None:
    first = made(project)
    before = seen(first)
    with (project / "train.py").open("r+") as file:
        file.write("2")
    second = made(project)
    assert seen(first) == before
    assert (second / "train.py").read_text() == "2"
    assert (second / "package/a.py").samefile(first / "package/a.py")
    assert not (second / "package/a.py").samefile(project / "package/a.py")
    assert made(project) == second


def test_a_later_tree_replaces_what_an_earlier_one_has(project: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "train.py").mkdir(parents=True)
    (other / "train.py" / "x").write_text("x")
    (other / "package").write_text("now a file")
    (other / "run.sh").write_text("2")
    folder = made(project, ("", source_tree.read_tree(other)))
    assert (folder / "train.py" / "x").read_text() == "x"
    assert (folder / "package").read_text() == "now a file"
    assert (folder / "run.sh").read_text() == "2"
    below = made(project, ("deep/down", source_tree.read_tree(other)))
    assert (below / "deep/down/run.sh").read_text() == "2"
    assert below.joinpath("deep").stat().st_mode & 0o777 == 0o755


def test_a_file_that_changes_meanwhile_leaves_nothing(project: Path) -> None:
    tree = source_tree.read_tree(project)
    (project / "train.py").write_text("other")
    with pytest.raises(OcicalibanError, match=r"train\.py changed while it was being copied"):
        folder_store.make(Folder(target="/usr/app", parts=(("", tree.digest),)), lambda *_: tree)
    (project / "train.py").unlink()
    with pytest.raises(OcicalibanError, match=r"train\.py changed .*: No such file"):
        folder_store.make(Folder(target="/usr/app", parts=(("", tree.digest),)), lambda *_: tree)
    assert not [*folder_store.path_of("x").parent.iterdir()]
    assert not [*(folder_store.root() / "files").glob("*/.*")]


@pytest.mark.parametrize("code", [errno.EMLINK, errno.EPERM, errno.EXDEV])
def test_without_hard_links_files_are_copied(project: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    real = os.link

    def link(source: str, target: str) -> None:
        real(source, target)
        os.unlink(target)
        raise OSError(code, os.strerror(code))

    first = seen(made(project))
    (project / "new.py").write_text("new")
    monkeypatch.setattr(os, "link", link)
    second = seen(made(project))
    assert second.pop("new.py")[2] == b"new"
    assert second == first


def test_what_a_killed_process_left_is_replaced(project: Path) -> None:
    path = made(project)
    half = path.with_name(f".{path.name}")
    path.rename(half)
    (half / "train.py").unlink()
    assert (made(project) / "train.py").read_text() == "1"
    assert not half.exists()


def test_folders_are_removed_with_the_files_that_nothing_else_has(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "remove_leftovers", lambda: None)
    (project / "big").write_bytes(b"x" * 1000)
    first = made(project)
    (project / "train.py").write_text("22")
    second = made(project)
    out: list[str] = []
    assert mounted_folders.remove(lambda key: key == second.name, dry_run=True, out=out.append) == 1
    assert first.is_dir()
    assert mounted_folders.remove(lambda key: key == second.name, dry_run=False, out=out.append) == 1
    assert out == [f"{first}  1 B"] * 2
    assert not first.exists()
    assert (second / "big").stat().st_nlink == 2
    image_store.mark_used(second.name)  # it may be about to be mounted
    assert mounted_folders.remove(lambda _: False, dry_run=False, out=out.append) == 0
    image_store.forget_use(second.name)
    monkeypatch.setattr(mounted_folders, "mounted_now", lambda: frozenset({second.name}))
    assert mounted_folders.remove(lambda _: False, dry_run=False, out=out.append) == 0
    monkeypatch.setattr(mounted_folders, "mounted_now", frozenset)
    assert mounted_folders.remove(lambda _: False, dry_run=False, out=out.append) > 1000
    assert not [*(folder_store.root() / "files").glob("*/*")]
    assert mounted_folders.keys() == ()


A, B = "a1" * 32, "b2" * 32


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            f"61 0:9 / /m rw - overlay overlay rw,lowerdir=/home/a/.cache/ocicaliban/mounted/folders/{A},upperdir=/u",
            {A},
        ),
        (
            f"61 0:9 / /m rw - overlay overlay rw,lowerdir=/with\\040space/mounted/folders/{A}:/x/mounted/folders/{B}",
            {A, B},
        ),
        (f"fuse-overlayfs\0-o\0lowerdir=/with space/mounted/folders/{A},upperdir=/u,workdir=/w,private\0/m\0", {A}),
        (f"podman\0run\0-v\0/c/mounted/folders/{B}:/usr/app:O\0", {B}),
        (f"61 0:9 / /m rw - overlay overlay rw,lowerdir=/storage/overlay/{A}/diff", set()),
        (f"/c/mounted/folders/{A}0 /c/mounted/folders/.{A} /c/mounted/changes/{A} /c/mounted/folders/{A[1:]}", set()),
        ("", set()),
    ],
)
def test_the_folders_that_are_mounted_are_known(text: str, found: set[str]) -> None:
    assert mounted_folders.keys_in(text) == found


def test_a_process_that_serves_a_mount_keeps_its_folder() -> None:
    # As fuse-overlayfs has it, which the kernel's list does not tell.
    with subprocess.Popen(["sh", "-c", "read x", "-o", f"lowerdir=/mounted/folders/{A}"], stdin=subprocess.PIPE) as one:
        assert A in mounted_folders.mounted_now()
        one.communicate()


def test_what_another_process_writes_at_this_moment_is_not_removed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "remove_leftovers", lambda: None)
    place = folder_store.root() / "files" / "ab"
    place.mkdir(parents=True)
    for name in (".half", "whole"):
        (place / name).touch()
    mounted_folders.remove(lambda _: True, dry_run=False, out=print)
    assert [path.name for path in place.iterdir()] == [".half"]
    monkeypatch.setattr(time, "time", lambda: (place / ".half").stat().st_ctime + 2 * 86400)
    mounted_folders.remove(lambda _: True, dry_run=False, out=print)
    assert not [*place.iterdir()]


@pytest.mark.parametrize("many", [True, False])
def test_a_file_is_kept_only_when_it_is_on_the_disk(project: Path, monkeypatch: pytest.MonkeyPatch, many: bool) -> None:
    for number in range(100 if many else 3):
        (project / f"{number}.py").write_text(f"{number % 80}")
    store, synced = folder_store.root() / "files", []

    def whole() -> list[Path]:
        return [path for path in store.glob("*/*") if not path.name.startswith(".")]

    def sync(what: object) -> None:
        synced.append(what)
        if len(synced) == 1:
            assert whole() == []
            raise OSError(errno.EIO, "the disk is faulty")

    monkeypatch.setattr(filesystems, "flush", sync)
    if not many:
        monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(OSError, match="faulty"):
        made(project)
    assert not [*store.glob("*/*")]
    folder = made(project)
    assert len(synced) == (2 if many else 8)  # each once: one.py and train.py are equal
    assert not [*store.glob("*/.*")]
    assert {path.stat().st_ino for path in whole()} == {path.stat().st_ino for path in folder.rglob("*.*")}


def test_a_file_that_a_loss_of_power_left_empty_is_replaced(project: Path) -> None:
    first = made(project)
    (first / "package/a.py").write_text("")  # and so it is in the store
    (project / "new.py").write_text("new")
    second = made(project)
    assert (second / "package/a.py").read_text() == "a"
    (project / "new.py").write_text("newer")
    assert (made(project) / "package/a.py").samefile(second / "package/a.py")


def test_mounts_tell_which_folders_they_need(project: Path) -> None:
    path = made(project)
    mounts = (f"{path}:/usr/app:O", "/home/ada/out:/out", f"{folder_store.path_of('a' * 64)}:/opt/venv:O")
    assert folder_store.held_by(mounts) == {path.name, "a" * 64}
    assert folder_store.missing(mounts) == {"a" * 64}


def test_what_a_script_changed_is_put_over_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    below, changed = tmp_path / "cache/below", tmp_path / "cache/changed"
    for path in ("bin/python", "lib/gone.py", "lib/kept.py", "lib/pkg/old.py", "lib/again/old.py", "lib/was/x"):
        (below / path).parent.mkdir(parents=True, exist_ok=True)
        (below / path).write_text("below")
    for path in ("lib/new.py", "lib/kept.py", "lib/again/new.py", "lib/was"):
        (changed / path).parent.mkdir(parents=True, exist_ok=True)
        (changed / path).write_text("changed")
    (changed / "lib/.wh.gone.py").touch()  # as fuse-overlayfs marks it; the kernel's mark needs a device
    (changed / "lib/again/.wh..wh..opq").touch()
    (changed / "lib/again").chmod(0o750)
    (changed / "lib/new.py").chmod(0o755)
    (changed / "lib/link").symlink_to("new.py")
    before = seen(below)
    folder = folder_store.make(
        Folder(target="/opt/venv", parts=(("", "1" * 64), ("", "2" * 64))),
        lambda _, number: ((below,), (changed,))[number],
    )
    found = {name: (mode, content) for name, (kind, mode, content, _) in seen(folder).items() if kind != "dir"}
    assert found == {
        "bin/python": (0o644, b"below"),
        "lib/kept.py": (0o644, b"changed"),
        "lib/pkg/old.py": (0o644, b"below"),
        "lib/again/new.py": (0o644, b"changed"),
        "lib/was": (0o644, b"changed"),
        "lib/new.py": (0o755, b"changed"),
        "lib/link": (0o777, b"new.py"),
    }
    assert (folder / "lib/again").stat().st_mode & 0o777 == 0o750
    assert (folder / "lib/new.py").samefile(changed / "lib/new.py")
    assert {name: each[:3] for name, each in seen(below).items()} == {name: each[:3] for name, each in before.items()}


def test_what_is_set_aside_is_made_again_and_stays_for_containers(project: Path) -> None:
    path = made(project)
    tree = source_tree.read_tree(project)
    folder_store.forget(Folder(target="/usr/app", parts=(("", tree.digest),)))
    assert not path.exists()
    assert made(project) == path
    [aside] = (each for each in path.parent.iterdir() if each.name.startswith("."))
    assert (aside / "train.py").read_text() == "1"
    mounted_folders.remove(lambda _: True, dry_run=False, out=print)
    assert aside.exists()
