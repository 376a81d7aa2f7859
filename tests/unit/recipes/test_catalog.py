"""Recipes and modes: which one is found, and the error if there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.errors import UsageError
from ocicaliban.model.project import Project
from ocicaliban.project.config import load_project
from ocicaliban.recipes import catalog


def told(root: Path, toml: str, mode: str = "run") -> UsageError:
    (root / "ocicaliban.toml").write_text(toml)
    with pytest.raises(UsageError) as caught:
        catalog.recipes_for(load_project(root), mode)
    return caught.value


@pytest.mark.parametrize(
    ("toml", "message", "hint"),
    [
        ("\n[layers.atp]\n", ":2: [layers.atp]: there is no such recipe", "did you mean 'apt'?"),
        ("[layers.apt]\npackages = 3\n", ":2: layers.apt.packages: expected a list of strings", 'packages = ["a"]'),
        ("[layers.apt.packages]\ntpu = []\n", ":2: layers.apt.packages: unknown key 'tpu'", "all, cpu and gpu"),
        ("[layers.apt]\npackages = { gpu = 1 }\n", ":2: layers.apt.packages.gpu: expected a list", "gpu = ["),
        ("[layers.apt]\nparcels = []\n", ":2: layers.apt: there is no parameter 'parcels'", "packages"),
        ("[modes]\nrun = ['base', 'pyton']\n", ":2: the mode 'run' lists 'pyton'", "did you mean 'python'?"),
    ],
)
def test_a_fault_is_told_with_file_line_and_key(tmp_path: Path, toml: str, message: str, hint: str) -> None:
    fault = told(tmp_path, toml)
    assert fault.message.startswith(f"{tmp_path}/ocicaliban.toml{message}")
    assert hint in fault.hint


def test_the_cloud_runs_the_image_that_run_does() -> None:
    modes = catalog.modes(Project(root=Path("/nowhere")))
    assert modes["cloud"] == modes["run"]


def test_a_recipe_that_the_mode_does_not_list_is_checked_as_well(tmp_path: Path) -> None:
    fault = told(tmp_path, "[modes]\nrun = ['base']\n[layers.apt]\npackages = 3\n")
    assert fault.message.startswith(f"{tmp_path}/ocicaliban.toml:4: layers.apt.packages")


def test_an_unknown_mode_and_recipe_get_the_nearest_name(tmp_path: Path) -> None:
    fault = told(tmp_path, "[modes]\ntraining = ['base']\n", "traning")
    assert (fault.message, fault.hint) == ("there is no mode 'traning'", "did you mean 'training'?")
    with pytest.raises(UsageError, match="there is no recipe 'pyton'") as caught:
        catalog.find(load_project(tmp_path), "pyton")
    assert caught.value.hint == "did you mean 'python'?"


def test_the_projects_recipe_goes_before_the_built_in_one(tmp_path: Path) -> None:
    (tmp_path / "layers" / "apt").mkdir(parents=True)
    (tmp_path / "layers" / "apt" / "layer.toml").write_text('summary = "mine"\n')
    recipe = catalog.find(load_project(tmp_path), "apt")
    assert (recipe.summary, recipe.origin) == ("mine", "project")
    fault = told(tmp_path, "[layers.apt]\npackages = []\n")
    assert fault.hint == "there are none"


def test_every_built_in_recipe_and_mode_loads(tmp_path: Path) -> None:
    project = load_project(tmp_path)
    assert {catalog.find(project, name).name for name, _, _ in catalog.names(project)} >= {"base", "apt", "python"}
    for mode in catalog.modes(project):
        assert catalog.recipes_for(project, mode)
