"""Which files the ignore files and the built-in rules leave out."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.project.ignore_rules import is_built_in
from ocicaliban.project.source_tree import left_out, read_tree
from tests.folders import files, paths, write

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


def test_without_ignore_rules_everything_but_credentials_is_read(tmp_path: Path) -> None:
    write(tmp_path, {".gitignore": "*", "d/.gitignore": "!.env", "a": "", **dict.fromkeys((*CACHES, "d/b"), "")})
    write(tmp_path, {f"{at}{name}": "" for at in ("", "d/") for name in CREDENTIALS})
    memo = tmp_path.parent / "memo"
    for _ in range(2):
        tree = read_tree(tmp_path, ignore=False, memo=memo)
        assert files(tree) == sorted([".gitignore", "a", "d/.gitignore", "d/b", *CACHES])
