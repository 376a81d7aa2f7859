"""The commit of a project, and whether its files are those of the commit."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ocicaliban.errors import UsageError
from ocicaliban.project import git
from ocicaliban.system import process


def test_the_commit_and_whether_files_differ(tmp_path: Path) -> None:
    def run(*words: str) -> str:
        config = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
        argv = ["git", *config, "-C", str(tmp_path), *words]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()

    assert git.head(tmp_path) == ("", False)
    run("init", "-q")
    assert git.head(tmp_path) == ("", False)
    (tmp_path / "a.py").write_text("1")
    run("add", ".")
    run("commit", "-qm", "one")
    commit = run("rev-parse", "HEAD")
    assert git.head(tmp_path) == (commit, False)
    (tmp_path / "b.py").write_text("2")
    assert git.head(tmp_path) == (commit, True)


def test_a_shallow_clone_gives_no_bundle(tmp_path: Path) -> None:
    def run(*words: str) -> None:
        config = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
        subprocess.run(["git", *config, "-C", str(tmp_path), *words], check=True, capture_output=True)

    run("init", "-q", "whole")
    for number in "12":
        run("-C", "whole", "commit", "-qm", number, "--allow-empty")
    run("clone", "-q", "--depth=1", f"file://{tmp_path}/whole", "part")
    (tmp_path / "part" / "code").mkdir()
    commit, _ = git.head(tmp_path / "part")
    assert b"git bundle" in git.bundle(tmp_path / "whole", commit)
    with pytest.raises(UsageError, match="is a shallow clone") as caught:
        git.bundle(tmp_path / "part" / "code", commit)
    assert caught.value.hint == "git fetch --unshallow"
    run("-C", "part", "fetch", "-q", "--unshallow")
    (tmp_path / "source.bundle").write_bytes(git.bundle(tmp_path / "part" / "code", commit))
    run("clone", "-q", "source.bundle", "again")


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "on_path", lambda name: None)
    assert git.head(tmp_path) == ("", False)


@pytest.mark.parametrize(
    "files",
    [
        {".git": b"gitdir: \0\n"},
        {".git": b""},
        {".git": b"gitdir: real\n", "real/commondir": b"../\0"},
        {".git": b"gitdir: real\n", "real/commondir": b"\xff\xfe"},
    ],
)
def test_a_damaged_checkout_has_no_tags(tmp_path: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    assert git.tags(tmp_path) == ()


def test_the_tags_of_a_worktree(tmp_path: Path) -> None:
    (tmp_path / "real" / "worktrees" / "x").mkdir(parents=True)
    (tmp_path / "real" / "worktrees" / "x" / "commondir").write_text("../..\n")
    (tmp_path / "real" / "packed-refs").write_text("# pack-refs\n1234 refs/tags/v1.0\n")
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout" / ".git").write_text(f"gitdir: {tmp_path}/real/worktrees/x\n")
    assert git.tags(tmp_path / "checkout") == ("v1.0",)


def test_the_files_that_tell_a_commit_are_known_without_git(tmp_path: Path) -> None:
    project = tmp_path / "repository" / "sub"
    project.mkdir(parents=True)
    assert str(tmp_path / "repository" / ".git" / "HEAD") in git.state_files(project)  # it may become one
    place = tmp_path / "repository" / ".git"
    place.mkdir()
    (place / "HEAD").write_text("ref: refs/heads/main\n")
    found = git.state_files(project)
    assert {str(place / name) for name in ("HEAD", "index", "packed-refs", "refs/heads/main")} <= {*found}
    assert str(project / ".git" / "HEAD") in found
    tree = tmp_path / "tree"
    tree.mkdir()
    own = place / "worktrees" / "tree"
    own.mkdir(parents=True)
    (own / "commondir").write_text("../..\n")
    (own / "HEAD").write_text("0123456789abcdef\n")
    (tree / ".git").write_text(f"gitdir: {own}\n")
    found = git.state_files(tree)
    assert {str(tree / ".git"), str(own / "HEAD"), str(own / "index")} <= {*found}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://ada:hunter2@example.org/x.git", "https://example.org/x.git"),
        ("https://example.org/x@y.git", "https://example.org/x@y.git"),
        ("ssh://git@example.org:22/x.git", "ssh://example.org:22/x.git"),
        ("git@github.com:ada/x.git", "github.com:ada/x.git"),
        ("ada@login.cluster:/home/ada/x.git", ""),
        ("login.cluster:~ada/x.git", ""),
    ],
)
def test_an_address_is_shown_without_its_user(url: str, shown: str) -> None:
    assert git.without_login(url) == shown
