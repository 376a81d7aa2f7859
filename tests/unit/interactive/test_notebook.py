"""Notebook servers: which port, which way to it, which of them are outdated."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.build.plan import plan
from ocicaliban.errors import UsageError
from ocicaliban.interactive import notebook
from ocicaliban.interactive.notebook import Server, ServerEnded, Settings
from ocicaliban.model.image import Base, Launch, Plan
from ocicaliban.model.project import Project
from ocicaliban.recipes import catalog
from tests.snapshots import World

BASE = Base(kind="registry", reference="r", digest="sha256:aa", python="3.11.2", platform="linux/amd64")
SETTINGS = Settings(
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
    assert notebook.environment(planned()) == planned().layers[0].key
    assert notebook.environment(planned(jupyter="jupyterlab==3\n")) == notebook.environment(planned(jupyter=""))
    assert notebook.environment(planned("six==2\n")) != notebook.environment(planned())


def test_a_mode_without_jupyter_is_refused() -> None:
    with pytest.raises(UsageError, match="lists no recipe 'jupyter'"):
        notebook.interface(Launch())


def test_outdated_is_what_the_same_project_had_before() -> None:
    old = Server(container="a", settings=evolve(SETTINGS, environment="old"), token="")
    same = Server(container="b", settings=evolve(SETTINGS, port=8889), token="")
    other = Server(container="c", settings=evolve(SETTINGS, environment="old", project="/else/digits"), token="")
    gpu = Server(container="d", settings=evolve(SETTINGS, environment="old", variant="gpu"), token="")
    assert notebook.outdated((old, same, other, gpu), SETTINGS) == (old,)


def test_a_server_has_a_name_and_a_url_and_does_not_show_its_token() -> None:
    server = Server(container="a", settings=SETTINGS, token="s3cret")
    assert (server.name, server.url) == ("digits-8888", "http://127.0.0.1:8888/lab?token=s3cret")
    classic = evolve(server, settings=evolve(SETTINGS, interface="notebook"))
    assert classic.url == "http://127.0.0.1:8888/tree?token=s3cret"
    assert "s3cret" not in repr(server)


# --- ports ---


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_taken_port_is_passed_over_or_an_error_when_it_is_given(taken: int) -> None:
    assert notebook.free_port(first=taken) > taken
    with pytest.raises(UsageError, match=f"the port {taken} is taken"):
        notebook.free_port(taken)


def test_a_port_that_another_was_quicker_to_take_is_followed_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    quicker: list[socket.socket] = []

    def start(port: int) -> Server:
        tried.append(port)
        if len(tried) == 1:
            quicker.append(socket.create_server(("127.0.0.1", port)))
            raise ServerEnded("address in use")
        return Server(container="a", settings=evolve(SETTINGS, port=port), token="")

    server = notebook.on_free_port(0, start)
    quicker[0].close()
    assert server.settings.port == tried[1] > tried[0]


def test_a_server_that_ends_though_its_port_is_free_is_not_tried_again() -> None:
    def start(port: int) -> Server:
        raise ServerEnded("no jupyter-lab")

    with pytest.raises(ServerEnded, match="no jupyter-lab"):
        notebook.on_free_port(0, start)


# --- from afar ---

SSH = {"SSH_CONNECTION": "192.0.2.7 5000 192.0.2.1 22"}
JOB = {"SLURM_JOB_ID": "7", "SLURM_SUBMIT_HOST": "login1.hpc.example", "SLURMD_NODENAME": "node17"}
NAMES = {"box.example": ["192.0.2.1"], "login1.hpc.example": ["192.0.2.1"], "box": ["127.0.1.1"]}


@pytest.mark.parametrize(
    ("environ", "node", "expected"),
    [
        ({}, "box.example", ""),
        (SSH, "box.example", "ssh -N -L 8889:127.0.0.1:8889 me@box.example"),
        (SSH, "box", "ssh -N -L 8889:127.0.0.1:8889 me@192.0.2.1"),
        (
            {"SSH_CONNECTION": "2001:db8::7 5000 2001:db8::1 2222"},
            "box.example",
            "ssh -N -L 8889:127.0.0.1:8889 -p 2222 me@2001:db8::1",
        ),
        (JOB, "node17", "ssh -N -L 8889:127.0.0.1:8889 -J me@login1.hpc.example me@node17"),
        (JOB | SSH, "node17.hpc.example", "ssh -N -L 8889:127.0.0.1:8889 -J me@login1.hpc.example me@node17"),
        (
            JOB | {"SSH_CONNECTION": "2001:db8::7 5000 2001:db8::1 2222"},
            "node17",
            "ssh -N -L 8889:127.0.0.1:8889 -J 'me@[2001:db8::1]:2222' me@node17",
        ),
        (
            JOB | {"SLURMD_NODENAME": "login1"},
            "login1.hpc.example",
            "ssh -N -L 8889:127.0.0.1:8889 me@login1.hpc.example",
        ),
    ],
    ids=["here", "by name", "by address", "another port", "a job", "a job over ssh", "a job, another port", "one node"],
)
def test_the_way_from_where_the_user_sits(environ: dict[str, str], node: str, expected: str) -> None:
    assert notebook.tunnel(8889, environ, "me", node, lambda name: NAMES.get(name, [])) == expected
