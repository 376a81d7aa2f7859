"""The extras of a project."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.dependencies.pyproject import PyprojectToml
from ocicaliban.dependencies.registry import declaration_in
from ocicaliban.errors import UsageError


@pytest.mark.parametrize("name", ["pyproject.toml", "uv.lock"])
def test_the_variants_extra_is_added_when_declared(tmp_path: Path, name: str) -> None:
    (tmp_path / "uv.lock").write_text("")
    (tmp_path / "pyproject.toml").write_text('[project.optional-dependencies]\ngpu = ["six"]\na = []\n')
    extras = declaration_in(tmp_path, tmp_path / name).resolved_extras
    assert extras(("a",), "gpu") == ("a", "gpu")
    assert extras(("a",), "cpu") == ("a",)
    assert declaration_in(tmp_path, tmp_path / "requirements.txt").resolved_extras((), "gpu") == ()


def test_an_extra_that_is_not_declared_is_refused_with_those_that_are(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text("[project.optional-dependencies]\nMy_Plots = []\n")
    assert PyprojectToml(root=tmp_path, path=path).resolved_extras(("my-plots",), "cpu") == ("my-plots",)
    with pytest.raises(UsageError, match="declares no extra 'dev'") as caught:
        PyprojectToml(root=tmp_path, path=path).resolved_extras(("dev",), "cpu")
    assert caught.value.hint == "there are: My_Plots"
    path.write_text('[project]\nname = "a"\ndynamic = ["dependencies"]\n')
    assert PyprojectToml(root=tmp_path, path=path).resolved_extras(("dev",), "cpu") == ("dev",)
