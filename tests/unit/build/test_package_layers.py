"""Layers of packages have the files that containers here mount, and a part for each large package."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.build import installed_packages, package_layers
from ocicaliban.build.package_layers import Environment
from ocicaliban.build.steps import BuildContext
from ocicaliban.containers import image_store
from ocicaliban.model.image import Configure, Copy, Image, PlannedLayer, Run
from tests.folders import write

PATHS = Configure(path=("/opt/venv/bin",))
LAYER = PlannedLayer(name="python", steps=(Run(script="x", within="/opt/venv", singly="list"), PATHS), key="1d")
IMAGE = Image(id="1d" * 32, digest="", key="")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The environment, two small packages and two large ones."""
    folders = [tmp_path / name for name in ("environment", "a", "large", "b", "larger")]
    write(folders[0], {"pyvenv.cfg": "home"})
    (folders[0] / "python").symlink_to("/usr/bin/python3")
    (folders[0] / "include/python3").mkdir(parents=True)
    (folders[0] / "lib64").symlink_to("lib")
    write(folders[1], {"lib/a.py": "a", "lib/both.py": "of a", "bin/a": "#!"})
    (folders[1] / "bin/a").chmod(0o755)
    write(folders[2], {"lib/large.so": "x" * 300_000, "lib/both.py": "of large"})
    write(folders[3], {"lib/b.py": "b", "lib/large.so": "y" * 300_001})
    write(folders[4], {"lib/larger.so": "z" * 400_000})
    monkeypatch.setattr(installed_packages, "make", lambda *_, **__: tuple(folders))
    monkeypatch.setattr(image_store, "may_have", lambda *_: False)
    return folders


def environment(first: str = "1d") -> Environment:
    return Environment(below=lambda: IMAGE, first=first)


def made(layer: PlannedLayer, where: Path, first: str = "1d") -> package_layers.TreeLayer | None:
    return package_layers.as_trees(layer, environment(first), where, BuildContext(trees={}), again=False)


def contents(found: package_layers.TreeLayer) -> list[dict[str, str]]:
    """The files of each part of a layer, shortened."""
    parts = []
    for step in found.layer.steps:
        if isinstance(step, Copy):
            assert step.to == "/opt/venv"
            tree = found.trees[step.tree]
            files = [entry for entry in tree.entries if entry.kind == "file"]
            parts.append({entry.path: (tree.root / entry.path).read_text()[:8] for entry in files})
    return parts


def test_a_large_package_is_a_part_for_itself(kept: list[Path], tmp_path: Path) -> None:
    found = made(LAYER, tmp_path / "work")
    assert found and found.layer.steps[-1] == PATHS and found.layer.key == LAYER.key
    assert contents(found) == [
        {"lib/larger.so": "zzzzzzzz"},
        {"lib/b.py": "b", "lib/large.so": "yyyyyyyy"},
        # What a later package replaces is in no part, so the order of the parts does not matter.
        {"bin/a": "#!", "lib/a.py": "a", "lib/both.py": "of large", "pyvenv.cfg": "home"},
    ]
    rest = list(found.trees.values())[-1]
    assert [entry.path for entry in rest.entries if entry.executable] == ["bin/a"]
    assert [entry.path for entry in rest.entries if entry.kind == "dir"] == [
        "bin",
        "include",
        "include/python3",
        "lib",
    ]
    assert [(entry.path, entry.digest) for entry in rest.entries if entry.kind == "link"] == [
        ("lib64", "lib"),
        ("python", "/usr/bin/python3"),
    ]
    assert os.stat(kept[4] / "lib/larger.so").st_nlink == 1, "large packages are read where they are"


def test_the_environment_itself_is_in_the_first_layer_alone(kept: list[Path], tmp_path: Path) -> None:
    found = made(LAYER, tmp_path / "work", first="another")
    assert found and "pyvenv.cfg" not in contents(found)[-1]


def test_the_number_of_parts_has_a_limit(kept: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_layers, "_PARTS", 1)
    found = made(LAYER, tmp_path / "work")
    assert found and len(contents(found)) == 2


@pytest.mark.parametrize(
    "step", [Run(script="x", within="/opt/venv"), Run(script="x", singly="list")], ids=["not singly", "no folder"]
)
def test_other_scripts_run(step: Run, kept: list[Path], tmp_path: Path) -> None:
    assert made(evolve(LAYER, steps=(step,)), tmp_path) is None


def test_packages_are_installed_in_an_environment_that_the_image_has(
    kept: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_store, "may_have", lambda image, place: (image, place) == (IMAGE, "/opt/venv"))
    assert made(LAYER, tmp_path) is None


def test_packages_that_cannot_be_told_apart_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed_packages, "make", lambda *_, **__: None)
    monkeypatch.setattr(image_store, "may_have", lambda *_: False)
    assert made(LAYER, tmp_path) is None


def test_the_first_layer_of_packages_is_found() -> None:
    other = PlannedLayer(name="apt", steps=(Run(script="x"),), key="2d")
    assert package_layers.first_of([other, LAYER, LAYER]) == 1
    assert package_layers.first_of([other]) is None
