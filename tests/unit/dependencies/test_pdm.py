"""[tool.pdm] without a lock, as requirements that uv compiles."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.dependencies import pdm_project
from ocicaliban.dependencies.conda.pixi import PixiPyproject
from ocicaliban.dependencies.declaration import Declaration
from ocicaliban.dependencies.indexes import Indexes
from ocicaliban.dependencies.pdm import PdmProject, own_of
from ocicaliban.dependencies.poetry import PoetryProject

ROOT = Path("/home/ada/study")
NOW = """
[project]
name = "study"
requires-python = ">=3.10"
dependencies = ["six", "nets @ file:///${PROJECT_ROOT}/libs/nets ; python_version > '3'"]
[project.optional-dependencies]
plot = ["tabulate"]
[dependency-groups]
test = ["iniconfig"]
[tool.pdm.dev-dependencies]
lint = ["attrs", "-e file:///${PROJECT_ROOT}/libs/tools#egg=tools"]
[[tool.pdm.source]]
name = "own"
url = "https://own.example/simple"
include_packages = ["own-*", "Six"]
[[tool.pdm.source]]
name = "more"
url = "https://more.example/simple"
"""
FORMER = """
[tool.pdm]
name = "study"
python_requires = ">=3.9"
[tool.pdm.dependencies]
six = ">=1"
requests = {version = "*", extras = ["socks"], marker = "python_version > '3'"}
[tool.pdm.dev-dependencies]
iniconfig = "2.0"
"""


def test_what_pdm_would_lock() -> None:
    raw = tomllib.loads(NOW)
    own = own_of(raw, ROOT, ("lint", "test"), ("plot",))
    assert own.lines == (
        "six",
        "nets @ file:///home/ada/study/libs/nets ; python_version > '3'",
        "attrs",
        "tools @ file:///home/ada/study/libs/tools",
        "iniconfig",
        "tabulate",
    )
    assert own.indexes == ("", "more=https://more.example/simple")
    assert own.pins == {"six": "own=https://own.example/simple"}
    assert pdm_project.lock_indexes(raw) == Indexes(
        indexes=("more=https://more.example/simple",), explicit=("own=https://own.example/simple",)
    )


def test_tables_from_before_there_was_project() -> None:
    own = own_of(tomllib.loads(FORMER), ROOT, ("dev",), ())
    assert own.lines == ("six>=1", "requests[socks] ; (python_version > '3')", "iniconfig==2.0")


def test_a_source_called_pypi_replaces_the_default_one() -> None:
    raw = {"tool": {"pdm": {"source": [{"name": "pypi", "url": "https://mirror.example/simple"}]}}}
    assert pdm_project.general_indexes(raw) == ("pypi=https://mirror.example/simple",)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (NOW, True),
        (FORMER, True),
        ('[project]\nname = "x"\n[tool.pdm]\ndistribution = false\n', False),
        ("tool = 1\n", False),
    ],
)
def test_whose_dependencies_pdm_reads(text: str, found: bool, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    declaration = PdmProject.find(tmp_path)
    assert bool(declaration) is found
    if declaration and text == NOW:
        assert declaration.resolved_groups(()) == ("lint", "test")
        assert declaration.python_requirements()[0].specifier == ">=3.10"
        assert declaration.resolved_extras((), "cpu") == ()
    elif declaration:
        assert declaration.resolved_groups(()) == ("dev",)
        assert declaration.python_requirements()[0].specifier == ">=3.9"


@pytest.mark.parametrize(
    ("way", "text", "table"),
    [
        (PdmProject, "[tool.pdm.dev-dependencies]\ntest = ['six']\n", "tool.pdm"),
        (PoetryProject, "[tool.poetry.dependencies]\nsix = '*'\n", "tool.poetry"),
        (PixiPyproject, "[tool.pixi.dependencies]\nsix = '*'\n", "tool.pixi"),
    ],
)
def test_a_table_is_named_with_its_own_file(tmp_path: Path, way: type[Declaration], text: str, table: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    declaration = way.find(tmp_path)
    assert declaration and declaration.shown == f"[{table}] of pyproject.toml"
    both = evolve(declaration, beside=(tmp_path / "requirements.txt",))
    assert both.shown == f"requirements.txt and [{table}] of pyproject.toml"
