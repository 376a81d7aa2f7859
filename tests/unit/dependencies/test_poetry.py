"""[tool.poetry] without a lock, as requirements that uv compiles."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.dependencies import poetry_project
from ocicaliban.dependencies.indexes import Indexes
from ocicaliban.dependencies.poetry import PoetryProject, own_of
from ocicaliban.dependencies.python_requirement import PythonRequirement
from ocicaliban.errors import UsageError

PYPROJECT = """
[tool.poetry]
name = "study"
version = "1"
[tool.poetry.dependencies]
python = "^3.10"
six = "^1.16"
idna = "~3.4"
attrs = [{ version = "^22", python = "<3.11" }, { version = "^23", python = ">=3.11" }]
requests = { version = ">=2", extras = ["socks"], platform = "linux" }
wheels = { version = "^1.0 || ^3.0", allow-prereleases = true }
toolz = { git = "https://host.example/toolz.git", branch = "main", subdirectory = "py" }
nets = { path = "libs/nets", develop = true }
far = { url = "https://host.example/far-1-py3-none-any.whl" }
torch = { version = "2.1", source = "cpu" }
tabulate = { version = "*", optional = true }
[tool.poetry.extras]
table = ["tabulate"]
[tool.poetry.group.train.dependencies]
toml = "*"
[tool.poetry.group.docs]
optional = true
[tool.poetry.group.docs.dependencies]
markdown = "3"
[[tool.poetry.source]]
name = "cpu"
url = "https://t.example/cpu"
priority = "explicit"
"""
LINES = (
    "six (>=1.16,<2.0)",
    "idna (>=3.4,<3.5)",
    'attrs (>=22,<23) ; python_version < "3.11"',
    'attrs (>=23,<24) ; python_version >= "3.11"',
    'requests[socks] (>=2) ; sys_platform == "linux"',
    "wheels (>=0.dev0,>=1.0,<4.0,!=2.*)",
    "toolz @ git+https://host.example/toolz.git@main#subdirectory=py",
    "nets @ file://ROOT/libs/nets",
    "far @ https://host.example/far-1-py3-none-any.whl",
    "torch (==2.1)",
)


def test_what_poetry_would_lock(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(PYPROJECT)
    expected = tuple(line.replace("ROOT", str(tmp_path)) for line in LINES)
    declaration = PoetryProject.find(tmp_path)
    assert declaration and declaration.resolved_groups(()) == ("train",)
    own = own_of(path, ("train",), ())
    assert own.lines == (*expected, "toml")
    assert (own.indexes, own.pins) == (("",), {"torch": "cpu=https://t.example/cpu"})
    assert own_of(path, (), ("table",)).lines == (*expected, "tabulate")
    assert own_of(path, ("docs",), ()).lines == (*expected, "markdown (==3)")
    assert declaration.indexes().explicit == ("cpu=https://t.example/cpu",)
    assert declaration.python_requirements() == (
        PythonRequirement(place="pyproject.toml: [tool.poetry.dependencies] python", specifier=">=3.10,<4.0"),
    )
    with pytest.raises(UsageError, match="declares no extra 'plot'"):
        declaration.resolved_extras(("plot",), "cpu")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('[tool.poetry]\nname = "x"\npackage-mode = false\n[project]\nname = "x"\ndependencies = ["six"]\n', False),
        ('[project]\nname = "x"\n[tool.poetry.group.dev.dependencies]\nsix = "*"\n', True),
        ('[tool.poetry.dependencies]\npython = "^3.10"\n', True),
        ("tool = 1\n", False),
    ],
)
def test_whose_dependencies_poetry_reads(text: str, found: bool, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    assert bool(PoetryProject.find(tmp_path)) is found


def source(name: str, priority: str = "") -> dict[str, str]:
    url = {} if name == "PyPI" else {"url": f"https://{name}/simple"}
    return {"name": name, **url, **({"priority": priority} if priority else {})}


@pytest.mark.parametrize(
    ("sources", "general"),
    [
        ([], ("",)),
        ([source("a")], ("a=https://a/simple",)),
        ([source("a", "supplemental")], ("", "a=https://a/simple")),
        ([source("a", "explicit")], ("",)),
        ([source("PyPI"), source("a", "primary")], ("", "a=https://a/simple")),
        ([source("a"), source("PyPI", "supplemental")], ("a=https://a/simple", "")),
        ([{"name": "a", "url": "https://a/simple", "secondary": True}], ("", "a=https://a/simple")),
    ],
)
def test_the_order_of_sources(sources: list[dict[str, object]], general: tuple[str, ...]) -> None:
    assert poetry_project.general_indexes({"tool": {"poetry": {"source": sources}}}) == general


def test_poetrys_variables_hold_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POETRY_HTTP_BASIC_MY_OWN_USERNAME", "me")
    monkeypatch.setenv("POETRY_HTTP_BASIC_MY_OWN_PASSWORD", "a/b")
    found = poetry_project.indexes({"tool": {"poetry": {"source": [source("my-own")]}}})
    assert found == Indexes(explicit=("my-own=https://me:a%2Fb@my-own/simple",))
