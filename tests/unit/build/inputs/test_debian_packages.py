"""Debian packages are locked, unless the project or its recipe does not want that."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.build import debian_resolution, planner
from ocicaliban.build.request import PlanRequest
from ocicaliban.model.image import Base, PlannedLayer, Run
from ocicaliban.project import lockfile
from ocicaliban.project.lockfile import Lock, Resolution
from ocicaliban.reporter import Reporter
from tests.debian import HEAD, line

BASE = Base(
    kind="registry", reference="example.org/base:1", digest=f"sha256:{'a' * 64}", python="3.11.2",
    platform="linux/amd64",
)  # fmt: skip
CONFIG = '[layers.base]\nimage = "example.org/base:1"\n[layers.apt]\npackages = ["two", "one"]\n'


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Resolve names to version 1 of each, and return what was asked for."""
    asked: list[tuple[str, ...]] = []

    def resolve(base: Base, names: tuple[str, ...], _reporter: Reporter, _published: object) -> Resolution:
        asked.append(names)
        inputs = debian_resolution.inputs_digest(base, names)
        return Resolution(inputs=inputs, requirements=HEAD + "".join(line(name) for name in names))

    monkeypatch.setattr(debian_resolution, "resolve", resolve)
    return asked


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    root = tmp_path / "p"
    root.mkdir()
    (root / "ocicaliban.toml").write_text(CONFIG)
    lockfile.write_lock(root, Lock().with_base("cpu", BASE))
    return root


def layer(root: Path, *, resolve: bool = True, gpu: bool = False) -> PlannedLayer:
    request = PlanRequest(root=root, mode="build", resolve=resolve, gpu_elsewhere=gpu)
    (found,) = (each for each in planner.plan_project(request).plan.layers if each.name == "apt")
    return found


def step(found: PlannedLayer) -> Run:
    (only,) = found.steps
    assert isinstance(only, Run)
    return only


def test_they_are_resolved_once_and_the_key_is_that_of_the_lock(root: Path, resolved: list[tuple[str, ...]]) -> None:
    first = layer(root)
    assert layer(root) == first and resolved == [("one", "two")]
    assert lockfile.read_lock(root).sections["apt"]["cpu"].requirements == HEAD + line("one") + line("two")
    run = step(first)
    assert dict(run.env) == {"PACKAGES": "one two", "IN_IMAGE": ""}
    assert [folder for folder, _ in run.trees] == ["/dev/oc-debs"]
    text = (root / lockfile.NAME).read_text()
    (root / lockfile.NAME).write_text(text.replace("deb.example.org", "mirror.example.org"))
    assert layer(root).key == first.key
    (root / lockfile.NAME).write_text(text.replace("one=1.0-1", "one=1.0-2"))
    assert layer(root).key != first.key
    assert len(resolved) == 1


def test_they_are_resolved_again_for_other_names_or_another_base(root: Path, resolved: list[tuple[str, ...]]) -> None:
    layer(root)
    (root / "apt.txt").write_text("three\n")
    layer(root)
    lockfile.write_lock(root, lockfile.read_lock(root).with_base("cpu", evolve(BASE, digest=f"sha256:{'b' * 64}")))
    layer(root)
    assert resolved == [("one", "two"), ("one", "three", "two"), ("one", "three", "two")]


def test_both_kinds_of_machines_have_the_same_packages_of_the_same_base(
    root: Path, resolved: list[tuple[str, ...]]
) -> None:
    cpu = layer(root)
    assert layer(root, gpu=True).key == cpu.key
    assert len(resolved) == 1
    held = lockfile.read_lock(root).sections["apt"]
    assert held["gpu"] == held["cpu"]


def test_a_plan_that_may_not_resolve_has_a_layer_that_is_nowhere(root: Path, resolved: list[tuple[str, ...]]) -> None:
    before = (root / lockfile.NAME).read_bytes()
    waiting = layer(root, resolve=False)
    assert resolved == [] and (root / lockfile.NAME).read_bytes() == before
    assert waiting.key != layer(root).key
    assert dict(step(waiting).env)["PACKAGES"] == "one two"


@pytest.mark.parametrize("recipe", ["", '[params.packages]\ntype = "list"\n[[steps]]\ndo = "run"\nscript = "x.sh"\n'])
def test_a_project_or_a_recipe_of_its_own_may_do_without_the_lock(
    root: Path, resolved: list[tuple[str, ...]], recipe: str
) -> None:
    if recipe:
        (root / "layers/apt").mkdir(parents=True)
        (root / "layers/apt/x.sh").write_text("echo $PACKAGES\n")
        (root / "layers/apt/layer.toml").write_text(
            f'summary = "mine"\n{recipe}env = {{ PACKAGES = "${{packages}}" }}\n'
        )
    else:
        (root / "ocicaliban.toml").write_text(f"{CONFIG}lock = false\n")
    assert sorted(dict(step(layer(root)).env)["PACKAGES"].split()) == ["one", "two"]
    assert resolved == [] and "apt" not in lockfile.read_lock(root).sections


def test_packages_that_the_base_image_has_itself_are_named_to_the_script(
    root: Path, resolved: list[tuple[str, ...]]
) -> None:
    layer(root)
    text = (root / lockfile.NAME).read_text()
    (root / lockfile.NAME).write_text(text.replace("http://deb.example.org/debian", "file:/opt/repo"))
    env = dict(step(layer(root)).env)
    assert env["IN_IMAGE"] == "/opt/repo/pool/main/x/one/one_1.0-1_all.deb /opt/repo/pool/main/x/two/two_1.0-1_all.deb"


def test_a_project_that_is_read_only_stays_with_what_was_resolved_here(
    root: Path, resolved: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = debian_resolution.inputs_digest(BASE, ("one", "two"))
    memo = debian_resolution._memo(inputs)
    memo.parent.mkdir(parents=True)
    memo.write_text(HEAD + line("one", "0.9"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "one=0.9 all" in dict(step(layer(root)).files)["packages.lock"] and resolved == []
