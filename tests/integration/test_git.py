"""What git says of a project, by the real git."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ocicaliban.project import git

SETTINGS = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main")


def tell(folder: Path, *argv: str) -> str:
    return subprocess.run(
        ("git", *SETTINGS, "-C", str(folder), *argv), check=True, capture_output=True, text=True, timeout=60
    ).stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with a commit."""
    tell(tmp_path, "init", "--quiet")
    (tmp_path / "train.py").write_text("1\n")
    (tmp_path / ".gitignore").write_text("*.log\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "data").write_text("2\n")
    tell(tmp_path, "add", ".")
    tell(tmp_path, "commit", "--quiet", "--message=first")
    return tmp_path


def test_a_clean_tree(project: Path) -> None:
    commit = tell(project, "rev-parse", "HEAD")
    (project / "ignored.log").touch()
    assert git.head(project) == git.head(project / "sub") == (commit, False)


def test_a_change_and_a_new_file_make_it_dirty(project: Path) -> None:
    commit = tell(project, "rev-parse", "HEAD")
    (project / "train.py").write_text("3\n")
    assert git.head(project) == (commit, True)
    assert git.head(project / "sub") == (commit, False)
    tell(project, "checkout", "--quiet", ".")
    (project / "new.py").touch()
    assert git.head(project) == (commit, True)


def test_no_branch_but_a_commit(project: Path) -> None:
    tell(project, "checkout", "--quiet", "--detach")
    assert git.head(project) == (tell(project, "rev-parse", "HEAD"), False)


def test_no_commit_no_repository_no_folder(tmp_path: Path) -> None:
    assert git.head(tmp_path) == ("", False)
    assert git.head(tmp_path / "nowhere") == ("", False)
    tell(tmp_path, "init", "--quiet")
    assert git.head(tmp_path) == ("", False)


def test_no_git(project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert git.head(project) == ("", False)


def test_a_repository_of_somebody_else_is_let_alone(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = project / ".git" / "ran"
    tell(project, "config", "core.fsmonitor", f"touch {ran}; false")
    for name in ("GIT_CONFIG_SYSTEM", "GIT_CONFIG_GLOBAL"):  # the machine's may trust everybody
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert git.head(project) == ("", False)
    assert not ran.exists()
