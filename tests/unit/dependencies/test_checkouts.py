"""Packages from git, fetched from repositories on the disk."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ocicaliban.dependencies import checkouts, editable_git
from ocicaliban.dependencies.checkouts import Checkout, parsed
from ocicaliban.errors import UsageError
from tests import folders

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PACKAGE = '[project]\nname = "nets"\nversion = "1"\n[build-system]\nrequires = ["flit_core"]\n'


@pytest.mark.parametrize(
    "text, addresses",
    [
        ("nets @ git+https://me:secret@example.org/n.git@main", ("https://me:secret@example.org/n.git",)),
        ("nets @ git+https://${TOKEN}@example.org/n.git", ("https://secret@example.org/n.git",)),
        ('url = "git+https://me:secret@example.org/n.git@v1#egg=nets"', ("https://me:secret@example.org/n.git",)),
        ("nets @ git+https://me:secret@example.org/other.git", ()),
        ("nets @ git+https://example.org/n.git@main", ()),
    ],
)
def test_credentials_that_the_project_declares_are_found_again(
    monkeypatch: pytest.MonkeyPatch, text: str, addresses: tuple[str, ...]
) -> None:
    monkeypatch.setenv("TOKEN", "secret")
    checkout = parsed(f"nets @ git+https://example.org/n.git@{COMMIT}#subdirectory=py", [text])
    assert checkout.addresses == addresses
    assert (checkout.name, checkout.url, checkout.subdirectory) == ("nets", "https://example.org/n.git", "py")


def repository(folder: Path, files: dict[str, str]) -> str:
    """Make a repository with one commit, and return the commit."""
    folders.write(folder, files)
    git = ["git", "-C", str(folder), "-c", "user.email=a@example.org", "-c", "user.name=a"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"], ["tag", "v1.0"]):
        subprocess.run([*git, *words], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


def test_a_checkout_has_the_files_of_its_commit_and_how_it_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    commit = repository(tmp_path / "n", {"py/pyproject.toml": PACKAGE, "py/nets.py": "x = 1\n"})
    checkout = Checkout(name="nets", url=f"file://{tmp_path}/n", commit=commit, subdirectory="py")
    (tmp_path / "n" / "py" / "nets.py").write_text("x = 2\n")
    tree = checkout.make(tmp_path / "made", lambda _: None)
    assert folders.files(tree) == ["package.json", "source/py/nets.py", "source/py/pyproject.toml"]
    assert (tree.root / "source/py/nets.py").read_text() == "x = 1\n"
    assert f'"commit_id": "{commit}"' in (tree.root / "package.json").read_text()
    assert checkouts.version(tree.root / "source").startswith("v1.0-0-g")
    # The repository stays in the cache.
    (tmp_path / "n").rename(tmp_path / "gone")
    checkout.make(tmp_path / "again", lambda _: None)


def test_a_commit_that_is_gone_and_a_folder_without_a_package_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    commit = repository(tmp_path / "n", {"nets.py": ""})
    with pytest.raises(UsageError, match="has no package at the commit"):
        Checkout(name="nets", url=f"file://{tmp_path}/n", commit=commit).make(tmp_path / "made", lambda _: None)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("six\n-e git+https://example.org/n.git@v1#egg=nets\n", "six\nnets @ git+https://example.org/n.git@v1\n"),
        ("-e git+ssh://git@example.org/n#egg=nets&subdirectory=py\n",
         "nets @ git+ssh://git@example.org/n#subdirectory=py\n"),
        ("-e git+https://example.org/n\n-e ./libs/x\n", None),
    ],
)  # fmt: skip
def test_an_editable_requirement_from_git_is_named_as_uv_names_it(
    tmp_path: Path, text: str, expected: str | None
) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text(text)
    with editable_git.rewritten([path], tmp_path) as (found,):
        assert found.read_text() == (expected or text)
        assert (found == path) == (expected is None)


def test_what_a_rewritten_list_names_is_found_from_its_copy(tmp_path: Path) -> None:
    text = "-e git+https://e.org/n#egg=nets\n-rb.txt\n-f wheels\n--find-links=https://e.org/w\n-c https://e.org/c.txt\n"
    folders.write(tmp_path, {"a.txt": text, "b.txt": "six\n", "wheels/x": ""})
    with editable_git.rewritten([tmp_path / "a.txt"], tmp_path) as [copy]:
        lines = copy.read_text().splitlines()
    assert lines[1:] == [
        f"-r {tmp_path / 'b.txt'}",
        f"-f {tmp_path / 'wheels'}",
        "--find-links https://e.org/w",
        "-c https://e.org/c.txt",
    ]


def test_included_lists_are_rewritten_too(tmp_path: Path) -> None:
    folders.write(tmp_path, {"a.txt": "-r sub/b.txt\n-c c.txt\n", "sub/b.txt": "-e git+https://e.org/n#egg=nets\n"})
    with editable_git.rewritten([tmp_path / "a.txt"], tmp_path) as (found,):
        first, second = found.read_text().splitlines()
        assert Path(first.removeprefix("-r ")).read_text() == "nets @ git+https://e.org/n\n"
        assert second == f"-c {tmp_path}/c.txt"
