"""Which file declares the dependencies."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.dependencies.cog import CogYaml
from ocicaliban.dependencies.conda.conda_lock import ExplicitLock
from ocicaliban.dependencies.conda.pixi import PixiPyproject
from ocicaliban.dependencies.declaration import Declaration
from ocicaliban.dependencies.hatch import HatchEnvironment
from ocicaliban.dependencies.pdm import PdmProject
from ocicaliban.dependencies.poetry import PoetryProject
from ocicaliban.dependencies.pylock import PylockToml
from ocicaliban.dependencies.registry import WAYS, declaration_in, find_declaration
from ocicaliban.dependencies.requirements_txt import RequirementsList
from ocicaliban.dependencies.script_header import ScriptHeader
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
        if way in (*TABLES, HatchEnvironment, CogYaml, ScriptHeader):
            continue  # a table that pyproject.toml has not, or another form
        (tmp_path / way.FILE).write_text(texts.get(way.FILE, "[project]\n[options.extras_require]\n"))
        declaration = find_declaration(tmp_path)
        assert declaration and type(declaration) is way and declaration.path == tmp_path / way.FILE


@pytest.mark.parametrize(
    ("name", "way"),
    [
        *((way.FILE, way) for way in WAYS if way not in (ExplicitLock, *TABLES, HatchEnvironment, ScriptHeader)),
        ("train.py", ScriptHeader),
        ("sub/uv.lock", WAYS[0]),
        ("pylock.gpu.toml", PylockToml),
        ("needs", RequirementsList),
        ("requirements.in", RequirementsList),
        ("other.toml", Declaration),
    ],
)
def test_the_form_of_a_file_that_the_configuration_names(name: str, way: type[Declaration], tmp_path: Path) -> None:
    assert type(declaration_in(tmp_path, tmp_path / name)) is way
