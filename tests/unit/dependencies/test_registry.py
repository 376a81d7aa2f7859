"""Which file declares the dependencies."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.dependencies.conda.conda_lock import ExplicitLock
from ocicaliban.dependencies.conda.pixi import PixiPyproject
from ocicaliban.dependencies.declaration import Declaration
from ocicaliban.dependencies.pdm import PdmProject
from ocicaliban.dependencies.poetry import PoetryProject
from ocicaliban.dependencies.pylock import PylockToml
from ocicaliban.dependencies.registry import WAYS, declaration_in, find_declaration, unread_file
from ocicaliban.dependencies.requirements_txt import RequirementsList
from ocicaliban.errors import UsageError

TABLES = (PixiPyproject, PoetryProject, PdmProject)
"""The ways that read a tool's table of pyproject.toml."""


def test_the_first_way_that_a_project_has_is_taken(tmp_path: Path) -> None:
    assert find_declaration(tmp_path) is None
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\n")
    assert find_declaration(tmp_path) is None
    (tmp_path / "pyproject.toml").write_text("[project\n")
    with pytest.raises(UsageError, match=r"pyproject\.toml:1: not valid TOML"):
        find_declaration(tmp_path)
    (tmp_path / "requirements.txt").write_text("")
    with pytest.raises(UsageError, match=r"pyproject\.toml:1: not valid TOML"):
        find_declaration(tmp_path)  # it may contradict requirements.txt, which comes first
    for name in ("pyproject.toml", "requirements.txt"):
        (tmp_path / name).unlink()
    texts = {
        "environment.yml": "dependencies: [x]\n",
        "conda-linux-64.lock": "@EXPLICIT\n",
    }
    for way in reversed(WAYS):
        if way in TABLES:
            continue  # pyproject.toml has no such table
        (tmp_path / way.FILE).write_text(texts.get(way.FILE, "[project]\n[options.extras_require]\n"))
        declaration = find_declaration(tmp_path)
        assert declaration and type(declaration) is way and declaration.path == tmp_path / way.FILE


@pytest.mark.parametrize(
    ("name", "way"),
    [
        *((way.FILE, way) for way in WAYS if way not in (ExplicitLock, *TABLES)),
        ("sub/uv.lock", WAYS[0]),
        ("pylock.gpu.toml", PylockToml),
        ("needs", RequirementsList),
        ("requirements.in", RequirementsList),
        ("other.toml", Declaration),
    ],
)
def test_the_form_of_a_file_that_the_configuration_names(name: str, way: type[Declaration], tmp_path: Path) -> None:
    assert type(declaration_in(tmp_path, tmp_path / name)) is way


@pytest.mark.parametrize(
    ("files", "unread"),
    [
        ({}, ""),
        ({"pyproject.toml": "[tool.ruff]\n"}, ""),
        ({"setup.cfg": "[flake8]\n"}, ""),
        ({"setup.cfg": "[options]\ninstall_requires = six\n"}, ""),
        ({"pyproject.toml": '[tool.poetry]\nname = "a"\n'}, "the [tool.poetry] of pyproject.toml"),
    ],
)
def test_a_declaration_that_is_not_read_is_named(tmp_path: Path, files: dict[str, str], unread: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert unread_file(tmp_path) == unread
