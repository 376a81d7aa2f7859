"""Conda's packages as an input of recipes."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.build.inputs import conda
from ocicaliban.build.inputs.provider import InputParameters, PlanContext
from ocicaliban.build.request import PlanRequest
from ocicaliban.dependencies.conda import packages, solve
from ocicaliban.dependencies.conda.environment_yml import EnvironmentYml
from ocicaliban.dependencies.conda.packages import CondaPackage
from ocicaliban.dependencies.environment import DeclaredEnvironment
from ocicaliban.dependencies.python_requirement import PythonRequirement
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Base
from ocicaliban.model.project import Project
from ocicaliban.model.recipe import Recipe
from ocicaliban.project.lockfile import Lock, Resolution
from ocicaliban.reporter import SILENT

BASE = Base(kind="registry", reference="r", digest="sha256:aa", python="3.11.2", platform="linux/amd64", libc="2.36")
CONTEXT = PlanContext(
    request=PlanRequest(root=Path("/nowhere"), mode="run"), project=Project(root=Path("/nowhere")), recipes=(),
    command=(), base=BASE, lock=Lock(), reporter=SILENT,
)  # fmt: skip


@pytest.mark.parametrize(("python", "folder"), [("", "/opt/venv"), ("3.12.4", "/opt/conda")])
def test_packages_go_where_the_environments_python_is(python: str, folder: str) -> None:
    assert conda.of_packages(python).values["environment"] == folder


def test_resolvers_see_condas_python_on_the_bases_platform() -> None:
    assert CONTEXT.environment_base == BASE
    with_conda = evolve(CONTEXT, provided={"conda": conda.of_packages("3.12.4")})
    assert with_conda.environment_base == evolve(BASE, python="3.12.4")
    assert with_conda.base == BASE


URL = "https://example.org/c"
PACKAGES = (
    CondaPackage(url=f"{URL}/linux-64/python-3.12.4-0.conda", sha256="a" * 64, size=30_000_000, runtime=True),
    CondaPackage(url=f"{URL}/linux-64/numpy-1.26.4-py312_0.conda", sha256="b" * 64, size=7_000_000, module=True),
    CondaPackage(url=f"{URL}/noarch/six-1.16.0-pyh0_0.conda", sha256="c" * 64, size=1, module=True),
)
RECIPES = (Recipe(name="base", summary="", provides="base"), Recipe(name="conda", summary="", inputs=("conda",)))
PARAMETERS = InputParameters(recipes=RECIPES[1:], values={})


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlanContext:
    """Plan a project with an environment.yml, whose packages are locked."""
    (tmp_path / "environment.yml").write_text("dependencies: [python, numpy, six]\nvariables: {STUDY: 1}\n")
    locked = Resolution(inputs="sha256:x", requirements=packages.to_text(PACKAGES))
    monkeypatch.setattr(solve, "resolve", lambda *_: locked)
    declaration = EnvironmentYml(root=tmp_path, path=tmp_path / "environment.yml")
    return evolve(
        CONTEXT,
        project=Project(root=tmp_path),
        recipes=RECIPES,
        environment=DeclaredEnvironment(declaration=declaration),
    )


def test_each_group_is_a_layer_and_noarch_modules_get_byte_code(context: PlanContext) -> None:
    given = conda.PROVIDER.provide(context, PARAMETERS)
    assert [each.label for each in given.instances or ()] == ["python", "5MB+", "", "byte code"]
    assert [bool(each.values["conda_tree"]) for each in given.instances or ()] == [True, True, True, False]
    assert [each.values["conda_files"] for each in given.instances or ()][-1] == "six-1.16.0-pyh0_0\n"
    assert given.values["conda_modules"] == ("numpy==1.26.4", "six==1.16.0")
    assert given.values["conda_variables"] == ("STUDY=1",) and given.values["environment"] == "/opt/conda"
    assert len({tree.digest for tree in given.made_trees}) == 3 and set(given.resolutions) == {"cpu"}
    assert given.packages == 3


def test_a_new_small_package_changes_no_other_layer(context: PlanContext, monkeypatch: pytest.MonkeyPatch) -> None:
    before = conda.PROVIDER.provide(context, PARAMETERS).made_trees
    more = CondaPackage(url=f"{URL}/noarch/attrs-23.2-pyh0_0.conda", sha256="d" * 64, size=1, module=True)
    locked = Resolution(inputs="sha256:y", requirements=packages.to_text((*PACKAGES, more)))
    monkeypatch.setattr(solve, "resolve", lambda *_: locked)
    after = conda.PROVIDER.provide(context, PARAMETERS).made_trees
    assert [one.digest == other.digest for one, other in zip(before, after, strict=True)] == [True, True, False]


def test_a_mode_without_the_recipe_stops(context: PlanContext) -> None:
    with pytest.raises(UsageError, match="the mode has no recipe for it"):
        conda.PROVIDER.provide(context, None)


@pytest.mark.parametrize(
    ("specifier", "setting", "message"),
    [
        (">=3.11", "", ""),
        ("==3.11.*", "", r"\.python-version asks for Python ==3\.11\.\*, but environment\.yml brings Python 3\.12\.4"),
        ("==3.11.*", "3.12", ""),
        (">=3.11", "3.11", r"layers\.base\.python is 3\.11, but environment\.yml brings Python 3\.12\.4"),
    ],
)
def test_another_file_must_not_ask_for_another_python(
    context: PlanContext, specifier: str, setting: str, message: str
) -> None:
    wanted = PythonRequirement(place=".python-version", specifier=specifier)
    context = evolve(
        context,
        environment=evolve(context.environment, python=(wanted,)),
        project=evolve(context.project, layers={"base": {"python": setting}} if setting else {}),
    )
    if not message:
        assert conda.PROVIDER.provide(context, PARAMETERS).values["conda_python"] == "3.12.4"
        return
    with pytest.raises(UsageError, match=message):
        conda.PROVIDER.provide(context, PARAMETERS)
