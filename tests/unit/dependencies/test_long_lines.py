"""A very long word or run of spaces in a project's file takes no more time than its length.

Where a pattern takes quadratic time, these tests run into their time limit.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.dependencies import declaration, editable_git, installable, pip_options
from ocicaliban.dependencies.conda import agreement
from ocicaliban.errors import UsageError
from ocicaliban.project import credential_rules
from ocicaliban.project.root import workspace_root

LONG = 300_000


def test_the_files_that_a_build_names(tmp_path: Path) -> None:
    (tmp_path / "needs.txt").write_text("numpy\n")
    (tmp_path / "more.in").write_text("scipy\n")
    setup = f"x = '{'a' * LONG}' '{'a.' * LONG}' '{'b' * 300}.txt' .txt open('./needs.txt') 'more.in-' 'other.txts'"
    (tmp_path / "setup.py").write_text(setup)
    texts = {"setup.py": setup}
    declaration.add_build_files(texts, tmp_path)
    assert sorted(texts) == ["more.in", "needs.txt", "setup.py"]


def test_a_list_of_requirements(tmp_path: Path) -> None:
    lines = [f"numpy{' ' * LONG}==1", f"a{' ' * LONG}# b", "scipy  # why", "   # only", "\n" * LONG, "a " * LONG]
    text = "\n".join(lines)
    logical = [line for _, line in pip_options.logical_lines(text) if line]
    assert [line[:6] for line in logical] == ["numpy ", "a", "scipy", "a a a "]
    path = tmp_path / "requirements.txt"
    path.write_text("\n" * LONG + "numpy\n\n-e git+https://example.com/a.git#egg=a\n")
    with editable_git.rewritten([path], tmp_path) as (copy,):
        assert copy.read_text().split() == ["numpy", "a", "@", "git+https://example.com/a.git"]
    assert installable.local_path(f"a{' ' * LONG}x")
    assert installable.local_path("a [b] @ ./c") == "./c"


def test_a_comment_that_ends_with_a_backslash(tmp_path: Path) -> None:
    pip_options.read_options({"requirements.txt": "a #" * LONG}, tmp_path)
    with pytest.raises(UsageError, match="a comment ends with a backslash"):
        pip_options.read_options({"requirements.txt": "numpy # why \\\n"}, tmp_path)


def test_an_environment_of_conda() -> None:
    text = f"-{' ' * LONG}\n{' ' * LONG}\n- a{' ' * LONG}b\n  - numpy  # [linux]\n- 'scipy' # why\n- \"cuda\" #[win]\n"
    assert agreement.for_platform(["numpy", "scipy", "cuda"], text + "\n" * LONG, "linux-64") == ["numpy", "scipy"]


def test_a_text_that_may_hold_a_credential() -> None:
    rules = [rule for rule in credential_rules.RULES if b"users:" in rule.signs]
    assert rules
    for rule in rules:
        assert not rule.pattern.search(b"users: " + b" " * LONG)
        assert rule.pattern.search(b"users:\n- user:\n    token: abcdefghijklmnop12")


@pytest.mark.parametrize(
    ("members", "member", "fits"),
    [
        ("packages/*", "packages/a", True),
        ("packages/*", "packages/a/b", False),
        ("tools/**/plugin", "tools/plugin", True),
        ("tools/**/plugin", "tools/a/b/plugin", True),
        ("**", "a/b", True),
        ("pack[a-c]ge?/x", "packages/x", True),
        ("[z-a]", "z", False),
        ("a*" * 60 + "b", "a" * 200, False),
        ("**/" * 60 + "b", "/".join("a" * 60), False),
    ],
)
def test_the_members_of_a_workspace(tmp_path: Path, members: str, member: str, *, fits: bool) -> None:
    (tmp_path / "pyproject.toml").write_text(f'[tool.uv.workspace]\nmembers = ["{members}"]\n')
    folder = tmp_path / member
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text('[project]\nname = "a"\n')
    assert (workspace_root(folder) == tmp_path) is fits
