"""The project's dependencies as an input of recipes, without asking uv."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.build.inputs import requirements
from ocicaliban.build.inputs.provider import InputParameters, PlanContext, input_parameters
from ocicaliban.build.request import PlanRequest
from ocicaliban.dependencies import resolver
from ocicaliban.dependencies.environment import EnvironmentRequest
from ocicaliban.dependencies.registry import find_declaration
from ocicaliban.dependencies.size_tiers import Group
from ocicaliban.dependencies.survey import read_environment
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Base
from ocicaliban.model.project import Project
from ocicaliban.model.recipe import Param, Recipe, Value
from ocicaliban.project.config import load_project
from ocicaliban.project.lockfile import Lock, Resolution
from ocicaliban.recipes import catalog
from ocicaliban.reporter import SILENT

BASE = Base(kind="registry", reference="r", digest="sha256:aa", python="3.11.2", platform="linux/amd64")


def context(root: Path, base: Base = BASE, lock: Lock | None = None) -> PlanContext:
    return PlanContext(
        request=PlanRequest(root=root, mode="run"), project=Project(root=root), recipes=(), command=(), base=base,
        lock=lock or Lock(), reporter=SILENT, environment=read_environment(EnvironmentRequest(root=root)),
    )  # fmt: skip


def parameters(**values: Value) -> InputParameters:
    recipe = Recipe(name="mine", summary="", params={"requirements": Param()})
    return InputParameters(recipes=(recipe,), values=values)


def test_a_project_without_dependencies_makes_no_layer(tmp_path: Path) -> None:
    provided = requirements.PROVIDER.provide(context(tmp_path), parameters())
    assert provided.instances == ()
    assert provided.values == {
        "lock": "",
        "index": "",
        "uv_settings": "",
        "has_requirements": False,
        "has_environment": False,
    }


def test_until_the_base_is_resolved_there_is_one_layer(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("six\n")
    provided = requirements.PROVIDER.provide(context(tmp_path, evolve(BASE, python="")), parameters())
    assert provided.values["lock"] == "# requirements.txt, not resolved yet\n" and provided.values["has_requirements"]
    assert provided.instances and len(provided.instances) == 1 and not provided.resolutions


def test_locked_requirements_make_a_layer_for_each_group(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("six\n-i https://example.org/simple\n")
    digest = resolver.inputs_digest(find_declaration(tmp_path), BASE, ())
    locked = Resolution(inputs=digest, requirements="big==1\nsix==1\n", weights={"big": 6_000_000})
    provided = requirements.PROVIDER.provide(
        context(tmp_path, lock=Lock().with_resolution("python", "cpu", locked)), parameters()
    )
    assert [each.label for each in provided.instances or ()] == ["5MB+", ""]
    assert [each.values["first"] for each in provided.instances or ()] == [True, False]
    assert provided.resolutions == {"cpu": locked}
    assert provided.indexes.indexes == ("https://example.org/simple",)


def test_beside_condas_python_no_layer_makes_the_environment() -> None:
    provided = requirements.of_groups([Group("", "six==1\n")], "3.12.4")
    assert [each.values["first"] for each in provided.instances or ()] == [False]
    assert requirements.of_groups([], "3.12.4").values["has_environment"] is True


def test_a_mode_that_cannot_install_packages_from_folders_is_refused(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("./libs/aa\n")
    digest = resolver.inputs_digest(find_declaration(tmp_path), BASE, (), folders=("libs/aa",))
    locked = Resolution(inputs=digest, requirements="", folders=("libs/aa",))
    with pytest.raises(
        UsageError, match="the mode 'run' has no recipe that installs packages from folders or git: libs/aa"
    ):
        requirements.PROVIDER.provide(
            context(tmp_path, lock=Lock().with_resolution("python", "cpu", locked)), parameters()
        )


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('extras = ["plot", "Plots"]\n', 1, "extras: pyproject.toml declares no extra 'Plots'"),
        ('\n[layers.python]\nextras = ["plots"]\n', 3, "layers.python.extras: pyproject.toml declares no extra"),
        ('[layers.python]\ngroups = ["dev", "tset"]\n', 2, "layers.python.groups: .*no dependency group 'tset'"),
        ('[layers.python]\ngroups = {all = ["tset"]}\n', 2, "layers.python.groups: .*no dependency group 'tset'"),
    ],
)
def test_an_extra_or_group_that_is_not_declared_is_told_with_its_line(
    tmp_path: Path, text: str, line: int, words: str
) -> None:
    (tmp_path / "pyproject.toml").write_text(
        "[project]\nname = 'p'\nversion = '1'\n[project.optional-dependencies]\nplot = []\n"
        "[dependency-groups]\ndev = []\n"
    )
    (tmp_path / "ocicaliban.toml").write_text(text)
    project = load_project(tmp_path)
    recipes = catalog.recipes_for(project, "run")
    asking = input_parameters("requirements", project, recipes, "cpu")
    with pytest.raises(UsageError, match=rf"ocicaliban\.toml:{line}: {words}"):
        requirements.PROVIDER.provide(evolve(context(tmp_path), project=project), asking)
    # what the command line asks for is in no file
    request = evolve(context(tmp_path).request, extras=("none",))
    with pytest.raises(UsageError, match=r"^pyproject\.toml declares no extra 'none'"):
        requirements.PROVIDER.provide(evolve(context(tmp_path), request=request), parameters())
