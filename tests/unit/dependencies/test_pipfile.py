"""Pipfile without a lock, as requirements that uv compiles."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from ocicaliban.dependencies import pipenv_project
from ocicaliban.dependencies.own_requirements import OwnRequirements, requirement_line, with_variables
from ocicaliban.dependencies.pipfile import Pipfile
from ocicaliban.dependencies.python_requirement import PythonRequirement
from ocicaliban.errors import UsageError

ROOT = Path("/home/ada/study")
PIPFILE = """
[[source]]
name = "pypi"
url = "https://pypi.org/simple"
verify_ssl = true
[[source]]
name = "own"
url = "https://own.example/simple"
[packages]
six = "*"
own = {version = "==1", index = "own"}
[dev-packages]
iniconfig = "<2.1"
[docs]
markdown = "*"
[requires]
python_version = "3.9"
"""


def test_what_pipenv_would_lock(tmp_path: Path) -> None:
    path = tmp_path / "Pipfile"
    path.write_text(PIPFILE)
    raw, declaration = tomllib.loads(PIPFILE), Pipfile(root=tmp_path, path=path)
    assert declaration.own(raw, ()) == OwnRequirements(
        lines=("six", "own==1"), indexes=("",), pins={"own": "own=https://own.example/simple"}
    )
    assert declaration.own(raw, declaration.resolved_groups(("dev-packages", "docs"))).lines == (
        "six", "own==1", "iniconfig<2.1", "markdown",
    )  # fmt: skip
    assert declaration.python_requirements() == (
        PythonRequirement(place="Pipfile: requires", specifier="==3.9.*", pinned=True),
    )
    with pytest.raises(UsageError, match="Pipfile declares no group 'test'"):
        declaration.resolved_groups(("test",))
    early = declaration.own(raw | {"pipenv": {"allow_prereleases": True}}, ())
    assert early.lines == ("six>=0.dev0", "own==1,>=0.dev0")


@pytest.mark.parametrize(
    ("wanted", "line"),
    [
        ("*", "x"),
        ("", "x"),
        (">=1,<2", "x>=1,<2"),
        ("1.2", "x==1.2"),
        ("~=1.2", "x~=1.2"),
        ({"version": "*", "extras": ["a", "b"]}, "x[a,b]"),
        ({"version": ">1", "markers": "python_version < '3.9'"}, "x>1 ; (python_version < '3.9')"),
        ({"version": "*", "os_name": "== 'nt'", "markers": "a"}, "x ; (a) and (os_name == 'nt')"),
        ({"git": "https://h/x.git", "ref": "v1", "editable": True}, "x @ git+https://h/x.git@v1"),
        ({"git": "https://h/x.git"}, "x @ git+https://h/x.git"),
        ({"git": "git@h:o/x.git", "subdirectory": "p"}, "x @ git+ssh://git@h/o/x.git#subdirectory=p"),
        ({"path": "./libs/x", "editable": True}, "x @ file:///home/ada/study/libs/x"),
        ({"path": "."}, "x @ file:///home/ada/study"),
        ({"file": "https://h/x.whl"}, "x @ https://h/x.whl"),
    ],
)
def test_entries_as_requirements(wanted: Any, line: str) -> None:
    assert requirement_line("x", wanted, ROOT, "Pipfile: [packages]") == line


def test_an_entry_in_no_known_form() -> None:
    with pytest.raises(UsageError, match=r"Pipfile: \[packages\]: x = 1 is not a version"):
        requirement_line("x", 1, ROOT, "Pipfile: [packages]")


def test_indexes_with_variables_in_their_addresses() -> None:
    environ = {"WHO": "me", "SECRET": "s"}
    assert with_variables("https://${WHO}:$SECRET@h/${OTHER}", environ) == "https://me:s@h/${OTHER}"
    sources = [{"url": "https://pypi.org/simple/"}, {"name": "b", "url": "https://b"}, {"name": "c"}, 1]
    assert pipenv_project.named(sources) == {"index-1": "", "b": "b=https://b"}
    assert pipenv_project.named(7) == {}
