"""The top layers of a plan become folders that containers mount."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from ocicaliban.build import keys, mounting
from ocicaliban.model.image import Base, Configure, Copy, Launch, Plan, PlannedLayer, Run, Step

BASE = Base(kind="registry", reference="example.org/base:1", digest="sha256:" + "0" * 64, python="3.12.1")
RUN = Run(script="x")
HEAVY, REST, DATA = (
    Copy(tree="1" * 64, to="/usr/app"),
    Copy(tree="2" * 64, to="/usr/app"),
    Copy(tree="3" * 64, to="/usr/app/data"),
)
PATHS, FOLDER = Configure(path=("/opt/venv/bin",)), Configure(workdir="/usr/app")


def plan_of(layers: Iterable[tuple[str, tuple[Step, ...]]]) -> Plan:
    found: list[PlannedLayer] = []
    key = keys.base_key(BASE)
    for name, steps in layers:
        key = keys.layer_key(key, steps)
        found.append(PlannedLayer(name=name, steps=steps, key=key))
    return Plan(mode="run", base=BASE, base_key=keys.base_key(BASE), layers=tuple(found), launch=Launch())


def test_what_is_above_the_last_layer_that_runs_is_mounted() -> None:
    plan = plan_of(
        [("apt", (RUN,)), ("cuda", (PATHS,)), ("data", (DATA,)), ("src a", (HEAVY,)), ("src", (REST, FOLDER))]
    )
    found = mounting.mounted(plan)
    assert found
    assert [layer.name for layer in found.below.layers] == ["apt", "settings"]
    assert found.below.layers[0] == plan.layers[0]
    assert found.below.layers[1].steps == (PATHS, FOLDER)
    [folder] = found.folders
    assert folder.target == "/usr/app"
    assert folder.parts == (("data", DATA.tree), ("", HEAVY.tree), ("", REST.tree))
    assert [*found.layers] == ["cuda", "data", "src a", "src"]
    assert found.layers["cuda"] == ()
    assert found.layers["data"] == (DATA.tree,)


def test_an_edit_changes_the_folder_and_not_the_image() -> None:
    one, other = (
        mounting.mounted(plan_of([("src", (Copy(tree=digit * 64, to="/usr/app"), FOLDER))])) for digit in "45"
    )
    assert one and other
    assert one.below == other.below
    assert one.folders[0].key != other.folders[0].key


def test_places_that_do_not_contain_each_other_are_folders_of_their_own() -> None:
    packages = Copy(tree="6" * 64, to="/opt/venv")
    beside = Copy(tree="7" * 64, to="/usr/app-data")
    found = mounting.mounted(plan_of([("python", (packages, PATHS)), ("src", (HEAVY, DATA, beside))]))
    assert found
    assert {folder.target: folder.parts for folder in found.folders} == {
        "/opt/venv": (("", packages.tree),),
        "/usr/app": (("", HEAVY.tree), ("data", DATA.tree)),
        "/usr/app-data": (("", beside.tree),),
    }
    assert found.below.layers[0].steps == (PATHS,)


@pytest.mark.parametrize(
    "layers",
    [
        [],
        [("cuda", (PATHS,))],
        [("src", (HEAVY,)), ("postbuild", (RUN,))],
        [("src", (Copy(tree="8" * 64, to="/"),))],
        [("src", (Copy(tree="8" * 64, to="/usr/../etc"),))],
        [("src", (Copy(tree="8" * 64, to="/a:b"),))],
        [("src", (Copy(tree="8" * 64, to="relative"),))],
    ],
)
def test_nothing_is_mounted(layers: list[tuple[str, tuple[Step, ...]]]) -> None:
    assert mounting.mounted(plan_of(layers)) is None


def packages(name: str, within: str = "/opt/venv") -> tuple[str, tuple[Step, ...]]:
    return name, (Run(script=name, within=within),)


def test_a_script_that_changes_one_folder_needs_no_layer() -> None:
    plan = plan_of(
        [
            ("apt", (RUN,)),
            ("python 5MB+", (Run(script="a", within="/opt/venv"), PATHS)),
            packages("python"),
            ("src", (REST, FOLDER)),
        ]
    )
    found = mounting.mounted(plan)
    assert found
    assert [layer.name for layer in found.bottom.layers] == ["apt"]
    assert [layer.name for layer in found.below.layers] == ["apt", "settings"]
    environment, source = found.folders
    assert (environment.target, source.target) == ("/opt/venv", "/usr/app")
    [first, second] = (found.runs[key] for _, key in environment.parts)
    assert (first.layer.name, first.settings) == ("python 5MB+", ())
    assert (second.layer.name, second.settings) == ("python", (PATHS,))
    assert environment.up_to(1).parts == environment.parts[:1]
    assert [*found.layers] == ["python 5MB+", "python", "src"]


def test_without_scripts_packages_are_stored_and_the_source_is_mounted() -> None:
    found = mounting.mounted(plan_of([packages("python"), ("src", (REST, FOLDER))]), scripts=False)
    assert found
    assert [*found.layers] == ["src"]
    assert [layer.name for layer in found.bottom.layers] == ["python"]


def test_changes_in_another_folder_are_others() -> None:
    one, other = (mounting.mounted(plan_of([packages("python", within)])) for within in ("/opt/venv", "/opt"))
    assert one and other
    assert one.runs.keys().isdisjoint(other.runs)


def test_what_runs_above_needs_the_layers_below_it() -> None:
    found = mounting.mounted(
        plan_of([packages("python"), ("postbuild", (RUN,)), packages("jupyter"), ("src", (REST,))])
    )
    assert found
    assert [*found.layers] == ["jupyter", "src"]
    assert [layer.name for layer in found.bottom.layers] == ["python", "postbuild"]
    two = (Run(script="a", within="/opt/venv"), Run(script="b", within="/opt/venv"))
    assert mounting.mounted(plan_of([("python", two)])) is None
