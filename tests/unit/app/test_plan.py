"""Show a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from ocicaliban.app import build, plan, run
from ocicaliban.app.requests import BuildRequest, JobsRequest, LaunchRequest, RunRequest
from ocicaliban.build import debian_resolution, downloads
from ocicaliban.model.image import Base
from ocicaliban.project.lockfile import Resolution
from tests.debian import HEAD, line

if TYPE_CHECKING:
    from tests.unit.app.conftest import World

BUILD = BuildRequest(mode="build", module="train.py", gpu_wanted=False)


def test_a_plan_tells_which_layers_are_built(world: World) -> None:
    lines = plan.layer_lines(BUILD)
    assert any("train.py" in line or "source-copy" in line for line in lines)
    build.build(BUILD)
    again = plan.layer_lines(BUILD)
    assert lines != again
    whole = plan.as_json(BUILD)
    assert whole["mode"] == "build"
    assert "FROM" in plan.containerfile(BUILD)


def test_modes_are_compared(world: World) -> None:
    (world.project / ".gitignore").write_text("notes\n")
    (world.project / "notes").write_text("x")
    lines = plan.difference(BuildRequest(mode="shell", gpu_wanted=False), "run")
    assert any("notes" in line for line in lines)
    assert plan.difference(BUILD, "run")


def test_a_plan_tells_what_containers_here_mount(world: World) -> None:
    world.driver = "overlay"
    states = {line.split()[0]: line for line in plan.layer_lines(BUILD)}
    assert "to be built" in states["source-copy"]
    run.run(RunRequest(jobs=JobsRequest(), launch=LaunchRequest(mode="run", module="train.py", gpu_wanted=False)), [])
    states = {line.split()[0]: line for line in plan.layer_lines(evolve(BUILD, mode="run"))}
    assert states["source-copy"].endswith("mounted")
    world.write({"train.py": "edited"})
    states = {line.split()[0]: line for line in plan.layer_lines(evolve(BUILD, mode="run"))}
    assert states["source-copy"].endswith("to be built: changed: train.py")


def test_a_containerfile_fetches_the_locked_packages_of_debian_itself(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(base: Base, names: tuple[str, ...], *_: object) -> Resolution:
        return Resolution(inputs=debian_resolution.inputs_digest(base, names), requirements=HEAD + line("tree"))

    monkeypatch.setattr(debian_resolution, "resolve", resolve)
    monkeypatch.setattr(downloads, "fetch_first", lambda *_: None)
    toml = (world.project / "ocicaliban.toml").read_text()
    toml += '\n[layers.apt]\nmirrors = ["https://me:${OC_TOKEN}@m.example.org/d"]\n'
    world.write({"apt.txt": "tree\n", "ocicaliban.toml": toml})
    build.build(BUILD)
    text = plan.containerfile(BUILD)
    assert "https://m.example.org/d/tree_1.0-1_all.deb" in text and "OC_TOKEN" not in text
    assert "http://deb.example.org/debian/pool/main/x/tree/tree_1.0-1_all.deb" in text
    assert "export PACKAGES='tree'" in text
