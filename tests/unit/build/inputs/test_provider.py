"""The parameters of the recipes that have an input."""

from __future__ import annotations

from pathlib import Path

from ocicaliban.build.inputs.provider import PlanContext
from ocicaliban.build.inputs.registry import PROVIDERS, layer_words
from ocicaliban.build.request import PlanRequest
from ocicaliban.model.image import Base
from ocicaliban.model.project import Project
from ocicaliban.model.recipe import Param, Recipe
from ocicaliban.project.lockfile import Lock
from ocicaliban.reporter import SILENT


def test_the_first_recipe_with_a_parameter_decides() -> None:
    own = Recipe(
        name="own", summary="", inputs=("requirements",), params={"extras": Param(type="list", default=("a",))}
    )
    other = Recipe(
        name="other", summary="", former_inputs=("requirements",),
        params={"extras": Param(type="list"), "requirements": Param()},
    )  # fmt: skip
    context = PlanContext(
        request=PlanRequest(root=Path("/p"), mode="run"),
        project=Project(root=Path("/p"), layers={"other": {"requirements": "x.txt", "extras": ["b"]}}),
        recipes=(own, other), command=(), base=Base(kind="registry", reference="r"), lock=Lock(), reporter=SILENT,
    )  # fmt: skip
    parameters = context.parameters("requirements")
    assert parameters
    assert (parameters.texts("extras"), parameters.text("requirements")) == (("a",), "x.txt")
    assert (parameters.texts("none"), parameters.text("none")) == ((), "")
    assert parameters.setting("requirements") == "layers.other.requirements"
    assert context.parameters("data") is None


def test_no_two_providers_have_one_kind_value_or_section() -> None:
    kinds = [provider.kind for provider in PROVIDERS]
    values = [name for provider in PROVIDERS for name in provider.empty.values]
    sections = [provider.lock_section for provider in PROVIDERS if provider.lock_section]
    for names in (kinds, values, sections):
        assert len(set(names)) == len(names)


def test_what_a_recipe_makes_layers_of_is_said_in_words() -> None:
    recipe = Recipe(name="own", summary="", inputs=("command", "data"))
    assert layer_words(recipe) == ("folder of data",)
