"""The packages of a project as an input of recipes, without asking uv."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ocicaliban.build.inputs import project, requirements
from ocicaliban.build.inputs.provider import InputParameters, PlanContext, Provided
from ocicaliban.build.request import PlanRequest
from ocicaliban.dependencies import resolver
from ocicaliban.dependencies.environment import EnvironmentRequest
from ocicaliban.dependencies.survey import read_environment
from ocicaliban.model.image import Base
from ocicaliban.model.project import Project
from ocicaliban.model.recipe import Recipe
from ocicaliban.project.lockfile import Lock, Resolution
from ocicaliban.reporter import Reporter
from tests import folders

BASE = Base(kind="registry", reference="r", digest="sha256:aa", python="3.11.2", platform="linux/amd64")
PACKAGE = {
    "pyproject.toml": '[project]\nname = "study"\nversion = "1"\n[build-system]\nrequires = ["setuptools>=61"]\n'
    'build-backend = "setuptools.build_meta"\n',
    "study/__init__.py": "",
}


@pytest.fixture(autouse=True)
def uv_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(
        resolver, "resolve_additions", lambda *asked: Resolution(inputs="", requirements=f"# {asked[1][0]}\n")
    )


def provide(root: Path, lock: Lock | None = None, said: list[str] | None = None, install: bool = True) -> Provided:
    context = PlanContext(
        request=PlanRequest(root=root, mode="run"), project=Project(root=root), recipes=(), command=(), base=BASE,
        lock=lock or Lock(), reporter=Reporter((said if said is not None else []).append),
        environment=read_environment(EnvironmentRequest(root=root)),
        provided={"requirements": requirements.of_groups([])},
    )  # fmt: skip
    recipe = Recipe(name="mine", summary="")
    return project.PROVIDER.provide(context, InputParameters(recipes=(recipe,), values={"install": install}))


def test_the_project_makes_a_layer_with_its_build_requirements(tmp_path: Path) -> None:
    provided = provide(folders.write(tmp_path / "p", PACKAGE))
    (instance,) = provided.instances or ()
    assert instance.label == ""
    assert instance.values["package_folder"] == "/usr/app"
    assert instance.values["package_requirements"] == "# setuptools>=61\n"
    assert instance.values["package_tree"] == provided.trees[0].digest
    assert json.loads(str(instance.values["package_settings"]))["backend"] == "setuptools.build_meta"
    assert list(provided.resolutions) == ["cpu"]


def test_an_edited_module_changes_nothing_and_the_lock_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folders.write(tmp_path / "p", PACKAGE)
    before = provide(root)
    lock = Lock().with_resolution("project", "cpu", before.resolutions["cpu"])
    monkeypatch.setattr(resolver, "resolve_additions", None)
    folders.write(root, {"study/__init__.py": "x = 1\n", "study/new.py": "y = 1\n", "notes/a.txt": ""})
    (root / ".gitignore").write_text("notes\n")
    after = provide(root, lock)
    assert after.instances == before.instances
    assert after.resolutions == before.resolutions


@pytest.mark.parametrize(
    "more, install",
    [({}, False), ({"pyproject.toml": PACKAGE["pyproject.toml"] + "[tool.uv]\npackage = false\n"}, True)],
)
def test_a_project_that_must_not_be_installed_makes_no_layer(
    tmp_path: Path, more: dict[str, str], install: bool
) -> None:
    assert provide(folders.write(tmp_path / "p", {**PACKAGE, **more}), install=install).instances == ()


def test_what_setuptools_refuses_is_not_installed_and_told(tmp_path: Path) -> None:
    root = folders.write(tmp_path / "p", {**PACKAGE, "more/__init__.py": ""})
    said: list[str] = []
    provided = provide(root, said=said)
    assert provided.instances == ()
    assert said[0].startswith(
        "note: the project itself is not installed, as pip could not install it: setuptools does not choose among"
        " more, study; name"
    )
    lock = Lock().with_resolution("project", "cpu", provided.resolutions["cpu"])
    assert provide(root, lock).resolutions == provided.resolutions


def test_an_old_setuptools_gets_the_package_that_it_builds_wheels_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def answer(*arguments: object) -> Resolution:
        assert isinstance(arguments[1], tuple)
        asked.append(arguments[1])
        return Resolution(inputs="", requirements="setuptools==65.0.0\n")

    monkeypatch.setattr(resolver, "resolve_additions", answer)
    provide(folders.write(tmp_path / "p", PACKAGE))
    assert asked == [("setuptools>=61",), ("setuptools>=61", "wheel")]
