"""postBuild and start as inputs of recipes."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.build.inputs import command, postbuild
from ocicaliban.build.inputs.provider import InputParameters, PlanContext
from ocicaliban.build.request import PlanRequest
from ocicaliban.model.image import Base
from ocicaliban.model.project import Project
from ocicaliban.model.recipe import LaunchTemplate, Recipe, Value
from ocicaliban.project.lockfile import Lock
from ocicaliban.reporter import Reporter

COMMAND = ("python3", "train.py")


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def context(tmp_path: Path, told: list[str]) -> PlanContext:
    (tmp_path / "postBuild").touch()
    (tmp_path / "start").write_text('#!/bin/sh\nexec "$@"\n')
    (tmp_path / "start").chmod(0o755)
    return PlanContext(
        request=PlanRequest(root=tmp_path, mode="run"), project=Project(root=tmp_path), recipes=(), command=COMMAND,
        base=Base(kind="registry", reference="r"), lock=Lock(), reporter=Reporter(told.append),
    )  # fmt: skip


def given(**values: Value) -> InputParameters:
    return InputParameters(recipes=(), values=values)


def test_postbuild_runs_unless_a_key_turns_it_off(context: PlanContext, told: list[str]) -> None:
    assert postbuild.PROVIDER.provide(context, given(run=True)).values == {"postbuild": "postBuild"}
    assert postbuild.PROVIDER.provide(context, given(run=False)).values == {"postbuild": ""}
    assert told == []


def test_postbuild_is_not_run_where_the_project_is_mounted(context: PlanContext, told: list[str]) -> None:
    mounting = Recipe(name="m", summary="", launch=LaunchTemplate(mounts=("${project}:/usr/app",)))
    for parameters in (None, given(run=True)):
        values = postbuild.PROVIDER.provide(evolve(context, recipes=(mounting,)), parameters).values
        assert values == {"postbuild": ""}
    assert told == ["note: postBuild is not run: the project is mounted, and it would change your files"] * 2


def test_a_mode_of_ones_own_without_the_recipe_is_noted(context: PlanContext, told: list[str]) -> None:
    postbuild.PROVIDER.provide(context, None)
    assert told == ['note: postBuild is not run: the mode has no recipe "postbuild"']


def test_start_gets_the_command_unless_a_key_turns_it_off(context: PlanContext, told: list[str]) -> None:
    values = command.PROVIDER.provide(context, given(start=True)).values
    assert values["command"] == ("/usr/app/start", *COMMAND)
    assert command.PROVIDER.provide(context, given(start=False)).values["command"] == COMMAND
    (context.project.root / "start").write_text("#!/bin/sh\npython server.py\n")
    assert command.PROVIDER.provide(context, None).values["command"] == COMMAND
    assert told == ["note: start does not run its arguments, so it is not used to start the container"]
    assert command.PROVIDER.provide(evolve(context, command=()), None).values["command"] == ()
