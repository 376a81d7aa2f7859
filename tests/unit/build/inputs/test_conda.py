"""Conda's packages as an input of recipes."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.build.inputs import conda
from ocicaliban.build.inputs.provider import PlanContext
from ocicaliban.build.request import PlanRequest
from ocicaliban.model.image import Base
from ocicaliban.model.project import Project
from ocicaliban.project.lockfile import Lock
from ocicaliban.reporter import SILENT

BASE = Base(kind="registry", reference="r", digest="sha256:aa", python="3.11.2", platform="linux/amd64", libc="2.36")
CONTEXT = PlanContext(
    request=PlanRequest(root=Path("/nowhere"), mode="run"), project=Project(root=Path("/nowhere")), recipes=(),
    command=(), base=BASE, lock=Lock(), reporter=SILENT,
)  # fmt: skip


@pytest.mark.parametrize(("python", "folder"), [("", "/opt/venv"), ("3.12.4", "/opt/conda")])
def test_packages_go_where_the_environments_python_is(python: str, folder: str) -> None:
    assert conda.of_packages(python).values["environment"] == folder


def test_resolvers_see_condas_python_on_the_bases_platform() -> None:
    assert CONTEXT.environment_base == BASE
    with_conda = evolve(CONTEXT, provided={"conda": conda.of_packages("3.12.4")})
    assert with_conda.environment_base == evolve(BASE, python="3.12.4")
    assert with_conda.base == BASE
