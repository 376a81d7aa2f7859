"""The commit of a project, and whether its files are those of the commit."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

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


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "on_path", lambda name: None)
    assert git.head(tmp_path) == ("", False)
