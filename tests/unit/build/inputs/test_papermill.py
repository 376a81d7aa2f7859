"""What runs a notebook, as an input of recipes."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.build.inputs import conda, installed_package, papermill, requirements
from ocicaliban.build.inputs.provider import InputParameters, PlanContext
from ocicaliban.build.request import PlanRequest
from ocicaliban.dependencies import resolver
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Base
from ocicaliban.model.project import Project
from ocicaliban.model.recipe import Param, Recipe, Value
from ocicaliban.project.lockfile import Lock, Resolution
from ocicaliban.reporter import SILENT

BASE = Base(kind="registry", reference="r", digest="sha256:aa", python="3.11.2", platform="linux/amd64", libc="2.36")
CONTEXT = PlanContext(
    request=PlanRequest(root=Path("/nowhere"), mode="run", module="study.ipynb"),
    project=Project(root=Path("/nowhere")), recipes=(), command=(), base=BASE, lock=Lock(), reporter=SILENT,
    provided={
        "conda": conda.of_packages(""),
        "requirements": requirements.of_groups([]),
        "project": installed_package.of_packages((), environment_exists=False),
    },
)  # fmt: skip


def given(**values: Value) -> InputParameters:
    recipe = Recipe(name="papermill", summary="", params={"version": Param()})
    return InputParameters(recipes=(recipe,), values=values)


def test_other_modules_do_without_it() -> None:
    context = evolve(CONTEXT, request=evolve(CONTEXT.request, module="train.py"))
    values = papermill.PROVIDER.provide(context, given()).values
    assert values == {"runs_notebook": False, "papermill_lock": "", "makes_notebook_environment": False}
    assert papermill.PROVIDER.provide(context, None).values == values


def test_a_notebook_gets_it_on_top_of_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def resolve(requirements: str, additions: tuple[str, ...], *_: object) -> Resolution:
        asked.append(additions)
        return Resolution(inputs="i", requirements="papermill==2.6.0\n")

    monkeypatch.setattr(resolver, "resolve_additions", resolve)
    made = papermill.PROVIDER.provide(CONTEXT, given(packages=("bash_kernel",)))
    assert made.values["papermill_lock"] == "papermill==2.6.0\n" and made.values["makes_notebook_environment"]
    assert {*made.resolutions} == {"cpu"} and papermill.PROVIDER.lock_section == "papermill"
    papermill.PROVIDER.provide(CONTEXT, given(version="2.6"))
    assert asked == [("papermill", "ipykernel", "bash_kernel"), ("papermill==2.6.*", "ipykernel")]


def test_a_mode_without_the_recipe_runs_no_notebook() -> None:
    with pytest.raises(UsageError, match=r"no recipe that runs the notebook 'study\.ipynb'") as caught:
        papermill.PROVIDER.provide(CONTEXT, None)
    assert '"papermill"' in caught.value.hint
    with pytest.raises(UsageError, match=r"layers\.papermill\.version: 'x' is not a version"):
        papermill.packages(given(version="x"))
