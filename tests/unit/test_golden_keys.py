"""The keys of a fixed project in each mode, as `tests/golden/keys.json` holds them.

A key names an image in each user's store. If a key changes, all users build everything again. So no key may change by
accident. A change that is meant to change keys edits the file: put what the test shows into it, and say why.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attrs import asdict, evolve

from ocicaliban.build import keys
from ocicaliban.build import plan as planning
from ocicaliban.build.base import bootstrap
from ocicaliban.build.inputs.installed_package import in_folder
from ocicaliban.containers import image_store
from ocicaliban.dependencies.conda.install import PackageTree
from ocicaliban.dependencies.conda.packages import CondaPackage
from ocicaliban.dependencies.packages import PackageBuild
from ocicaliban.model.image import Base, Configure, Image
from ocicaliban.model.project import Project
from ocicaliban.model.recipe import Variant
from ocicaliban.recipes import catalog
from ocicaliban.reporter import SILENT
from tests.snapshots import World

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "keys.json").read_text())

GOLDEN_CONDA: dict[str, dict[str, str]] = json.loads(
    (Path(__file__).parents[1] / "golden" / "conda_keys.json").read_text()
)

MODES = ("build", "run", "shell", "notebook", "cloud")
PROJECT = Project(
    root=Path("/nowhere/digits"),
    layers={"apt": {"packages": {"all": ["git", "curl"], "gpu": ["nvtop"]}}, "python": {"secrets": ["index-token"]}},
)
WORLD = World(
    variant="cpu",
    base=Base(
        kind="registry",
        reference="example/python:3.12",
        digest=f"sha256:{'ab' * 32}",
        python="3.12.1",
        platform="linux/amd64",
        libc="2.36",
    ),
    source="5" * 64,
    parts=(("weights", "6" * 64), ("grün", "7" * 64), ("", "8" * 64)),
    data=(("data", "d" * 64), ("more/data", "e" * 64)),
    requirements=(
        ("100MB+", f"torch==2.3.0 --hash=sha256:{'1' * 64}\n"),
        ("5MB+", f"numpy==1.26.4 --hash=sha256:{'2' * 64}\n"),
        ("", f"six==1.16.0 --hash=sha256:{'3' * 64}\n"),
    ),
    jupyter=f"jupyterlab==4.4.0 --hash=sha256:{'4' * 64}\n",
    module="trainer.train",
    command=("python3", "-m", "trainer.train"),
    shell="zsh",
)
PACKAGES = tuple(
    in_folder(
        folder,
        PackageBuild(name=name, backend="setuptools.build_meta", requires=("setuptools>=61",)),
        tree=tree * 64,
        requirements=f"setuptools==80.0.0 --hash=sha256:{'9' * 64}\n",
    )
    for folder, name, tree in (("", "digits", "a"), ("libs/nets", "nets", "b"))
)
CONDA_PYTHON = CondaPackage(
    url="https://example.org/c/linux-64/python-3.12.4-0_cpython.conda", sha256="9" * 64, size=1, runtime=True
)
CONDA_MODULE = CondaPackage(
    url="https://example.org/c/noarch/six-1.16.0-pyh6c4a22f_0.conda", sha256="8" * 64, size=1, module=True
)
CONDA = evolve(
    WORLD,
    packages=PACKAGES,
    conda=tuple(
        (
            label,
            PackageTree(
                packages=(package,), python=CONDA_PYTHON, platform="linux-64", file="f", fetched_from=lambda _: []
            ),
        )
        for label, package in (("python", CONDA_PYTHON), ("", CONDA_MODULE))
    ),
    conda_python="3.12.4",
)
BARE = evolve(WORLD, parts=(), data=(), requirements=(), shell="", command=(), module="")


KINDS = {"": WORLD, " bare": BARE, " installed": evolve(WORLD, packages=PACKAGES)}
"""The world of a project with everything but a package, with nothing, and with packages to install."""


def world(variant: Variant, kind: str) -> World:
    """The world of a machine with GPUs, or of one without."""
    libraries = "/opt/venv/lib/python3.12/site-packages/nvidia/cublas/lib" if variant == "gpu" else ""
    return evolve(KINDS[kind], variant=variant, cuda_libraries=libraries)


def planned(mode: str, variant: Variant, kind: str) -> dict[str, Any]:
    """What the golden file holds of a plan: all keys, the names in the store, what goes into a key, the launch."""
    project = Project(root=PROJECT.root) if kind == " bare" else PROJECT
    made = planning.plan(project, catalog.recipes_for(project, mode), mode, world(variant, kind).snapshot)
    whole: dict[str, Any] = {
        "base_key": made.base_key,
        "layers": [
            {"name": layer.name, "key": layer.key, "image": image_store.layer_name(layer.name, layer.key)}
            for layer in made.layers
        ],
        "key": made.key,
        "entrypoint": made.entrypoint,
        "launch": asdict(made.launch),
    }
    plain: dict[str, Any] = json.loads(json.dumps(whole))
    return plain


@pytest.fixture(autouse=True)
def _no_recipes_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


@pytest.mark.parametrize("kind", KINDS, ids=["whole", "bare", "installed"])
@pytest.mark.parametrize("variant", ["cpu", "gpu"])
@pytest.mark.parametrize("mode", MODES)
def test_no_key_of_a_mode_changes(mode: str, variant: Variant, kind: str) -> None:
    assert planned(mode, variant, kind) == GOLDEN[f"{mode} {variant}{kind}"]


@pytest.mark.parametrize("mode", ["run", "notebook"])
def test_no_key_above_a_conda_environment_changes(mode: str) -> None:
    made = planning.plan(PROJECT, catalog.recipes_for(PROJECT, mode), mode, CONDA.snapshot)
    assert {layer.name: layer.key for layer in made.layers} == GOLDEN_CONDA[mode]
    assert {
        dict(step.env).get("VIRTUAL_ENV")
        for layer in made.layers
        for step in layer.steps
        if isinstance(step, Configure)
    } == {None}


NOTEBOOK = {
    "papermill": "2943f070393d68c631c6d736066feaaed1b85e454bf94d37b61d03ea2ac587f6",
    "source-copy": "24792eab6903321230f4ab399b2359369dbe2d88ba38c195dd183cc5dde2a04e",
}


def test_the_key_of_what_runs_a_notebook_stays() -> None:
    world = evolve(BARE, papermill=f"papermill==2.6.0 --hash=sha256:{'4' * 64}\n")
    made = planning.plan(Project(root=PROJECT.root), catalog.recipes_for(PROJECT, "run"), "run", world.snapshot)
    assert {layer.name: layer.key for layer in made.layers} == NOTEBOOK


BINDER = {
    "source-copy": "c8ece759dbea95d02274e3bf316d8ef20596bebce5101249a2b074d70b4b1e12",
    "postbuild": "ce02b84a8f7d24173754e505965a7e364cc122ed69da555f20a59724e707356d",
}


def test_the_key_of_postbuild_stays() -> None:
    binder = evolve(BARE, postbuild="binder/postBuild")
    made = planning.plan(Project(root=PROJECT.root), catalog.recipes_for(PROJECT, "run"), "run", binder.snapshot)
    assert {layer.name: layer.key for layer in made.layers} == BINDER


def test_each_recipe_of_ours_is_in_a_plan_with_golden_keys() -> None:
    """Check that the golden keys cover each recipe: one without steps shows in the launch, or in the base's key."""
    names = {layer["name"].split()[0] for plan in GOLDEN.values() for layer in plan["layers"]}
    names |= {name.split()[0] for layers in (*GOLDEN_CONDA.values(), BINDER, NOTEBOOK) for name in layers}
    recipes = {path.parent.name for path in (Path(__file__).parents[2] / "layers").glob("*/layer.toml")}
    assert recipes - names == {"base", "command"}
    assert GOLDEN["run cpu"]["launch"]["command"] == ["python3", "-m", "trainer.train"]


def test_the_format_and_the_base_key_stay() -> None:
    assert keys.FORMAT == "ocicaliban-1"
    assert keys.base_key(WORLD.base) == GOLDEN["run cpu"]["base_key"]
    unresolved = keys.base_key(evolve(WORLD.base, digest=""))
    assert unresolved == "891e3e0bc3cc4082e6072a5de526e6f4163001b3742862f5255613c69d301898"


def test_the_key_of_a_bootstrapped_base_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under this key a base made of Debian's packages is found in the store, and is not made again."""
    asked: list[tuple[str, str]] = []

    def find(layer: str, key: str) -> Image:
        asked.append((layer, key))
        return Image(id="1d" * 32, digest="", key=key)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(bootstrap, "platform", lambda: "linux/amd64")
    monkeypatch.setattr(bootstrap, "is_emulated", lambda: False)  # whatever this machine has for users without sub-ids
    monkeypatch.setattr(image_store, "find_layer", find)
    assert bootstrap.fetch("debian:bookworm", fresh=False, reporter=SILENT).id == "1d" * 32
    assert set(asked) == {("base", "6be9f27ccedf82acb929a987da6c87cf46e0c71f699f4b9a5733a19f57bded89")}
