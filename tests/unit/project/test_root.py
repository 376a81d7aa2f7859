"""Which folder is the project of the folder where a command starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.dependencies.registry import WAYS
from ocicaliban.project.root import DECLARING, Location, locate

WORKSPACE = '[tool.uv.workspace]\nmembers = ["packages/*", "tools/**/plugin"]\nexclude = ["packages/old"]\n'
MEMBER = "[project]\nname = 'x'\n"


@pytest.mark.parametrize(
    ("written", "start", "root"),
    [
        ({}, "a/b", "a/b"),
        ({"ocicaliban.toml": ""}, "a/b", ""),
        ({"ocicaliban.toml": "", "a/ocicaliban.toml": ""}, "a/b", "a"),
        ({"ocicaliban.toml": "", "a/requirements.txt": ""}, "a/b", ""),
        ({".calibanconfig.json": "{}"}, "a/b", ""),
        # A repository of its own is another project.
        ({"ocicaliban.toml": "", "a/.git/HEAD": ""}, "a/b", "a/b"),
        ({"ocicaliban.toml": "", "a/.git": "gitdir: x"}, "a/b", "a/b"),
        ({".git/HEAD": "", "requirements.txt": ""}, "a/b", ""),
        ({".git/HEAD": "", "environment.yml": ""}, "a", ""),
        ({".git/HEAD": "", "poetry.lock": "", "a/setup.py": ""}, "a/b", "a"),
        ({".git/HEAD": ""}, "a/b", "a/b"),
        # Outside of git only what uv finds too.
        ({"requirements.txt": ""}, "a/b", "a/b"),
        ({"pyproject.toml": ""}, "a/b", ""),
        ({"pyproject.toml": "", "a/b/requirements.txt": ""}, "a/b", "a/b"),
        ({"pyproject.toml": "{"}, "a", ""),
        # uv's workspaces.
        ({"pyproject.toml": WORKSPACE, "packages/nets/pyproject.toml": MEMBER}, "packages/nets/src", ""),
        ({"pyproject.toml": WORKSPACE, "tools/x/y/plugin/pyproject.toml": MEMBER}, "tools/x/y/plugin", ""),
        ({"pyproject.toml": WORKSPACE, "packages/old/pyproject.toml": MEMBER}, "packages/old", "packages/old"),
        ({"pyproject.toml": WORKSPACE, "other/nets/pyproject.toml": MEMBER}, "other/nets", "other/nets"),
        ({"pyproject.toml": WORKSPACE, "packages/a/pyproject.toml": "", "packages/a/uv.lock": ""}, "packages/a", ""),
        ({"pyproject.toml": WORKSPACE}, "scripts", ""),
        ({"pyproject.toml": "[tool]\nuv = 3", "a/pyproject.toml": MEMBER}, "a", "a"),
    ],
)
def test_the_project_is_the_nearest_that_is_configured_or_declared(
    tmp_path: Path, written: dict[str, str], start: str, root: str
) -> None:
    for name, text in written.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / start).mkdir(parents=True, exist_ok=True)
    folder = str(Path(start).relative_to(root)) if start != root else ""
    assert locate(tmp_path / start) == Location(tmp_path / root, folder)


def test_the_home_folder_is_no_project_of_the_folders_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, work = tmp_path / "home/ada", tmp_path / "home/ada/work"
    work.mkdir(parents=True)
    for folder in (home, home.parent):
        (folder / "ocicaliban.toml").touch()
        (folder / ".git").mkdir()
    monkeypatch.setenv("HOME", str(home))
    assert locate(work) == Location(work)
    assert locate(home) == Location(home)


def test_every_file_that_is_read_makes_a_project() -> None:
    assert {way.FILE for way in WAYS if way.FILE} <= {*DECLARING}
