"""Notebook servers: what they share with a job, what they are called, which of them are outdated."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.build.plan import plan
from ocicaliban.errors import UsageError
from ocicaliban.interactive import notebook
from ocicaliban.interactive.notebook import NotebookServer, NotebookSettings
from ocicaliban.model.image import Base, Configure, Launch, Plan, PlannedLayer, Run
from ocicaliban.model.project import Project
from ocicaliban.recipes import catalog
from tests.snapshots import World

BASE = Base(kind="registry", reference="r", digest="sha256:aa", python="3.11.2", platform="linux/amd64")
SETTINGS = NotebookSettings(
    project="/somewhere/digits", port=8888, interface="lab", environment="key", version="", variant="cpu", extras=()
)


def planned(requirements: str = "six==1\n", jupyter: str = "jupyterlab==4\n") -> Plan:
    project = Project(root=Path("/nowhere"))
    world = World(variant="cpu", base=BASE, requirements=(("", requirements),), jupyter=jupyter)
    return plan(project, catalog.recipes_for(project, "notebook"), "notebook", world.snapshot)


def test_jupyter_lies_above_the_packages_and_shares_them_with_a_job() -> None:
    project = Project(root=Path("/nowhere"))
    world = World(variant="cpu", base=BASE, requirements=(("", "six==1\n"),), source="5eed", jupyter="")
    job = plan(project, catalog.recipes_for(project, "run"), "run", world.snapshot)
    mine = planned()
    assert [layer.name for layer in mine.layers] == ["python", "jupyter", "source-mount"]
    assert mine.layers[0].key == job.layers[0].key
    assert [layer.name for layer in planned(jupyter="").layers] == ["python", "source-mount"]
    assert notebook.interface(mine.launch) == "lab"


def test_the_environment_is_what_a_job_has_too() -> None:
    assert notebook.environment_key(planned()) == planned().layers[0].key
    assert notebook.environment_key(planned(jupyter="jupyterlab==3\n")) == notebook.environment_key(planned(jupyter=""))
    assert notebook.environment_key(planned("six==2\n")) != notebook.environment_key(planned())


def test_data_and_the_source_are_no_packages() -> None:
    install, copy = Run(script="install.sh"), Configure(workdir="/usr/app")

    def layers(*names: str) -> Plan:
        made = tuple(
            PlannedLayer(
                name=name,
                key=f"key-{name}",
                steps=(copy if name.startswith(("data", "source")) else install,),
                kinds=("jupyter",) if name == "jupyter" else (),
            )
            for name in names
        )
        return Plan(mode="notebook", base=BASE, base_key="base", layers=made, launch=Launch())

    assert notebook.environment_key(layers("apt", "python 2", "data d", "jupyter", "source-mount")) == "key-python 2"
    assert notebook.environment_key(layers("data d", "jupyter", "source-mount")) == "base"
    assert notebook.environment_key(layers("python", "source-mount")) == "key-python"


def test_a_mode_without_jupyter_is_refused() -> None:
    with pytest.raises(UsageError, match="lists no recipe 'jupyter'"):
        notebook.interface(Launch())


def test_outdated_is_what_the_same_project_had_before() -> None:
    old = NotebookServer(container="a", settings=evolve(SETTINGS, environment="old"), token="")
    same = NotebookServer(container="b", settings=evolve(SETTINGS, port=8889), token="")
    other = NotebookServer(
        container="c", settings=evolve(SETTINGS, environment="old", project="/else/digits"), token=""
    )
    gpu = NotebookServer(container="d", settings=evolve(SETTINGS, environment="old", variant="gpu"), token="")
    assert notebook.outdated((old, same, other, gpu), SETTINGS) == (old,)


def test_a_server_has_a_name_and_a_url_and_does_not_show_its_token() -> None:
    server = NotebookServer(container="a", settings=SETTINGS, token="s3cret")
    assert (server.name, server.url) == ("digits-8888", "http://127.0.0.1:8888/lab?token=s3cret")
    classic = evolve(server, settings=evolve(SETTINGS, interface="notebook"))
    assert classic.url == "http://127.0.0.1:8888/tree?token=s3cret"
    assert "s3cret" not in repr(server)
