"""uv workspaces: the lock at the root, and what a member needs from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.dependencies import resolver, uv
from ocicaliban.dependencies.declaration import Declaration, ResolutionTarget
from ocicaliban.dependencies.registry import find_declaration
from ocicaliban.dependencies.uv_lock import UvLock
from ocicaliban.dependencies.workspace import for_member
from tests.plans import BASE

ROOT = '[tool.uv.workspace]\nmembers = ["libs/*"]\nexclude = ["libs/old"]\n'
LOCK = (
    'version = 1\nrequires-python = ">=3.11"\n[[package]]\nname = "nets"\nsource = { editable = "libs/nets" }\n'
    '[[package]]\nname = "app"\nsource = { virtual = "libs/app" }\n'
)
APP = '[project]\nname = "app"\ndependencies = ["nets"]\n[project.optional-dependencies]\nplot = ["toml"]\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path, text in {
        "pyproject.toml": ROOT,
        "uv.lock": LOCK,
        "libs/app/pyproject.toml": f'{APP}[dependency-groups]\ndev = ["six"]\n',
        "libs/nets/pyproject.toml": '[project]\nname = "nets"\n[build-system]\nrequires = []\n',
        "libs/old/pyproject.toml": '[project]\nname = "old"\n',
        "libs/app/sub/x.py": "",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def member(root: Path, folder: str) -> Declaration | None:
    return for_member(find_declaration(root), root, folder)


@pytest.mark.parametrize(
    ("folder", "expected"),
    [("", ""), ("libs", ""), ("libs/app", "libs/app"), ("libs/app/sub", "libs/app"), ("libs/old", "")],
)
def test_the_lock_is_asked_for_the_member_in_which_a_command_starts(root: Path, folder: str, expected: str) -> None:
    declaration = member(root, folder)
    assert isinstance(declaration, UvLock) and declaration.member == expected
    assert declaration.path == root / "uv.lock" and declaration.root == root


def test_a_member_has_its_own_extras_and_groups(root: Path) -> None:
    declaration = member(root, "libs/app")
    assert declaration and declaration.resolved_extras(("plot",), "cpu") == ("plot",)
    assert declaration.resolved_groups(()) == ("dev",)


def test_without_a_lock_the_members_own_file_counts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "uv.lock").unlink()
    assert member(root, "libs") is None
    declaration = member(root, "libs/nets/src")
    assert declaration and declaration.shown == "libs/nets/pyproject.toml"
    monkeypatch.setattr(Declaration, "compiled", lambda _self, _target, _preferred, files: f"# {files[0]}\n")
    text = declaration.resolve(ResolutionTarget(base=BASE, variant="cpu"), "")
    assert text == f"# {root}/libs/nets/pyproject.toml\n-e ./libs/nets\n"


def test_another_declaration_stays(root: Path) -> None:
    (root / "uv.lock").unlink()
    (root / "requirements.txt").write_text("six\n")
    declaration = member(root, "libs/app")
    assert declaration and declaration.shown == "requirements.txt"


def test_a_project_inside_a_workspace_has_the_lock_above_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exported = "-e .\n-e ./libs/nets\n./libs/other ; python_version > '3'\nsix==1 \\\n    --hash=sha256:00\n"
    folders: list[Path] = []
    monkeypatch.setattr(uv, "exported_lock", lambda folder, *_: folders.append(folder) or exported)
    declaration = find_declaration(root / "libs/app")
    assert isinstance(declaration, UvLock) and declaration.shown == "../../uv.lock"
    target = ResolutionTarget(base=BASE, variant="cpu")
    assert declaration.resolve(target, "") == (
        "-e ../..\n-e ../nets\n../other ; python_version > '3'\nsix==1 \\\n    --hash=sha256:00\n"
    )
    assert folders == [root / "libs/app"]
    at_root = find_declaration(root)
    assert at_root and at_root.resolve(target, "") == exported
    assert find_declaration(root / "libs/old").__class__.__name__ == "PyprojectToml"


def test_the_inputs_digest_follows_every_member(root: Path) -> None:
    def digest(folder: str = "") -> str:
        declaration = member(root, folder)
        assert declaration
        return resolver.inputs_digest(declaration, BASE, ())

    digests = {digest(), digest("libs/app"), digest("libs/nets")}
    (root / "libs/nets/pyproject.toml").write_text("[project]\n")
    digests |= {digest(), digest("libs/app")}
    assert len(digests) == 5
