"""The plan is a pure function of values; its keys say what an image is made of."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.build.plan import order, plan
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Base, Configure, Copy, Plan, PlannedLayer
from ocicaliban.model.project import Project
from ocicaliban.model.recipe import Recipe, StepTemplate
from ocicaliban.recipes import catalog
from tests.snapshots import World

BASE = Base(kind="registry", reference="example/python", digest="sha256:aa", python="3.11.2", platform="linux/amd64")
WORLD = World(
    variant="cpu", base=BASE, source="5eed", requirements=(("", "six==1.16.0\n"),), command=("python3", "train.py")
)

NOWHERE = Project(root=Path("/nowhere"))
RECIPES = catalog.recipes_for(NOWHERE, "run")


def planned(world: World = WORLD, project: Project | None = None, mode: str = "run") -> Plan:
    project = project or Project(root=Path("/nowhere"))
    return plan(project, catalog.recipes_for(project, mode), mode, world.snapshot)


def test_the_layers_of_run_stand_in_their_order() -> None:
    world = evolve(WORLD, variant="gpu", data=(("data", "da7a"),))
    project = Project(root=Path("/nowhere"), layers={"apt": {"packages": ["git"]}})
    plan = planned(world, project)
    assert [layer.name for layer in plan.layers] == ["apt", "python", "cuda", "data data", "source-copy"]
    assert plan.launch.command == WORLD.command


def test_the_modules_of_a_project_share_the_image_of_run() -> None:
    other = planned(evolve(WORLD, module="other.py", command=("python3", "other.py")))
    assert other.key == planned().key
    assert planned(evolve(WORLD, command=("python3", "other.py")), mode="build").key != planned(mode="build").key


def test_an_edit_of_the_source_keeps_the_keys_below_it() -> None:
    before, after = planned(), planned(evolve(WORLD, source="0ther"))
    assert before.layers[0].key == after.layers[0].key
    assert before.layers[1].key != after.layers[1].key
    assert before.key != after.key


def test_a_heavy_folder_of_the_source_keeps_its_layer_when_the_rest_is_edited() -> None:
    before, after = (planned(evolve(WORLD, source=rest, parts=(("big", "b16"), ("", rest)))) for rest in ("0ne", "tw0"))
    assert [layer.name for layer in before.layers] == ["python", "source-copy big", "source-copy"]
    assert [one.key == other.key for one, other in zip(before.layers, after.layers, strict=True)] == [True, True, False]
    assert [len(layer.steps) for layer in before.layers[1:]] == [1, 2]


def test_a_recipe_that_asks_for_no_parts_gets_the_whole_source() -> None:
    parts = (("big", "b16"), ("", "0ne"))
    project = Project(root=Path("/nowhere"))
    recipes = [
        evolve(recipe, inputs=(), steps=recipe.steps[:1]) if recipe.provides == "source" else recipe
        for recipe in catalog.recipes_for(project, "run")
    ]
    layers = plan(project, recipes, "run", evolve(WORLD, parts=parts).snapshot).layers
    assert layers[-1].steps == (Copy(tree=WORLD.source, to="/usr/app"),)


def test_the_folder_of_the_project_is_in_no_key() -> None:
    other = planned(project=Project(root=Path("/elsewhere")))
    assert [layer.key for layer in other.layers] == [layer.key for layer in planned().layers]


def test_with_one_uid_only_layers_that_lose_owners_have_other_keys() -> None:
    def layers(*, one_uid: bool, **packages: list[str]) -> dict[str, PlannedLayer]:
        project = Project(root=Path("/nowhere"), layers={"apt": dict(packages)} if packages else {})
        snapshot = evolve(WORLD.snapshot, one_uid=one_uid)
        made = plan(project, catalog.recipes_for(project, "run"), "run", snapshot)
        return {layer.name: layer for layer in made.layers}

    assert layers(one_uid=True) == layers(one_uid=False)
    several, one = (layers(one_uid=each, packages=["man-db"]) for each in (False, True))
    assert several["apt"].key != one["apt"].key
    assert [layer.name for layer in one.values() if layer.loses_owners] == ["apt"]
    assert not any(layer.loses_owners for layer in several.values())
    assert set(one["apt"].inputs) - set(several["apt"].inputs) == {("owners of files", "lost")}


@pytest.mark.parametrize("root_only", [True, False])
def test_a_script_that_does_not_say_whose_files_it_makes_is_suspected(root_only: bool) -> None:
    step = StepTemplate(do="run", script="a.sh", root_only=root_only)
    recipe = Recipe(name="own", summary="", steps=(step,), scripts={"a.sh": "true"})
    made = plan(NOWHERE, (recipe,), "run", evolve(WORLD.snapshot, one_uid=True))
    assert made.layers[0].loses_owners is not root_only


def test_the_order_of_apt_packages_is_in_no_key() -> None:
    one = Project(root=Path("/nowhere"), layers={"apt": {"packages": ["git", "curl"]}})
    two = Project(root=Path("/nowhere"), layers={"apt": {"packages": ["curl", "git"]}})
    assert planned(project=one).key == planned(project=two).key


def test_the_folders_of_cudas_libraries_do_not_install_a_package_again() -> None:
    project = Project(root=Path("/nowhere"), layers={"apt": {"packages": ["git"]}})
    cpu, gpu = planned(project=project), planned(evolve(WORLD, variant="gpu", cuda_libraries="/a:/b"), project)
    assert [layer.key for layer in gpu.layers[:2]] == [layer.key for layer in cpu.layers[:2]]
    assert (("LD_LIBRARY_PATH", "/a:/b"),) in [step.env for step in gpu.layers[2].steps if isinstance(step, Configure)]


def test_cpu_and_gpu_share_layers_when_nothing_differs_but_the_devices() -> None:
    project = Project(root=Path("/nowhere"), layers={"apt": {"packages": {"all": ["git"], "gpu": ["nvtop"]}}})
    cpu = planned(project=project)
    gpu = planned(evolve(WORLD, variant="gpu"), project)
    assert gpu.launch.devices == ("gpu",) and cpu.launch.devices == ()
    assert ("PACKAGES", "git nvtop") in gpu.layers[0].steps[0].env  # type: ignore[union-attr]


@given(st.text(max_size=20), st.text(max_size=20))
def test_different_requirements_have_different_keys(one: str, two: str) -> None:
    worlds = (evolve(WORLD, requirements=(("", text),)) for text in (one, two))
    keys = {plan(NOWHERE, RECIPES, "run", world.snapshot).key for world in worlds}
    assert (len(keys) == 1) == (one == two)


def test_a_small_dependency_leaves_the_layers_of_the_big_ones_alone() -> None:
    big = ("100MB+", "torch==2\n")
    before = planned(evolve(WORLD, requirements=(big, ("", "six==1\n"))))
    after = planned(evolve(WORLD, requirements=(big, ("", "idna==3\nsix==1\n"))))
    assert [layer.name for layer in after.layers[:2]] == ["python 100MB+", "python"]
    assert after.layers[0].key == before.layers[0].key
    assert after.layers[1].key != before.layers[1].key
    # The environment is set once: a second time would put the same folder on PATH again.
    assert [len(layer.steps) for layer in after.layers[:2]] == [2, 1]


def test_a_cycle_in_after_is_named() -> None:
    recipes = [Recipe(name="a", summary="", after=("b",)), Recipe(name="b", summary="", after=("a",))]
    with pytest.raises(UsageError, match="a cycle in 'after'"):
        order(recipes)


def test_two_recipes_that_provide_the_source_are_refused() -> None:
    recipes = [Recipe(name="a", summary="", provides="source"), Recipe(name="b", summary="", provides="source")]
    with pytest.raises(UsageError, match="both provide the source"):
        order(recipes)


@pytest.mark.parametrize("tree", ["5eed", "da7a", "n0ne", ""])
def test_a_copy_step_takes_a_tree_of_the_project(tree: str) -> None:
    recipe = Recipe(name="own", summary="", steps=(StepTemplate(do="copy", tree=tree, to="/own"),))
    world = evolve(WORLD, data=(("data", "da7a"),))
    if tree in ("5eed", "da7a"):
        assert plan(Project(root=Path("/nowhere")), [recipe], "own", world.snapshot).layers
    else:
        with pytest.raises(UsageError, match=f"layers/own: a copy step's tree '{tree}'"):
            plan(Project(root=Path("/nowhere")), [recipe], "own", world.snapshot)


def test_an_unknown_kind_of_input_gets_the_nearest_name() -> None:
    recipe = Recipe(name="own", summary="", inputs=("requirement",))
    with pytest.raises(UsageError, match="layers/own: inputs: there is no kind of input 'requirement'") as caught:
        plan(NOWHERE, [recipe], "own", WORLD.snapshot)
    assert caught.value.hint == "did you mean 'requirements'?"


def test_two_inputs_that_make_several_layers_are_refused() -> None:
    recipe = Recipe(name="own", summary="", inputs=("command", "source", "data"))
    with pytest.raises(UsageError, match="'source' and 'data' both make several layers"):
        plan(NOWHERE, [recipe], "own", WORLD.snapshot)


def test_a_recipe_may_have_inputs_that_make_one_layer_beside_one_that_makes_several() -> None:
    step = StepTemplate(do="copy", tree="${data_tree}", to="/data/${module}")
    recipe = Recipe(name="own", summary="", inputs=("command", "data"), steps=(step,))
    world = evolve(WORLD, data=(("one", "0"), ("two", "2")), module="m")
    layers = plan(NOWHERE, [recipe], "own", world.snapshot).layers
    assert [layer.name for layer in layers] == ["own one", "own two"]
    assert layers[1].steps == (Copy(tree="2", to="/data/m"),)


def test_an_unknown_mode_gets_the_nearest_name() -> None:
    with pytest.raises(UsageError) as caught:
        planned(mode="runn")
    assert caught.value.hint == "did you mean 'run'?"


def test_an_unknown_recipe_in_the_configuration_gets_the_nearest_name() -> None:
    with pytest.raises(UsageError) as caught:
        planned(project=Project(root=Path("/nowhere"), layers={"atp": {}}))
    assert caught.value.hint == "did you mean 'apt'?"


def test_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(UsageError, match="no parameter 'package'"):
        planned(project=Project(root=Path("/nowhere"), layers={"apt": {"package": ["git"]}}))


def test_a_string_is_no_list_of_packages() -> None:
    with pytest.raises(UsageError, match="expected a list of strings"):
        planned(project=Project(root=Path("/nowhere"), layers={"apt": {"packages": "git"}}))
