"""Versions that a package takes from git."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.dependencies.git_version import described, locked_version
from ocicaliban.project import git
from tests import folders


@pytest.mark.parametrize(
    "answer, version",
    [
        ("v1.4-0-g1234567", "1.4"),
        ("v1.4.2-0-g1234567", "1.4.2"),
        ("1.4-3-g1234567", "1.5.dev3+g1234567"),
        ("release-2.0.9-12-gabc", "2.0.10.dev12+gabc"),
        ("study/1.0rc1-2-gabc", "1.0.dev2+gabc"),
        ("v3-0-gabc", "3"),
        ("1234567", "0.1.dev0+g1234567"),
        ("day-1-of-2-0-gabc", "0.1.dev0+gabc"),
        ("", "0.1.dev0"),
    ],
)
def test_the_version_follows_from_the_last_tag(answer: str, version: str) -> None:
    assert described(answer) == version


@pytest.mark.parametrize(
    "locked, tags, answer, version",
    [
        ("", [], "v1.4-0-gabc", "1.4"),
        ("1.4", ["v1.4", "v1.3"], None, "1.4"),
        ("1.5.dev2+gabc", ["v1.4"], None, "1.5.dev2+gabc"),
        ("1.5.dev2+gabc", ["v1.4", "v1.5"], "v1.5-0-gabc", "1.5"),
        ("1.4", ["v1.4", "v2.0"], "v2.0-1-gabc", "2.1.dev1+gabc"),
        ("1.4", ["v1.4", "other/v2.0"], "v1.4-7-gabc", "1.4"),
    ],
)
def test_a_locked_version_stays_until_there_is_a_newer_tag(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    locked: str,
    tags: list[str],
    answer: str | None,
    version: str,
) -> None:
    folders.write(tmp_path, {".git/HEAD": "", **{f".git/refs/tags/{tag}": "" for tag in tags}})
    asked: list[Path] = []
    monkeypatch.setattr(git, "describe", lambda folder: asked.append(folder) or answer)
    assert locked_version(tmp_path, locked) == version
    assert bool(asked) == (answer is not None)


def test_tags_are_read_from_packed_ones_and_from_worktrees(tmp_path: Path) -> None:
    packed = "# pack-refs with: peeled\naaaa refs/heads/main\nbbbb refs/tags/v1.0\n^cccc\ndddd refs/tags/v1.1\n"
    folders.write(tmp_path, {"p/.git/packed-refs": packed, "p/.git/refs/tags/v2": "", "p/sub/a.py": ""})
    folders.write(tmp_path, {"p/.git/worktrees/w/commondir": "../..\n"})
    folders.write(tmp_path, {"w/.git": f"gitdir: {tmp_path}/p/.git/worktrees/w\n"})
    for folder in ("p", "p/sub", "w"):
        assert set(git.tags(tmp_path / folder)) == {"v1.0", "v1.1", "v2"}
    assert not git.is_in_repository(tmp_path)
